"""Estates of any size for benchmarks: manifests of 30 lines, a project file, and a state that knows them or does not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

PER_FOLDER = 200

PROJECT = """\
apiVersion: reconciler/v1
kind: Project
environments:
  production:
    host: {host}
    apiKey: {{env: BENCH_API_KEY}}
    rateLimit: {{perMinute: 0, perHour: 0}}
"""

MANIFEST = """\
# Answers questions of the support desk, number {number}.
apiVersion: reconciler/v1
kind: ModelDeployment
metadata:
  name: model-{number:05}
  labels:
    team: team-{team}
    tier: standard
spec:
  modelId: cm-{number:08}-0000-5000-8000-000000000000
  modelType: openSource
  name: model_{number:05}
  hyperParameters:
    temperature: 0.{digit}
    maxTokens: 512
    topP: 0.95
    topK: 50
    stopSequence: []
  scalingParameters:
    maxBatchSize: 10
    minReplicas: 1
    maxReplicas: 2
    scaleUpDelay: 30
    scaleDownDelay: 600
  deviceType: g5.xlarge
  optimizationInfo:
    optimizationType: vllm
    quantizationType: no_quantization
  rollout:
    timeout: 45m
"""


def write_estate(root: Path, count: int, *, host: str = "https://agent-platform.example.com/") -> Path:
    """A project with `count` manifests."""
    root.mkdir(parents=True)
    (root / "reconciler.yaml").write_text(PROJECT.format(host=host), encoding="utf-8")
    for number in range(count):
        folder = root / "manifests" / f"team-{number // PER_FOLDER:03}"
        folder.mkdir(parents=True, exist_ok=True)
        text = MANIFEST.format(number=number, team=number // PER_FOLDER, digit=number % 9 + 1)
        (folder / f"model-{number:05}.yaml").write_text(text, encoding="utf-8")
    return root


def write_state(root: Path, *, live: bool) -> None:
    """The estate's state: everything live as the manifests say, or nothing known."""
    from reconciler import pipeline, wiring
    from reconciler.diff import metadata_of
    from reconciler.model.applied import Applied, Entry, Live
    from reconciler.settings import Flags, settle

    opened = wiring.open_project(settle(Flags(directory=str(root)), {}))
    environment = opened.project.environments[0]
    since = datetime(2030, 1, 1, tzinfo=UTC)
    entries = {}
    if live:
        checked = pipeline.check(wiring.take_snapshot(opened, provenance=False), opened.project).or_refuse()
        for one in checked.desired[environment.name].resources:
            spec = Live(
                model_type=one.model_type,
                body=one.body,
                digest=one.digest,
                how="adopted",
                dock_status_id=None,
                since=since,
            )
            entries[one.model_id] = Entry(model_id=one.model_id, name=one.name, metadata=metadata_of(one), live=spec)
    binding = wiring.binding_of(environment)
    applied = Applied(environment=environment.name, lineage="bench", binding=binding, entries=entries)
    wiring.store_for(opened, environment).create(applied)
