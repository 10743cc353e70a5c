"""`make bench`: speed and memory, as a table, beside something that is measured in the same run.

Everything is measured in an environment of its own (.bench/), into which the wheel is installed and compiled: what else is
installed beside a program, and missing bytecode, change how fast it starts. Figures are medians; `--quick` takes fewer.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BENCH = ROOT / ".bench"
PYTHON = BENCH / "venv" / "bin" / "python"
COMMAND = BENCH / "venv" / "bin" / "reconciler"
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Usage:
    """One process: seconds on the wall and of CPU, and its peak memory in MiB."""

    wall: float
    cpu: float
    peak: float


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", choices=("start", "plan", "apply", "watch", "crowd"), help="one part")
    arguments.add_argument("--quick", action="store_true", help="fewer rounds, and no estate of 10,000")
    asked = arguments.parse_args()
    quick = asked.quick
    prepare()
    rounds = 3 if quick else 7
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(versions())
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder:
        if asked.only in {None, "start"}:
            start(Path(folder), rounds * 3)
        if asked.only in {None, "plan"}:
            planning(Path(folder), (100, 1000) if quick else (100, 1000, 10_000), rounds)
            planning_commits(Path(folder), 1000 if quick else 10_000, rounds)
        if asked.only in {None, "apply"}:
            applying(Path(folder), 200 if quick else 1000, 1 if quick else 5)
    if asked.only in {None, "watch"}:
        for part, times in (("watching", "20" if quick else "100"), ("pushing", "10" if quick else "40")):
            subprocess.run([str(PYTHON), "-m", f"tests.bench.{part}", "1000", times], check=True, cwd=ROOT)
    if asked.only in {None, "crowd"}:
        crowd = [str(PYTHON), "-m", "tests.bench.crowd", "1000", "40" if quick else "200"]
        subprocess.run(crowd, check=True, cwd=ROOT)


def prepare() -> None:
    """The environment, made when the lock or the program has changed."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    lock = ROOT / "requirements" / "runtime.lock"
    known = BENCH / "runtime.lock"
    if not known.exists() or known.read_bytes() != lock.read_bytes():
        shutil.rmtree(BENCH, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(BENCH / "venv")], check=True, env=environ)
        subprocess.run([*pip, "--require-hashes", "-r", str(lock)], check=True, env=environ)
        shutil.copy(lock, known)
    wheels = BENCH / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(wheels),
    ]
    subprocess.run([*build, str(ROOT)], check=True, env={**environ, "PATH": path})
    wheel = next(wheels.glob("*.whl"))
    subprocess.run([*pip, "--no-deps", "--force-reinstall", str(wheel)], check=True, env=environ)
    subprocess.run([str(PYTHON), "-m", "compileall", "-q", str(BENCH / "venv" / "lib")], check=False, env=environ)


def versions() -> str:
    """What the figures depend on."""
    names = ("pydantic", "PyYAML", "httpx", "click", "ruamel.yaml", "uvicorn")
    script = f"from importlib.metadata import version\nprint(', '.join(f'{{n}} {{version(n)}}' for n in {names!r}))"
    return subprocess.run([str(PYTHON), "-c", script], check=True, capture_output=True, text=True).stdout.strip()


def measure(command: list[str], *, ok: tuple[int, ...] = (0,), cwd: Path | None = None, **environ: str) -> Usage:
    """Run one process to its end."""
    env = {k: v for k, v in os.environ.items() if k not in {"PYTHONDONTWRITEBYTECODE", "CI"}} | environ
    with tempfile.TemporaryFile() as talk:
        began = os.times().elapsed
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=talk, env=env, cwd=cwd or HERE)
        _, status, usage = os.wait4(process.pid, 0)
        wall = os.times().elapsed - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in ok:
            talk.seek(0)
            sys.exit(f"{command} ended with {process.returncode}:\n{talk.read().decode()}")
    return Usage(wall=wall, cpu=usage.ru_utime + usage.ru_stime, peak=usage.ru_maxrss / 1024)


def median(rounds: int, once: Callable[[], Usage]) -> Usage:
    runs = [once() for _ in range(rounds)]
    return Usage(*(statistics.median(getattr(run, name) for run in runs) for name in ("wall", "cpu", "peak")))


def row(what: str, *figures: str) -> None:
    print(f"{what:<62}" + "".join(f"{figure:>24}" for figure in figures), flush=True)


def start(folder: Path, rounds: int) -> None:
    """How long a command takes to begin, in CPU time over a bare interpreter's."""
    from tests.bench.estate import write_estate

    root = write_estate(folder / "one", 1)
    print("\nStart, CPU time")
    row("", "CPU", "over bare", "to reach")
    bare = median(rounds, lambda: measure([str(PYTHON), "-c", "pass"]))
    row("python -c pass", f"{bare.cpu * 1000:.0f} ms")
    for what, arguments, most in (
        ("--version", ["--version"], "30 ms"),
        ("--help", ["--help"], "60 ms"),
        ("validate, 1 manifest", ["validate", "-C", str(root)], "120 ms"),
    ):
        used = median(rounds, lambda arguments=arguments: measure([str(COMMAND), *arguments]))  # type: ignore[misc]
        row(what, f"{used.cpu * 1000:.0f} ms", f"{(used.cpu - bare.cpu) * 1000:.0f} ms", most)


