"""The built image, run as an engine runs it: what docs/container.md promises must be so (`make image` ends with this).

    unshare --net --mount --pid --fork --kill-child --mount-proc tools/try_image.py ROOT INSPECTED FOLDER

ROOT is where the image is mounted, INSPECTED what `buildah inspect` says of it, FOLDER is for volumes and logs. The network,
the mounts and the processes are its own: the image's port is free, nothing outside is reached, and nothing is left running or
mounted, however this ends.

The root is read-only, /tmp a small tmpfs, the state a volume; every container is process 1 of its own, as the image's user,
without a capability, with the image's environment alone. It needs Python, git and util-linux, and none of our packages.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

T = TypeVar("T")

CHECKOUT = Path(__file__).resolve().parent.parent
USER = 65532
KEY = "kg-simulator"  # the key that the simulator accepts
TOKEN = "a token of thirty-two characters"
OUT_WITHIN = 7.0  # seconds from SIGTERM
PATIENCE = 60.0  # seconds for anything else
IMPORTED_LATE = ("apprise", "jinja2", "prometheus_client", "sse_starlette", "starlette", "uvicorn")
PAGE = "http://127.0.0.1:8080"

CONFIG = {
    "User": f"{USER}:{USER}",
    "WorkingDir": "/project",
    "Entrypoint": ["reconciler"],
    "Cmd": ["watch"],
    "ExposedPorts": {"8080/tcp": {}},
    "StopSignal": "SIGTERM",
}


def main() -> None:
    """Every promise in turn; ends at the first that is broken."""
    root, inspected, folder = (Path(word).resolve() for word in sys.argv[1:])
    config: dict[str, Any] = json.loads(inspected.read_text(encoding="utf-8"))["Docker"]["config"]
    health = configured(config)
    machine = Machine(root=root, folder=folder, config=config)
    machine.prepare()
    before = tree(machine.view)
    complete(machine)
    idle = machine.run("health", *health)
    if idle.code != 1:
        wrong(f"the health check ends with {idle.code}, not 1, where nothing runs", idle)
    simulator = machine.start(
        "simulate", "reconciler", "simulate", "--job-seconds", "1", "--log", "/tmp/requests.jsonl"
    )
    host = until("the simulator listens", lambda: re.search(r"listening on (\S+)", simulator.said()))[1]
    watched_folder(machine, host, health)
    started_again(machine, host, health)
    from_git(machine, host)
    simulator.stop()
    if after := tree(machine.view) ^ before:
        wrong(f"something was written into the image: {sorted(after)[:5]}")
    left = sorted(path.name for path in (root / "tmp").iterdir())
    if left != ["reconciler", "requests.jsonl"]:
        wrong(f"more than the cache of --git and the simulator's log was left in /tmp: {left}")
    say("nothing was written into the image")


# The promises


def configured(config: dict[str, Any]) -> list[str]:
    """User, command, port, labels and health check are those of the Dockerfile; gives the health check's command."""
    for name, expected in CONFIG.items():
        if config.get(name) != expected:
            wrong(f"{name} is {config.get(name)!r}, not {expected!r}")
    for name in ("title", "description", "licenses", "version", "revision"):
        if not config["Labels"].get(f"org.opencontainers.image.{name}"):
            wrong(f"the label {name} is missing")
    kind, *command = config["Healthcheck"]["Test"]
    if kind != "CMD":
        wrong(f"the health check needs a shell: {kind}")
    return [str(word) for word in command]


def complete(machine: Machine) -> None:
    """The version in the label is the program's, and what it imports late is there."""
    done = machine.run("imports", "python3", "-c", f"import {', '.join(IMPORTED_LATE)}")
    if done.code != 0:
        wrong("a package is missing", done)
    version = machine.config["Labels"]["org.opencontainers.image.version"]
    done = machine.run("version", "reconciler", "--version")
    if (done.code, done.said().strip()) != (0, f"reconciler {version}"):
        wrong(f"the label says {version}", done)


