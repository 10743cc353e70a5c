"""`make audit`: asks PyPI's advisory service about every version that requirements/*.lock pin.

Exit code 1 when a pinned version has a known vulnerability. Where the service cannot be reached nothing is known, which is said,
and the exit code is 0: a network without it must not stop a build. `--strict` makes that 1 too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120  # seconds for one file


def main() -> int:
    """Gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strict", action="store_true", help="fail where nothing could be found out")
    parser.add_argument("files", nargs="*", type=Path, default=sorted((ROOT / "requirements").glob("*.lock")))
    options = parser.parse_args()
    found, unknown = 0, 0
    for file in options.files:
        report = ask(file)
        if report is None:
            unknown += 1
            continue
        found += tell(file, report)
    if unknown:
        print(f"audit: {unknown} of {len(options.files)} files could not be checked; nothing is known about them.")
    return 1 if found or (unknown and options.strict) else 0


def ask(file: Path) -> dict[str, Any] | None:
    """What pip-audit reports of a file; None where it got no answer."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    command += ["--format", "json", "--timeout", "15", "--requirement", str(file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        report: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        words = done.stderr.strip().splitlines() if isinstance(error, ValueError) else [f"no answer in {PATIENCE} s"]
        print(f"audit: {file.name}: the advisory service gave no answer: {words[-1][:200] if words else 'no reason'}")
        return None
    if not knows(report):
        print(f"audit: {file.name}: the service that answered does not know these packages.")
        return None
    return report


def knows(report: dict[str, Any]) -> bool:
    """Whether the service knew most of the packages: a mirror may serve them all and no advisories."""
    packages = report["dependencies"]
    return sum("skip_reason" in one for one in packages) <= len(packages) // 2


def tell(file: Path, report: dict[str, Any]) -> int:
    """Says what was found; gives how many vulnerabilities."""
    packages = report["dependencies"]
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    listed = [(one, wrong) for one in packages for wrong in one.get("vulns", ())]
    for one, wrong in listed:
        fixed = ", ".join(wrong["fix_versions"]) or "no version yet"
        print(f"audit: {file.name}: {one['name']} {one['version']}: {wrong['id']}, mended in {fixed}")
    aside = f"; not known there: {', '.join(skipped)[:200]}" if skipped else ""
    print(f"audit: {file.name}: {len(packages) - len(skipped)} packages, {len(listed)} vulnerabilities{aside}")
    return len(listed)


if __name__ == "__main__":
    sys.exit(main())
