"""`make bench-peers`: beside well-known programs that do work of the same kind, in the same run, as ratios.

None of them does what this program does; the like work is named in each row. octoDNS and Ansible are installed into an
environment of their own (.bench/peers) from the index that pip is set up with; Terraform and kubectl are used where they are.
What cannot be had is left out with a word.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))  # run as a file, it finds the rest all the same

from tests.bench.run import BENCH, COMMAND, HERE, PYTHON, Usage, measure, prepare, row, simulator  # noqa: E402

PEERS = BENCH / "peers"
PINNED = {"octodns": "1.22.0", "ansible-core": "2.19.14"}
ROUNDS = 3


def main() -> None:
    prepare()
    row("", "theirs", "ours", "ours / theirs", "memory, ours / theirs")
    with tempfile.TemporaryDirectory(prefix="reconciler-peers-") as folder:
        for part in (octodns, terraform, kustomize, ansible):
            part(Path(folder))


# The parts


def octodns(folder: Path) -> None:
    """Records in YAML beside manifests in YAML; both sides of the difference are files."""
    if not _has("octodns-sync", "octodns"):
        return
    print(f"\noctoDNS {_version('octodns')}: 2,000 records; 2,000 manifests of 30 lines")
    for state in ("new", "live"):
        zone = _zone(folder / f"octodns-{state}", 2000, live=state == "live")
        theirs = [str(PEERS / "bin" / "octodns-sync"), "--config-file", str(zone), "--quiet"]
        ours = _estate(folder / f"manifests-{state}", 2000, state)
        what = "plan, all to create" if state == "new" else "plan, nothing to do"
        _beside(what, lambda theirs=theirs: measure(theirs), lambda ours=ours: measure([*_command("plan"), ours]))  # type: ignore[misc]


def terraform(folder: Path) -> None:
    """Resources of the kind that is built in, each with a command that does nothing; deployments at a simulator."""
    program = shutil.which("terraform")
    if program is None:
        print("\nTerraform: not here")
        return
    told = subprocess.run([program, "version", "-json"], capture_output=True, text=True, check=True)
    print(f"\nTerraform {json.loads(told.stdout)['terraform_version']}: 500 terraform_data; 500 deployments")
    root = folder / "terraform"
    root.mkdir()
    (root / "main.tf").write_text(_TERRAFORM, encoding="utf-8")
    command = [program, f"-chdir={root}"]
    subprocess.run([*command, "init", "-input=false"], check=True, capture_output=True)
    ours = _estate(folder / "plan-500", 500, "new")
    _beside(
        "plan, all to create",
        lambda: _terraform([*command, "plan", "-input=false"]),
        lambda: measure([*_command("plan"), ours]),
    )
    fresh = iter(range(1000))

    def theirs() -> Usage:
        (root / "terraform.tfstate").unlink(missing_ok=True)
        return _terraform([*command, "apply", "-auto-approve", "-input=false"])

    _beside("apply of all", theirs, lambda: _apply(folder / f"apply-500-{next(fresh)}", 500))
    live = _estate(folder / "plan-500-live", 500, "live")
    _beside(
        "plan, nothing to do",
        lambda: _terraform([*command, "plan", "-input=false"]),
        lambda: measure([*_command("plan"), live]),
    )


def _terraform(command: list[str]) -> Usage:
    return measure(command, CHECKPOINT_DISABLE="1", TF_IN_AUTOMATION="1")


def kustomize(folder: Path) -> None:
    """Overlays over one base beside manifests with a difference for one environment each."""
    program = shutil.which("kubectl")
    if program is None:
        print("\nkubectl: not here")
        return
    told = subprocess.run([program, "version", "--client", "-o", "json"], capture_output=True, text=True, check=True)
    version = json.loads(told.stdout)["clientVersion"]["gitVersion"]
    print(f"\nkubectl {version} kustomize: 300 overlays; 300 manifests with an override each")
    root = _overlays(folder / "overlays", 300)
    ours = _overridden(folder / "overridden", 300)
    _beside(
        "merge and print all",
        lambda: measure([program, "kustomize", root]),
        lambda: measure([*_command("plan"), ours, "-o", "json"]),
    )


def ansible(folder: Path) -> None:
    """The uri module in a loop beside an apply that also reads, plans, follows and records."""
    if not _has("ansible-playbook", "ansible-core"):
        return
    print(f"\nAnsible {_version('ansible-core')}: 30 POSTs with the uri module; 30 deployments, followed to their end")
    playbook = folder / "play.yaml"
    playbook.write_text(_PLAYBOOK, encoding="utf-8")
    fresh = iter(range(1000))

    def theirs() -> Usage:
        with simulator() as host:
            interpreter = f"ansible_python_interpreter={PEERS / 'bin' / 'python'}"
            command = [str(PEERS / "bin" / "ansible-playbook"), "-i", "localhost,", "-e", interpreter, str(playbook)]
            return measure(command, HOST=host, HOME=str(folder))

    _beside("apply", theirs, lambda: _apply(folder / f"apply-30-{next(fresh)}", 30))


# Both sides


def _beside(what: str, theirs: Callable[[], Usage], ours: Callable[[], Usage]) -> None:
    """By turns, so that a noisy moment meets both."""
    pairs = [(theirs(), ours()) for _ in range(ROUNDS)]
    their, our = (
        Usage(*(statistics.median(getattr(one, name) for one in side) for name in ("wall", "cpu", "peak")))
        for side in zip(*pairs, strict=True)
    )
    ratio = f"{our.wall / their.wall:.2f}"
    row(what, f"{their.wall:.2f} s", f"{our.wall:.2f} s", ratio, f"{our.peak:.0f} / {their.peak:.0f} MiB")


def _command(name: str) -> list[str]:
    return [str(COMMAND), name, "-C"]


def _estate(root: Path, count: int, state: str, *host: str) -> str:
    measure([str(PYTHON), str(HERE / "inside.py"), "make", str(root), str(count), state, *host])
    return str(root)


def _apply(root: Path, count: int) -> Usage:
    with simulator() as host:
        return measure([*_command("apply"), _estate(root, count, "new", host), "--yes"], BENCH_API_KEY="kg-simulator")


def _has(program: str, package: str) -> bool:
    """Installed once. False, with a word, where that cannot be."""
    if (PEERS / "bin" / program).exists():
        return True
    PEERS.parent.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
    pip = [str(PEERS / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip.append(f"{package}=={PINNED[package]}")
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"\n{package}: cannot be installed\n{done.stderr[-500:]}")
    return done.returncode == 0


def _version(package: str) -> str:
    script = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run(
        [str(PEERS / "bin" / "python"), "-c", script], check=True, capture_output=True, text=True
    ).stdout.strip()


# What they are given

_TERRAFORM = """\
resource "terraform_data" "model" {
  count = 500
  input = { name = "model-${count.index}", temperature = 0.5, maxTokens = 512, deviceType = "g5.xlarge" }
  provisioner "local-exec" {
    command = "true"
  }
}
"""

_PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.uri:
        url: "{{ lookup('env', 'HOST') }}/api/public/models/cm-{{ item }}/deploy?modelType=openSource"
        method: POST
        headers: {x-api-key: kg-simulator}
        body_format: json
        body:
          name: "model_{{ item }}"
          hyperParameters: {temperature: 0.5, maxTokens: 512, topP: 0.95, topK: 50}
          deviceType: g5.xlarge
      loop: "{{ range(30) | list }}"
"""

