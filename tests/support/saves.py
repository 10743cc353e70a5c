"""How editors and tools save a file: 34 ways to get from one text to another, each with its steps in between.

`PATTERNS` change `manifests/a.yaml` below a folder; what of that may be read and sent is for the tests to say.
"""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

_MANIFEST = """\
apiVersion: reconciler/v1
kind: ModelDeployment
metadata: {{name: {name}}}
spec:
  modelId: cm-{name}
  modelType: openSource
  deviceType: g5.xlarge
  hyperParameters:
    temperature: 1
    maxTokens: 512
    topP: 1
    topK: 50
    stopSequence: [before]
"""


@dataclass(frozen=True, slots=True)
class Texts:
    """What the file may hold. They differ in the last line, so that every part of one is something else than the whole."""

    before: bytes
    after: bytes
    behind: bytes
    big: bytes
    gone: bytes = b""

    @classmethod
    def of(cls, name: str) -> Texts:
        """Manifests of this name; `stopSequence` tells them apart."""
        before = _MANIFEST.format(name=name).encode()
        after = before.replace(b"before", b"after, and it is longer")
        return cls(
            before=before,
            after=after,
            behind=before.replace(b"before", b"behind"),
            big=b"# a line of many\n" * 30_000 + before.replace(b"before", b"big"),
        )


Save: TypeAlias = Callable[[Path, Texts], None]


def _shell(script: str) -> Save:
    def run(root: Path, texts: Texts) -> None:
        environ = {**os.environ, "LC_ALL": "C", "AFTER": texts.after.decode()}
        subprocess.run(["sh", "-euc", script], cwd=root, check=True, env=environ)

    return run


def _in_place(root: Path, texts: Texts) -> None:
    (root / "manifests/a.yaml").write_bytes(texts.after)


def _in_pieces(root: Path, texts: Texts) -> None:
    with (root / "manifests/a.yaml").open("wb", buffering=0) as stream:
        for at in range(0, len(texts.big), 8192):
            stream.write(texts.big[at : at + 8192])
            os.fsync(stream)


def _appended(root: Path, texts: Texts) -> None:
    path = root / "manifests/a.yaml"
    path.write_bytes(b"")
    for byte in texts.after:
        with path.open("ab", buffering=0) as stream:
            stream.write(bytes([byte]))
            os.fsync(stream)


def _same_size_and_time(root: Path, texts: Texts) -> None:
    path = root / "manifests/a.yaml"
    status = path.stat()
    path.write_bytes(texts.behind)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _mapped(root: Path, texts: Texts) -> None:
    path = root / "manifests/a.yaml"
    path.write_bytes(bytes(len(texts.after)))
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), len(texts.after)) as memory:
        memory[:] = texts.after
        memory.flush()
    os.utime(path)


WRITE = "printf '%s' \"$AFTER\""