def watched_folder(machine: Machine, host: str, health: list[str]) -> None:
    """The first start: everything is deployed once, the page asks for the token, and a change of the folder is seen."""
    begun = time.monotonic()
    arguments = ("watch", "--init-state", "--listen", "0.0.0.0:8080", "--token", "file:/run/secrets/page-token")
    watch = machine.start("watch", *machine.entry, *arguments, RECONCILER_HOST=host)
    until("/readyz says yes", lambda: get("/readyz") == HTTPStatus.OK, watch)
    kib = int(watch.status("VmRSS").removesuffix(" kB"))
    say(f"ready after {time.monotonic() - begun:.1f} s, with {kib // 1024} MiB of memory")
    first = machine.deploys()
    if sorted(first) != sorted(machine.model_ids("*")):
        wrong(f"deployed {first}, not {machine.model_ids('*')}", watch)
    nobody(watch)
    answers(watch, {"/healthz": 200, "/api/v1/status": 401, "/metrics": 401})
    answers(watch, {"/": 200, "/api/v1/status": 200, "/metrics": 200}, token=TOKEN)
    machine.healthy(health, watch)
    commit = machine.commit("maxTokens: 512", "maxTokens: 300")
    until("the change is deployed", lambda: machine.deploys() == first + machine.model_ids("gpt2"), watch)
    until("the commit is in the state", lambda: machine.applied_commit() == commit, watch)
    ended(watch)
    say(f"{len(first)} deployments from a read-only folder, a change of it noticed")


def started_again(machine: Machine, host: str, health: list[str]) -> None:
    """The image's own command, on the state that is there: nothing is deployed again, and loopback asks for no token."""
    before = machine.deploys()
    watch = machine.start("again", *machine.entry, *machine.config["Cmd"], RECONCILER_HOST=host)
    until("/readyz says yes", lambda: get("/readyz") == HTTPStatus.OK, watch)
    answers(watch, {"/": 200, "/healthz": 200, "/metrics": 200})
    machine.healthy(health, watch)
    ended(watch)
    if machine.deploys() != before:
        wrong("a second start deployed again", watch)
    say("a second start deploys nothing")


def from_git(machine: Machine, host: str) -> None:
    """A branch of a bare repository, one pass, without a HOME: the one change is deployed."""
    before = machine.deploys()
    commit = machine.commit("maxTokens: 300", "maxTokens: 200")
    git("push", "--quiet", str(machine.bare), "HEAD:main", inside=machine.project)
    for path in (machine.bare, *machine.bare.rglob("*")):
        os.chown(path, USER, USER)
    arguments = ("watch", "--once", "--git=file:///srv/models.git", "--project=/etc/reconciler/reconciler.yaml")
    done = machine.run("git", *machine.entry, *arguments, "--listen=none", RECONCILER_HOST=host, HOME=None)
    if done.code != 0 or machine.deploys() != before + machine.model_ids("gpt2"):
        wrong(f"one pass from git ended with {done.code}, after {machine.deploys()[len(before) :]}", done)
    if machine.applied_commit() != commit:
        wrong("the state does not name the commit of the branch", done)
    say("one pass of a branch deploys its one change")


def nobody(container: Container) -> None:
    """Whoever breaks out of the program is nobody, and may become nobody else."""
    expected = {"Uid": "\t".join([str(USER)] * 4), "Gid": "\t".join([str(USER)] * 4), "Groups": "", "CapEff": "0" * 16}
    found = {name: container.status(name) for name in expected}
    if found != expected:
        wrong(f"it runs as {found}", container)


def answers(watch: Container, expected: dict[str, int], token: str | None = None) -> None:
    """What each address answers."""
    found = {path: get(path, token) for path in expected}
    if found != expected:
        wrong(f"answers with{'' if token else 'out'} the token: {found}", watch)


def ended(watch: Container) -> None:
    """SIGTERM ends it with 0, in time."""
    begun = time.monotonic()
    code = watch.stop()
    took = time.monotonic() - begun
    if code != 0 or took > OUT_WITHIN:
        wrong(f"SIGTERM: ended with {code} after {took:.1f} s", watch)
    say(f"SIGTERM: ended with 0 after {took:.1f} s")