_OCTODNS = """\
providers:
  source: {{class: octodns.provider.yaml.YamlProvider, directory: {source}, enforce_order: false}}
  target: {{class: octodns.provider.yaml.YamlProvider, directory: {target}, enforce_order: false, escaped_semicolons: false}}
zones:
  example.com.: {{sources: [source], targets: [target]}}
"""


def _zone(root: Path, count: int, *, live: bool) -> Path:
    """A configuration of octoDNS: records on one side, the same or none on the other."""
    records = "".join(
        f"r{number}: {{type: A, ttl: 300, values: [192.0.2.{number % 250}]}}\n" for number in range(count)
    )
    for side in ("source", "target"):
        (root / side).mkdir(parents=True)
        text = f"---\n{records}" if side == "source" or live else "---\n{}\n"
        (root / side / "example.com.yaml").write_text(text, encoding="utf-8")
    config = root / "config.yaml"
    config.write_text(_OCTODNS.format(source=root / "source", target=root / "target"), encoding="utf-8")
    return config


def _overlays(root: Path, count: int) -> str:
    """One base, and overlays that each name it anew and change one value."""
    (root / "base").mkdir(parents=True)
    spec = {"replicas": 1, "deviceType": "g5.xlarge", "hyperParameters": {"temperature": 0.5, "maxTokens": 512}}
    base = {"apiVersion": "example.com/v1", "kind": "ModelDeployment", "metadata": {"name": "model"}, "spec": spec}
    _write(root / "base" / "model.yaml", base)
    _write(root / "base" / "kustomization.yaml", {"resources": ["model.yaml"]})
    for number in range(count):
        (root / f"o{number}").mkdir()
        patch = json.dumps([{"op": "replace", "path": "/spec/replicas", "value": number}])
        overlay = {
            "resources": ["../base"],
            "nameSuffix": f"-{number}",
            "patches": [{"target": {"kind": "ModelDeployment"}, "patch": patch}],
        }
        _write(root / f"o{number}" / "kustomization.yaml", overlay)
    (root / "all").mkdir()
    _write(root / "all" / "kustomization.yaml", {"resources": [f"../o{number}" for number in range(count)]})
    return str(root / "all")


def _overridden(root: Path, count: int) -> str:
    """Manifests whose one environment changes one value of each."""
    _estate(root, count, "new")
    for path in sorted(root.glob("manifests/**/*.yaml")):
        override = "  environments:\n    production: {scalingParameters: {maxReplicas: 3}}\n"
        path.write_text(path.read_text(encoding="utf-8") + override, encoding="utf-8")
    return str(root)


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


if __name__ == "__main__":
    main()
