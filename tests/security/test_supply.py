"""What is shipped and what it is made of: bills of materials, pinned actions, and an audit that says what it does not know."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.support.pipelines import ROOT, action, examples
from tools import audit, sbom

_PINNED = re.compile(r"[^@\s]+@[0-9a-f]{40}")


def check_bill(text: str) -> dict[str, Any]:
    """The bill, which is valid and tells nothing of the machine that it was made on."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert not re.search(r"https?://(?!cyclonedx\.org/schema/)|file:|/home/|/tmp/|/root/|" + re.escape(str(ROOT)), text)
    assert "timestamp" not in text
    value: dict[str, Any] = json.loads(text)
    return value


def test_the_wheels_bill() -> None:
    """It lists every pinned package once, with its hashes, under the program and its version; it is the same every time."""
    text = sbom.of_wheel(ROOT)
    assert text == sbom.of_wheel(ROOT)
    bill = check_bill(text)
    pins = re.findall(r"^(\S+)==(\S+)", (ROOT / "requirements/runtime.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert {(one["name"], one["version"]) for one in bill["components"]} == set(pins)
    assert all(one["hashes"] and one["purl"].startswith("pkg:pypi/") for one in bill["components"])
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert (bill["metadata"]["component"]["name"], bill["metadata"]["component"]["version"]) == ("reconciler", version)
    (direct,) = [one["dependsOn"] for one in bill["dependencies"] if one["ref"] == "reconciler"]
    assert {"pydantic", "httpx", "starlette", "apprise"} <= {purl.split("/")[1].split("@")[0] for purl in direct}


def test_the_images_bill(tmp_path: Path) -> None:
    """It lists what dpkg has installed and what Python finds below /opt, and takes the version from what is installed."""
    status = "Package: git\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2.39.5-0+deb12u2\n\n"
    status += "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n"
    for name, text in (
        ("var/lib/dpkg/status", status),
        ("etc/os-release", 'VERSION_ID="12"\nID=debian\n'),
        (
            "opt/reconciler/lib/python3.11/site-packages/reconciler-9.9.dist-info/METADATA",
            "Name: reconciler\nVersion: 9.9\n",
        ),
        (
            "opt/reconciler/lib/python3.11/site-packages/PyYAML-6.0.3.dist-info/METADATA",
            "Name: PyYAML\nVersion: 6.0.3\n",
        ),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    bill = check_bill(sbom.of_image(tmp_path))
    assert {one["purl"] for one in bill["components"]} == {
        "pkg:deb/debian/git@1:2.39.5-0%2Bdeb12u2?arch=amd64&distro=debian-12",
        "pkg:pypi/pyyaml@6.0.3",
    }
    assert bill["metadata"]["component"]["version"] == "9.9"
    assert bill["metadata"]["component"]["type"] == "container"


def test_the_image_gets_a_bill() -> None:
    """The script that builds the image writes its bill, and its page says where."""
    assert "tools/sbom.py image --root" in (ROOT / "tools/image.sh").read_text(encoding="utf-8")
    assert "sbom.cdx.json" in (ROOT / "docs/security.md").read_text(encoding="utf-8")


def uses_of(value: Any) -> list[str]:
    """Every action that a workflow uses, wherever it stands."""
    if isinstance(value, dict):
        own = [value["uses"]] if isinstance(value.get("uses"), str) else []
        return own + [one for item in value.values() for one in uses_of(item)]
    return [one for item in value for one in uses_of(item)] if isinstance(value, list) else []


def test_actions_are_pinned() -> None:
    """What we ship and what we tell people to write uses another's action only by a whole commit name."""
    documents = [action()]
    for page in sorted(path.name for path in (ROOT / "docs/ci").glob("*.md")):
        documents += [one for text in examples(page) for one in yaml.safe_load_all(text)]
    for path in (*(ROOT / "templates").rglob("*.yml"), *(ROOT / ".github").rglob("*.y*ml")):
        documents += yaml.safe_load_all(path.read_text(encoding="utf-8"))
    used = [one for document in documents for one in uses_of(document)]
    assert any(one.startswith("actions/checkout@") for one in used)
    assert [one for one in used if not one.startswith("./") and not _PINNED.fullmatch(one)] == []


def test_packages_are_pinned() -> None:
    """Every package of a lock has a version and a hash, and no lock names an index."""
    for path in sorted((ROOT / "requirements").glob("*.lock")):
        text = path.read_text(encoding="utf-8")
        parts = list(sbom.locked(text))
        assert len(parts) == len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE)) > 0
        assert all(part.hashes for part in parts)
        assert not re.search(r"https?://|--index|--extra|--find-links", text)


ANSWER = {"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}]}


def test_the_audit_tells_what_it_finds(capsys: pytest.CaptureFixture[str]) -> None:
    """A vulnerability is named with the version that mends it; a package that is not known is said to be so."""
    also = {"name": "b", "skip_reason": "not found"}
    assert audit.tell(Path("x.lock"), {"dependencies": [*ANSWER["dependencies"], also]}) == 1
    said = capsys.readouterr().out
    assert "a 1: PYSEC-1, mended in 2" in said
    assert "not known there: b" in said
    assert audit.knows({"dependencies": [*ANSWER["dependencies"], also]})
    assert not audit.knows({"dependencies": [also]})


def test_the_audit_without_a_service(tmp_path: Path) -> None:
    """Where nobody answers it says that nothing is known and stops no build; `--strict` does."""
    lock = tmp_path / "x.lock"
    lock.write_text(f"reconciler-that-is-on-no-index==0.0.1 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    nowhere = {"https_proxy": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1", "PATH": "/usr/bin:/bin"}
    for more, code in (((), 0), (("--strict",), 1)):
        command = [sys.executable, str(ROOT / "tools/audit.py"), *more, str(lock)]
        done = subprocess.run(command, env=nowhere, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert "1 of 1 files could not be checked; nothing is known about them" in done.stdout
