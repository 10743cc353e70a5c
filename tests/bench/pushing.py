"""How quickly `watch --git` acts on a push: `python -m tests.bench.pushing`; also in the part `watch` of `make bench`.

From the start of `git push` to a bare repository on this disk, whose post-receive hook tells `/webhook`, to the request arriving
at the platform; beside a hook that posts to the platform itself.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.estate import write_estate, write_state
from tests.bench.platforms import Platform, line, platform
from tests.bench.watching import next_event, page_address, watching

SECRET = "bench-webhook-secret"
PAUSE = 1.1  # seconds between pushes: the webhook makes one look of what comes within one
HOOK = """\
#!/bin/sh
read before after ref
body="{{\\"ref\\": \\"$ref\\", \\"after\\": \\"$after\\"}}"
signature=$(printf %s "$body" | openssl dgst -sha256 -hmac {secret} | sed 's/.* //')
exec curl --silent --show-error --output /dev/null --data "$body" --header "X-Hub-Signature-256: sha256=$signature" {more} {url}
"""


def main(count: int = 1000, pushes: int = 40) -> None:
    print(f"\nWatch a branch, {count:,} manifests, {pushes} pushes")
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as name, platform(Path(name)) as ours:
        folder = Path(name)
        root = write_estate(folder / "work", count, host=ours.origin)
        write_state(root, live=True)
        bare = _repository(root, folder / "bare.git")
        secret = folder / "secret"
        secret.write_text(SECRET)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        options = ["--git", str(bare), "--project", str(root / "reconciler.yaml"), "--interval", "10m"]
        options += ["--listen", "127.0.0.1:0", "--webhook-secret", f"file:{secret}"]
        with watching(root, *options) as (_, log):
            _tell(bare, f"{page_address(log)}/webhook")
            next_event(log, "pass")
            seen = [(one, next_event(log, "pass")) for one in _push(root, bare, ours, pushes)]
            pushed, took = zip(*(one for one, _ in seen), strict=True)
        with tempfile.TemporaryDirectory() as scratch, platform(Path(scratch)) as other:
            _tell(bare, f"{other.origin}/api/public/models/cm-1/deploy?modelType=openSource")
            least = [arrived for _, arrived in _push(root, bare, other, pushes // 2)]
    print(line("git push begins to request arrived", took, "(to reach: 1,000)"))
    print(line("  of it git push itself, with its hook", pushed))
    print(line("a hook that posts to the platform itself", least))
    print(f"{'over the bare hook, median':<58} {(statistics.median(took) - statistics.median(least)) * 1000:13.0f} ms")


def _repository(root: Path, bare: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(bare)], check=True)
    for arguments in (("init", "--quiet", "-b", "main"), ("add", "manifests"), ("commit", "--quiet", "-m", "first")):
        _git(root, *arguments)
    _git(root, "push", "--quiet", str(bare), "main")
    return bare


def _tell(bare: Path, url: str) -> None:
    """From now on a push tells this address."""
    hook = bare / "hooks" / "post-receive"
    hook.write_text(HOOK.format(secret=SECRET, more="--header 'x-api-key: kg-simulator'", url=shlex.quote(url)))
    hook.chmod(0o755)


def _push(root: Path, bare: Path, to: Platform, pushes: int) -> Iterator[tuple[float, float]]:
    """Seconds for each push itself, and until its request had arrived."""
    for path in sorted((root / "manifests").rglob("*.yaml"))[:pushes]:
        path.write_text(path.read_text().replace("temperature: 0.", "temperature: 0.0"))
        _git(root, "commit", "--quiet", "--all", "-m", "change")
        time.sleep(PAUSE)
        began = time.time()
        _git(root, "push", "--quiet", str(bare), "main")
        pushed = time.time() - began
        yield pushed, to.next_post() - began


def _git(root: Path, *arguments: str) -> None:
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