# pattern -> (what is done, which text a.yaml holds afterwards)
PATTERNS: dict[str, tuple[Save, str]] = {
    "in place": (_in_place, "after"),
    "in pieces": (_in_pieces, "big"),
    "byte by byte": (_appended, "after"),
    "same size, old time": (_same_size_and_time, "behind"),
    "memory map": (_mapped, "after"),
    "shell redirection": (_shell(f"{WRITE} > manifests/a.yaml"), "after"),
    "truncate, then write": (
        _shell(f": > manifests/a.yaml; sync manifests/a.yaml; {WRITE} >> manifests/a.yaml"),
        "after",
    ),
    "vim, backupcopy=yes": (
        _shell(f"cd manifests; : > .a.yaml.swp; cp a.yaml a.yaml~; {WRITE} > a.yaml; rm a.yaml~ .a.yaml.swp"),
        "after",
    ),
    "vim, backupcopy=no": (
        _shell(
            f"cd manifests; : > 4913; rm 4913; mv a.yaml a.yaml~; sync .; {WRITE} > a.yaml; sync a.yaml; rm a.yaml~"
        ),
        "after",
    ),
    "neovim, writes beside": (_shell(f"cd manifests; {WRITE} > .a.yaml.new; mv .a.yaml.new a.yaml"), "after"),
    "emacs": (
        _shell(f"cd manifests; ln -s me@host.1 .#a.yaml; mv a.yaml a.yaml~; {WRITE} > a.yaml; rm .#a.yaml"),
        "after",
    ),
    "emacs, backup by copying": (_shell(f"cd manifests; cp -p a.yaml a.yaml~; {WRITE} > a.yaml"), "after"),
    "VS Code": (_shell(f": > manifests/a.yaml; {WRITE} > manifests/a.yaml"), "after"),
    "JetBrains, safe write": (
        _shell(
            f"cd manifests; {WRITE} > a.yaml___jb_tmp___; mv a.yaml a.yaml___jb_old___; "
            "mv a.yaml___jb_tmp___ a.yaml; rm a.yaml___jb_old___"
        ),
        "after",
    ),
    "gedit, kate": (_shell(f"cd manifests; {WRITE} > .goutputstream-X; mv .goutputstream-X a.yaml"), "after"),
    "nano with a lock": (_shell(f"cd manifests; : > .a.yaml.swp; {WRITE} > a.yaml; rm .a.yaml.swp"), "after"),
    "sublime, atomic": (_shell(f"cd manifests; {WRITE} > .sublX.tmp; mv .sublX.tmp a.yaml"), "after"),
    "sed -i": (_shell("sed -i 's/before/after, and it is longer/' manifests/a.yaml"), "after"),
    "perl -pi": (_shell("perl -pi -e 's/before/after, and it is longer/' manifests/a.yaml"), "after"),
    "copied over": (_shell(f"{WRITE} > new; cp new manifests/a.yaml"), "after"),
    "copied with its old time": (
        _shell(f"{WRITE} > new; touch -d 2001-01-01 new; cp -p new manifests/a.yaml"),
        "after",
    ),
    "moved in": (_shell(f"{WRITE} > new; mv new manifests/a.yaml"), "after"),
    "moved in, old": (_shell(f"{WRITE} > new; touch -d 2001-01-01 new; mv new manifests/a.yaml"), "after"),
    "rsync": (
        _shell(f"cd manifests; {WRITE} > .a.yaml.XyZ12; touch -d 2001-01-01 .a.yaml.XyZ12; mv .a.yaml.XyZ12 a.yaml"),
        "after",
    ),
    "install": (_shell(f"{WRITE} > new; install -m 600 new manifests/a.yaml"), "after"),
    "tar": (_shell(f"mkdir x; {WRITE} > x/a.yaml; tar -C x -cf t.tar a.yaml; tar -C manifests -xf t.tar"), "after"),
    "hard link": (_shell(f"{WRITE} > new; ln -f new manifests/a.yaml"), "after"),
    "link to a file": (_shell(f"{WRITE} > new.yaml; ln -sf ../new.yaml manifests/a.yaml"), "after"),
    "deleted": (_shell(": > manifests/b.yaml; rm manifests/a.yaml"), "gone"),
    "renamed away": (_shell("mv manifests/a.yaml manifests/c.yaml"), "gone"),
    "folder deleted and made anew": (
        _shell(f"rm -r manifests; sync .; mkdir manifests; sync .; {WRITE} > manifests/a.yaml"),
        "after",
    ),
    "folder moved aside and replaced": (
        _shell(f"mkdir next; {WRITE} > next/a.yaml; mv manifests old; mv next manifests"),
        "after",
    ),
    "new folder below": (
        _shell(f"rm manifests/a.yaml; mkdir -p manifests/x/y/z; {WRITE} > manifests/x/y/z/a.yaml"),
        "after",
    ),
    "folder becomes a link": (
        _shell(f"mkdir next; {WRITE} > next/a.yaml; rm -r manifests; ln -s next manifests"),
        "after",
    ),
}
