"""One defect is tried: a copy of the checkout, the edit in it, the named tests run on the copy, and whether they noticed.

`tools/defects.py` and the list's own tests call this. The copy has an interpreter of its own, whose path knows the copy
and the installed packages and not the checkout; so whatever a test starts, in whatever surroundings, imports the copy.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from time import monotonic

from tests.defects.listed import ROOT, Defect

LIMIT = 180.0  # seconds for the tests of one defect
_LEFT_OUT = {".git", ".venv", ".hypothesis", "build", "dist", "node_modules", ".demo", ".bench", "results"}
_OURS = ("activate", "pip", "python", "reconciler", "__pycache__")  # scripts that are not lent to a copy
_SUMMARY = re.compile(r"^(?:FAILED|ERROR) (\S.*?)(?: - (.*))?$", re.MULTILINE)
_SCRIPT = "#!{python}\nimport sys\nfrom reconciler.__main__ import main\nsys.exit(main())\n"
_WHERE = "import reconciler, pathlib; print(pathlib.Path(reconciler.__file__).resolve().parents[1])"


class Verdict(Enum):
    """CAUGHT is what is wanted; after SURVIVED all others say that nothing can be told."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    ENDLESS = "NOT OVER IN TIME"
    CONFUSED = "NO TESTS RUN"
    STRAY = "DOES NOT FIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the tests: the first that failed, or the end of what was printed where none did."""

    verdict: Verdict
    seconds: float
    by: str = ""
    why: str = ""
    said: str = ""


@contextmanager
def template() -> Iterator[Path]:
    """The checkout as it is now, so that whoever edits it meanwhile disturbs no trial. The copies lie beside it."""
    with tempfile.TemporaryDirectory(prefix="reconciler-defects-", ignore_cleanup_errors=True) as text:
        whole = Path(text).resolve() / "sound"
        shutil.copytree(ROOT, whole, symlinks=True, ignore=_without)
        yield whole


def _without(folder: str, names: list[str]) -> set[str]:
    """Also what is there for a moment only: code that other tests compile meanwhile."""
    return {name for name in names if name in _LEFT_OUT or name.endswith("_cache") or ".pyc." in name}


@contextmanager
def copy_of(sound: Path) -> Iterator[Path]:
    """A copy with its own interpreter. Files are links until somebody replaces them: they are never written in place."""
    folder = Path(tempfile.mkdtemp(prefix="copy-", dir=sound.parent))
    root = folder / "checkout"
    try:
        shutil.copytree(sound, root, symlinks=True, copy_function=os.link)
        _give_interpreter(root)
        yield root
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _give_interpreter(root: Path) -> None:
    """What is installed comes by path, not as a folder of packages: the `.pth` files there, ours among them, stay unread."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(root / ".venv")
    scripts = root / ".venv" / "bin"
    packages = root / ".venv" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (packages / "copy.pth").write_text(f"{root}\n{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    for script in Path(sysconfig.get_path("scripts")).iterdir():
        if not script.name.startswith(_OURS) and not (scripts / script.name).exists():
            (scripts / script.name).symlink_to(script)
    command = scripts / "reconciler"
    command.write_text(_SCRIPT.format(python=scripts / "python"), encoding="utf-8")
    command.chmod(0o755)
    _check_place(root)


def _check_place(root: Path) -> None:
    """Also far away and with no environment at all, the copy is imported. Raises AssertionError."""
    command = [str(_python(root)), "-c", _WHERE]
    told = subprocess.run(command, cwd="/", env={}, capture_output=True, text=True, check=True, timeout=60).stdout
    if Path(told.strip()) != root:
        raise AssertionError(f"the tests would import {told.strip()}, not the copy in {root}")


def _python(root: Path) -> Path:
    return root / ".venv" / "bin" / "python"


def seed(root: Path, defect: Defect) -> None:
    """Puts the defect into the copy. Raises ValueError where it does not fit."""
    path = root / defect.file
    text = defect.applied_to(path.read_text(encoding="utf-8"))
    path.unlink()  # a link to the sound file
    path.write_text(text, encoding="utf-8")


def try_out(sound: Path, defect: Defect, *, limit: float = LIMIT) -> Outcome:
    """Whether the defect's tests notice it."""
    with copy_of(sound) as root:
        try:
            seed(root, defect)
        except ValueError as error:
            return Outcome(verdict=Verdict.STRAY, seconds=0.0, said=str(error))
        return run_tests(root, defect.tests, limit=limit)


def run_tests(root: Path, tests: Sequence[str], *, limit: float, more: Sequence[str] = ("-x",)) -> Outcome:
    """The tests in a copy, up to the first that fails."""
    options = ["-q", "-rfE", "--no-header", "--tb=short", "-p", "no:cacheprovider", f"--basetemp={root.parent / 'pt'}"]
    command = [str(_python(root)), "-m", "pytest", *options, *more, *tests]
    began = monotonic()
    code, said = _ended(command, root, limit)
    seconds = monotonic() - began
    if code is None:
        return Outcome(verdict=Verdict.ENDLESS, seconds=seconds, said=said)
    first = _SUMMARY.search(said)
    # 1: tests failed. Anything else but 0 (a module that cannot be imported, say) is no test that noticed something.
    if code == 1 and first is not None:
        return Outcome(verdict=Verdict.CAUGHT, seconds=seconds, by=first[1], why=first[2] or "", said=said)
    return Outcome(verdict=Verdict.SURVIVED if code == 0 else Verdict.CONFUSED, seconds=seconds, said=said)


def _ended(command: Sequence[str], root: Path, limit: float) -> tuple[int | None, str]:
    """Exit code and output; None when it was not over in time. Whatever it started ends with it."""
    told = root.parent / "told"
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "PYTHONPATH", "COVERAGE"))}
    with told.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=root, env=environ, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return code, told.read_text(encoding="utf-8", errors="replace")