# The machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What an engine makes of the image: mounts, environment, containers."""

    root: Path
    folder: Path
    config: dict[str, Any]

    @property
    def entry(self) -> list[str]:
        return [str(word) for word in self.config["Entrypoint"]]

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def bare(self) -> Path:
        return self.folder / "models.git"

    @property
    def view(self) -> Path:
        """The root without what is mounted in it."""
        return self.folder / "view"

    def model_ids(self, manifest: str) -> list[str]:
        """Those that the example estate, or one manifest of it, names."""
        texts = [path.read_text(encoding="utf-8") for path in (self.project / "manifests").rglob(f"{manifest}.yaml")]
        return re.findall(r"^ +modelId: (\S+)$", "\n".join(texts), re.MULTILINE)

    def prepare(self) -> None:
        """The volumes, and the root with everything mounted, as in docs/container.md."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("state", "secrets", "etc", "view"):
            (self.folder / name).mkdir(parents=True)
        self._fill()
        volume = (self.root / "var/lib/reconciler").stat()  # a new volume is made like the folder that it covers
        if (volume.st_uid, stat.S_IMODE(volume.st_mode)) != (USER, 0o700):
            wrong(f"a new volume for the state would belong to {volume.st_uid}, {stat.filemode(volume.st_mode)}")
        for name in ("run/secrets", "etc/reconciler", "srv/models.git", "proc", "dev"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        mount("--bind", self.root, self.view)
        mount("--bind", self.root, self.root)
        mount("--options", "remount,bind,ro", self.root)
        mount("--rbind", "/dev", self.root / "dev")
        mount("--types", "tmpfs", "--options", "mode=1777,size=64m,noexec,nosuid,nodev", "tmpfs", self.root / "tmp")
        mount("--bind", self.folder / "state", self.root / "var/lib/reconciler")
        for source, target in (
            (self.project, "project"),
            (self.folder / "secrets", "run/secrets"),
            (self.folder / "etc", "etc/reconciler"),
            (self.bare, "srv/models.git"),
        ):
            mount("--bind", source, self.root / target)
            mount("--options", "remount,bind,ro", self.root / target)
        loopback_up()

    def _fill(self) -> None:
        """The example estate in a repository that belongs to somebody else, its copy, and secrets that only the group reads."""
        shutil.copytree(CHECKOUT / "manifests", self.project / "manifests")
        text = (CHECKOUT / "reconciler.yaml").read_text(encoding="utf-8")
        text = re.sub(r"apiKey: \{.*\}", "apiKey: {file: /run/secrets/api-key}", text)
        for folder in (self.project, self.folder / "etc"):
            (folder / "reconciler.yaml").write_text(text, encoding="utf-8")
        git("init", "--quiet", "--initial-branch=main", ".", inside=self.project)
        git("add", ".", inside=self.project)
        git("commit", "--quiet", "--message", "Begin", inside=self.project)
        git("clone", "--quiet", "--bare", str(self.project), str(self.bare), inside=self.folder)
        for name, value in (("api-key", KEY), ("page-token", TOKEN)):
            secret = self.folder / "secrets" / name
            secret.write_text(value, encoding="ascii")
            secret.chmod(0o440)
            os.chown(secret, 0, USER)
        os.chown(self.folder / "state", USER, USER)

    def commit(self, written: str, instead: str) -> str:
        """Another value in one manifest, committed; gives the commit's name."""
        manifest = self.project / "manifests" / "gpt2.yaml"
        text = manifest.read_text(encoding="utf-8")
        if written not in text:
            wrong(f"manifests/gpt2.yaml does not say {written!r}")
        manifest.write_text(text.replace(written, instead), encoding="utf-8")
        git("commit", "--quiet", "--all", "--message", instead, inside=self.project)
        return git("rev-parse", "HEAD", inside=self.project)

    def start(self, name: str, *command: str, **environ: str | None) -> Container:
        """A container with the image's environment, and what is given besides."""
        given = [f"{key}={value}" for key, value in {"HOME": "/nonexistent", **environ}.items() if value is not None]
        log = self.folder / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [
                    *("setpriv", "--no-new-privs"),
                    *("unshare", "--pid", "--fork", "--mount", "--mount-proc", f"--root={self.root}"),
                    *(f"--wd={self.config['WorkingDir']}", f"--setgid={USER}", f"--setuid={USER}"),
                    *("env", "-i", *self.config["Env"], *given, *command),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        return Container(process=process, log=log)

    def run(self, name: str, *command: str, **environ: str | None) -> Container:
        """A container that ends by itself."""
        container = self.start(name, *command, **environ)
        container.wait(PATIENCE)
        return container

    def healthy(self, command: list[str], watch: Container) -> None:
        """The image's health check is content."""
        done = self.run("health", *command)
        if done.code != 0:
            wrong(f"the health check ended with {done.code}: {done.said()}", watch)

    def deploys(self) -> list[str]:
        """The model ids of the deploys that have reached the simulator, in their order."""
        written = (self.root / "tmp" / "requests.jsonl").read_text(encoding="utf-8")
        calls = [json.loads(line) for line in written.splitlines(keepends=True) if line.endswith("\n")]
        return [str(call["modelId"]) for call in calls if call["call"] == "deploy"]

    def applied_commit(self) -> str:
        """The commit that the state names: git in the image has read it."""
        (path,) = (self.folder / "state").glob("*/state.json")
        commit = json.loads(path.read_text(encoding="utf-8"))["state"]["commit"]
        return str(commit["commit"]) if commit else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """`process` is unshare, whose only child is process 1 of the container."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def code(self) -> int | None:
        return self.process.poll()

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def first(self) -> int:
        """Process 1 of the container, by its number out here."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])

    def status(self, name: str) -> str:
        """A line of what Linux says of process 1."""
        text = Path(f"/proc/{self.first()}/status").read_text(encoding="ascii")
        return next(line for line in text.splitlines() if line.startswith(f"{name}:")).partition(":")[2].strip()

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        os.kill(self.first(), 15)
        return self.wait(PATIENCE)

    def wait(self, seconds: float) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            wrong(f"it did not end within {seconds:.0f} s", self)


def until(what: str, question: Callable[[], T | None], container: Container | None = None) -> T:
    """Asks until the answer is yes."""
    end = time.monotonic() + PATIENCE
    while not (answer := question()):
        if time.monotonic() > end or (container is not None and container.code is not None):
            wrong(f"not so: {what}", container)
        time.sleep(0.05)
    return answer


def get(path: str, token: str | None = None) -> int:
    """The status that the page answers with; 0 where nobody listens."""
    request = Request(PAGE + path, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=5) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except OSError:
        return 0


def git(*arguments: str, inside: Path) -> str:
    """Git, whose words are given."""
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgSign=false")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *identity, *arguments]
    return subprocess.run(
        command, cwd=inside, env=environ, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def mount(*arguments: str | Path) -> None:
    """Seen by nobody else: the mounts are our own."""
    subprocess.run(["mount", *map(str, arguments)], check=True)


def loopback_up() -> None:
    """A new network's loopback is down; this needs no iproute2."""
    up, set_flags = 1, 0x8914  # IFF_UP, SIOCSIFFLAGS
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", b"lo", up))


def tree(root: Path) -> set[tuple[str, int, int]]:
    """Every file, how long it is and when it was changed."""
    found = [(path, path.lstat()) for path in root.rglob("*")]
    return {(str(path), status.st_size, status.st_ctime_ns) for path, status in found}


def say(words: str) -> None:
    print(f"image: {words}", file=sys.stderr, flush=True)


def wrong(words: str, container: Container | None = None) -> NoReturn:
    """Says what is not as promised, with the container's last words."""
    if container is not None:
        print("\n".join(container.said().splitlines()[-30:]), file=sys.stderr)
    raise SystemExit(f"image: {words}")


if __name__ == "__main__":
    main()
