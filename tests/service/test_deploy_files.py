"""How it is run in production: each file held by its own linter, and all of them to what the program really has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from reconciler import __version__
from reconciler.cli.main import cli
from reconciler.controller.board import Board
from reconciler.controller.metrics import Metrics
from reconciler.load.project import Fallback, load_project
from reconciler.model.snapshot import SourceFile
from tests.unit.test_metrics import full
from tools import try_image

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"\breconciler_[a-z_]+\b")


def run(*command: str) -> str:
    """What a linter says; the test skips where it is missing, and fails where it finds something."""
    beside = Path(sys.executable).parent / command[0]
    found = str(beside) if beside.exists() else shutil.which(command[0])
    if found is None:
        pytest.skip(f"{command[0]} is missing")
    done = subprocess.run([found, *command[1:]], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def options_in(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def known_options() -> set[str]:
    shown = CliRunner().invoke(cli, ["watch", "--help"]).output + CliRunner().invoke(cli, ["--help"]).output
    return set(re.findall(r"--[a-z][a-z-]+", shown))


# The image


def test_dockerfile() -> None:
    """Hadolint finds nothing."""
    run("hadolint", "Dockerfile")


def test_dockerfile_keeps_its_promises() -> None:
    """Nobody's user, our own health check, and the version that this is."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "USER 65532:65532" in text
    assert 'CMD ["reconciler", "health"]' in text
    assert f"ARG VERSION={__version__}" in text
    assert text.count("FROM ${BASE}") == 2


def test_image_script() -> None:
    """Shellcheck finds nothing, neither in what builds the image nor in what CI runs."""
    run("shellcheck", "tools/image.sh", ".ci/run")


def test_image_is_tried_in_ci() -> None:
    """Before the tests, whose summary comes last; and what is tried is what the Dockerfile says."""
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines[-1] == "make test"
    assert any("tools/image.sh" in line for line in lines)
    assert "tools/try_image.py" in (ROOT / "tools/image.sh").read_text(encoding="utf-8")
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"USER {try_image.CONFIG['User']}" in dockerfile
    assert f"ENTRYPOINT {json.dumps(try_image.CONFIG['Entrypoint'])}" in dockerfile
    assert f"\nCMD {json.dumps(try_image.CONFIG['Cmd'])}" in dockerfile


# Compose


def test_compose() -> None:
    """The file is what the Compose specification says, and its command is one that the program knows."""
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml")
    service = documents("compose.yaml")[0]["services"]["reconciler"]
    assert options_in(service["command"]) <= known_options()
    assert service["image"] == f"reconciler:{__version__}"
    assert service["read_only"]


# Kubernetes


def test_kustomize() -> None:
    """The base builds, and selects its own pods alone."""
    built = list(yaml.safe_load_all(run("kubectl", "kustomize", "deploy/kubernetes")))
    by_kind = {one["kind"]: one for one in built}
    assert set(by_kind) == {
        "Namespace",
        "ServiceAccount",
        "ConfigMap",
        "PersistentVolumeClaim",
        "Deployment",
        "Service",
        "NetworkPolicy",
    }
    name = {"app.kubernetes.io/name": "reconciler"}
    spec = by_kind["Deployment"]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"] == name
    assert by_kind["Service"]["spec"]["selector"] == name
    assert by_kind["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == name
    assert spec["template"]["spec"]["containers"][0]["image"] == f"reconciler:{__version__}"
    used = [one["configMap"]["name"] for one in spec["template"]["spec"]["volumes"] if "configMap" in one]
    assert used == [by_kind["ConfigMap"]["metadata"]["name"]]


def test_one_pod_that_may_do_nothing() -> None:
    """One at a time, under the restricted pod security standard, on a read-only root, with probes and time to end."""
    spec = documents("kubernetes/deployment.yaml")[0]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    pod = spec["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > 7
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"]) == (False, True)
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    assert options_in(container["args"]) <= known_options()


def test_kubernetes_schemas() -> None:
    """Each file is what Kubernetes' schema of its kind says, without one property more."""
    files = [
        one for one in sorted((DEPLOY / "kubernetes").glob("*.yaml")) if one.stem not in {"kustomization", "reconciler"}
    ]
    said = run("kubernetes-validate", "--strict", *map(str, files))
    assert said.count(" passed for resource ") == len(files), said


def test_the_project_file_of_the_base() -> None:
    """It is one that the program accepts."""
    data = (DEPLOY / "kubernetes" / "reconciler.yaml").read_bytes()
    project, found = load_project(SourceFile(path="reconciler.yaml", data=data), Fallback(host=None))
    assert (project is not None, found) == (True, ())


# systemd

UNIT = DEPLOY / "systemd" / "reconciler.service"


def test_unit(tmp_path: Path) -> None:
    """Systemd understands every line; the program itself need not be installed for that."""
    unit = tmp_path / "reconciler.service"
    text = UNIT.read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/reconciler/bin/reconciler", "/bin/true"), encoding="utf-8")
    assert run("systemd-analyze", "verify", str(unit)) == ""


def test_unit_exposes_little() -> None:
    """Of ten points of exposure it has at most two."""
    assert run("systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNIT))


def test_unit_speaks_sd_notify() -> None:
    """Ready and alive are told, state and key are systemd's, and the command is one that the program knows."""
    text = UNIT.read_text(encoding="utf-8")
    for line in ("Type=notify", "WatchdogSec=90s", "StateDirectory=reconciler", "DynamicUser=yes"):
        assert line in text
    assert "LoadCredential=api-key:" in text
    (command,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert options_in(command.split()) <= known_options()
    watchdog, silence = 90, 60
    assert watchdog > silence


# Prometheus and Grafana


def exposed() -> set[str]:
    """The names that a scrape gives."""
    text = full()[1].exposition()[0].decode() + Metrics(Board(source="")).exposition()[0].decode()
    return set(METRIC.findall(text))


def test_alerts() -> None:
    """The rules are right, and wake who should be woken and nobody else."""
    run("promtool", "check", "rules", "deploy/prometheus/alerts.yml")
    run("promtool", "test", "rules", "deploy/prometheus/alerts.test.yml")


def test_every_alert_is_tested() -> None:
    """Each has a test in which it fires, and asks for metrics that there are."""
    rules = documents("prometheus/alerts.yml")[0]["groups"][0]["rules"]
    tests = documents("prometheus/alerts.test.yml")[0]["tests"]
    fires = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one.get("exp_alerts")}
    assert {rule["alert"] for rule in rules} == fires
    assert {name for rule in rules for name in METRIC.findall(rule["expr"])} <= exposed()


def test_dashboard() -> None:
    """Every panel asks for metrics that there are, of the data source and the environments that are chosen."""
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    names = {name for query in queries for name in METRIC.findall(query)}
    assert names <= exposed()
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    covered = {(x, y) for panel in panels for x, y in _cells(panel["gridPos"])}
    assert len(covered) == sum(panel["gridPos"]["w"] * panel["gridPos"]["h"] for panel in panels), "panels overlap"


def _cells(place: dict[str, int]) -> list[tuple[int, int]]:
    return [(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])]


def test_queries_of_the_dashboard_parse(tmp_path: Path) -> None:
    """Promtool reads each of them."""
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [
        {"record": f"dashboard:q{number}", "expr": query.replace("$__rate_interval", "5m").replace("$environment", "x")}
        for number, query in enumerate(queries)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    run("promtool", "check", "rules", str(file))
