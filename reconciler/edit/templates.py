"""The files that `init` writes: a project file, a first manifest, and manifests of what already runs."""

from __future__ import annotations

import re
from typing import Any

from reconciler.edit.payload import Payload
from reconciler.edit.yaml_text import dump

SCHEMA = "schemas/reconciler.json"
EXAMPLE_HOST = "https://agent-platform.example.com/"
_MODELINE = "# yaml-language-server: $schema={}\n"
_UNFIT = re.compile(r"[^a-z0-9]+")
_MAX_NAME = 63


def project_text(environment: str, host: str, key_variable: str) -> str:
    """A `reconciler.yaml` with one environment."""
    value = {
        "apiVersion": "reconciler/v1",
        "kind": "Project",
        "manifests": ["manifests/"],
        "environments": {environment: {"host": host, "apiKey": {"env": key_variable}}},
    }
    return _MODELINE.format(SCHEMA) + dump(value)


def example_text(environment: str) -> str:
    """A first manifest, complete, with a model id to be replaced."""
    return (
        _MODELINE.format(f"../{SCHEMA}")
        + f"""\
apiVersion: reconciler/v1
kind: ModelDeployment
metadata:
  name: example
  labels: {{team: example}}
spec:
  modelId: cm-00000000-0000-0000-0000-000000000000   # the id of your model in the platform
  modelType: openSource                              # or fineTune
  name: example_model                                # what the platform shows
  hyperParameters: {{temperature: 1, maxTokens: 512, topP: 1, topK: 50, stopSequence: []}}
  scalingParameters: {{maxBatchSize: 10, minReplicas: 1, maxReplicas: 2, scaleUpDelay: 30, scaleDownDelay: 600}}
  deviceType: g5.xlarge
  environments:
    {environment}: {{}}
"""
    )


def manifest_text(name: str, payload: Payload, environments: tuple[str, ...]) -> str:
    """A manifest for something that already runs: `adopt: true` records it without a call."""
    body = dict(payload.body)
    spec: dict[str, Any] = {
        "modelId": payload.model_id,
        "modelType": payload.model_type,
        "name": body.pop("name", name),
    }
    declared = body.pop("isDeployedPreviously", None)
    if declared is False:
        spec["isDeployedPreviously"] = False
    spec |= body
    if len(environments) > 1:
        spec["environments"] = {environment: {} for environment in environments}
    spec["rollout"] = {"adopt": True}
    value = {"apiVersion": "reconciler/v1", "kind": "ModelDeployment", "metadata": {"name": name}, "spec": spec}
    return _MODELINE.format(f"../{SCHEMA}") + dump(value)


def name_from(text: str) -> str:
    """A DNS label from what the platform shows: `Flant5_model` -> `flant5-model`."""
    return _UNFIT.sub("-", text.lower()).strip("-")[:_MAX_NAME].strip("-") or "model"