def planning(folder: Path, sizes: tuple[int, ...], rounds: int) -> None:
    """Manifests a second, in a fresh process and again in the same; beside libyaml's events and ruamel's loaders."""
    print("\nPlan, manifests of 30 lines")
    row("(to reach at 10,000: 4,000/s fresh, 20,000/s again, 150 MiB)", "seconds", "manifests/s", "peak memory")
    for size in sizes:
        for live in (True, False):
            root = folder / f"plan-{size}-{'live' if live else 'new'}"
            measure([str(PYTHON), str(HERE / "inside.py"), "make", str(root), str(size), "live" if live else "new"])
            used = median(max(3, rounds // 2), lambda root=root: measure([str(COMMAND), "plan", "-C", str(root)]))  # type: ignore[misc]
            what = "nothing to do" if live else "all to deploy"
            row(
                f"plan of {size:,}, fresh process, {what}",
                f"{used.wall:.2f} s",
                f"{size / used.wall:,.0f}",
                f"{used.peak:.0f} MiB",
            )
        root = folder / f"plan-{size}-live"
        print(inside("again", str(root), str(size)), end="", flush=True)
    print(inside("loaders", str(folder / f"plan-{sizes[-1]}-live"), str(min(sizes[-1], 1000))), end="", flush=True)


def planning_commits(folder: Path, size: int, rounds: int) -> None:
    """A commit read from git's objects, beside the checkout of the same commit; both ask git where the manifests come from."""
    print(f"\nPlan of a commit, {size:,} manifests (to reach: 1.5 times the checkout)")
    row("", "seconds", "of the checkout", "peak memory")
    root = folder / f"plan-{size}-live"
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.com", "-c", "commit.gpgsign=false")
    for arguments in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "bench")):
        subprocess.run(["git", "-C", str(root), *who, *arguments], check=True)
    command = [str(COMMAND), "plan", "-C", str(root)]
    checkout = 0.0
    for what, more in (
        ("checkout", []),
        ("--ref HEAD", ["--ref", "HEAD"]),
        ("checkout, --base HEAD", ["--base", "HEAD"]),
    ):
        used = median(max(3, rounds // 2), lambda more=more: measure([*command, *more]))  # type: ignore[misc]
        checkout = checkout or used.wall
        row(f"plan, {what}", f"{used.wall:.2f} s", f"{used.wall / checkout:.2f}", f"{used.peak:.0f} MiB")


def applying(folder: Path, count: int, rounds: int) -> None:
    """Deployments a second against a simulator without latency, beside a bare loop that sends the same requests.

    Both are whole processes; ours also reads and plans the manifests and syncs three records a deployment.
    """
    print(f"\nApply of {count:,}, simulator without latency, rates off")
    row("", "seconds", "requests/s", "of the bare loop")
    ratios = []
    for _ in range(rounds):
        with simulator() as host:
            bare = measure([str(PYTHON), str(HERE / "inside.py"), "bare", host, str(count)]).wall
        with simulator() as host, tempfile.TemporaryDirectory(dir=folder) as fresh:
            root = Path(fresh) / "apply"
            measure([str(PYTHON), str(HERE / "inside.py"), "make", str(root), str(count), "new", host])
            ours = measure([str(COMMAND), "apply", "--yes", "-C", str(root)], BENCH_API_KEY="kg-simulator")
        ratios.append(bare / ours.wall)
        row("bare httpx loop, fresh connections, 4 at once", f"{bare:.2f} s", f"{count / bare:,.0f}")
        row(
            "reconciler apply, every record synced",
            f"{ours.wall:.2f} s",
            f"{count / ours.wall:,.0f}",
            f"{bare / ours.wall:.2f}",
        )
    row("median (to reach: 0.60)", "", "", f"{statistics.median(ratios):.2f}")


def inside(*arguments: str) -> str:
    """Measurements that happen inside one process of the bench environment."""
    env = {k: v for k, v in os.environ.items() if k not in {"PYTHONDONTWRITEBYTECODE", "CI"}}
    command = [str(PYTHON), str(HERE / "inside.py"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout


@contextmanager
def simulator() -> Iterator[str]:
    """A simulator whose jobs end at once; gives its address."""
    flags = ["--port", "0", "--job-seconds", "0", "--per-minute", "0", "--per-hour", "0"]
    flags += ["--status-per-minute", "0", "--status-per-hour", "0"]
    process = subprocess.Popen([str(COMMAND), "simulate", *flags], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().removeprefix("listening on ").strip()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
