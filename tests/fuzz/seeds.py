"""Valid input of every kind: what mutations and the coverage-guided fuzzer begin with.

The manifests here are written to be dense: each way to say a thing occurs, in few bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from reconciler.model.records import Quarantine, Record, Suspend
from reconciler.plan.codec import encode_plan
from reconciler.state import batch
from reconciler.state.fold import fold
from reconciler.state.format import encode_batch, encode_snapshot
from reconciler.state.segments import Header, encode_continuation, encode_frame, encode_header
from tests.support.records import NOON, accepted, attempt, decided, empty, note, status

ROOT = Path(__file__).parent.parent.parent

# Two environments, so that layers differ; fields and ranges that the project admits, so that values of any shape reach bodies.
PROJECT = b"""\
apiVersion: reconciler/v1
kind: Project
platform: {deviceTypes: [h9.large], ranges: {hyperParameters.topK: [1, 1000]}, extraFields: [extra, hyperParameters.seed]}
environments:
  staging:
    host: staging.example.com
    apiKey: {env: STAGING_KEY}
    defaults: {scalingParameters: {minReplicas: 1, maxReplicas: 2}, deviceType: g5.xlarge}
  production:
    host: https://example.com:8443/
    apiKey: {file: /run/secrets/key}
    prune: true
    defaults: {deviceType: g5.12xlarge}
"""

PLAIN = b"""\
apiVersion: reconciler/v1
kind: ModelDeployment
metadata:
  name: chat
  labels: {team: support, tier: "1"}
spec:
  modelId: cm-20000000-0000-5000-8000-000000000000
  modelType: openSource
  isDeployedPreviously: true
  hyperParameters:
    temperature: 0.7
    maxTokens: 512
    topP: 1
    topK: 0x32
    stopSequence: ["Customer:", 'Agent:', "\\n"]
  scalingParameters: {maxBatchSize: 10, minReplicas: 1, maxReplicas: 2, scaleUpDelay: 30, scaleDownDelay: 600}
  deviceType: g5.xlarge
  optimizationInfo: {optimizationType: vllm, quantizationType: no_quantization}
  environments: {staging: {}, production: {}}
"""

LAYERED = b"""\
%YAML 1.2
---
# Anchors, merge keys, overrides that delete, tags, block scalars, and two documents.
apiVersion: reconciler/v1
kind: ModelDeployment
metadata: {name: base, labels: {id: &id cm-1}}
spec:
  modelId: *id
  modelType: !!str fineTune
  name: |-
    Base
    model
  hyperParameters: {temperature: 1, maxTokens: 16, topP: .5, topK: 0o12, stopSequence: []}
  extra: {nested: [{on: true}, [1, null, 2.5e3], "x"], "a.b": -0.0}
  environments:
    staging: {deviceType: g5.2xlarge, scalingParameters: {minReplicas: 2, maxReplicas: null}}
    production: {modelId: cm-3, extra: null, hyperParameters: {temperature: 0}}
  rollout: {wave: 0, timeout: 45m, protect: true}
---
apiVersion: reconciler/v1
kind: ModelDeployment
metadata: {name: second, labels: {a: b}}
spec:
  <<: {modelId: cm-4, modelType: fineTune}
  modelId: cm-2
  hyperParameters:
    <<: [&hyper {temperature: 1, maxTokens: 16, topP: 1}, {seed: 7}, *hyper]
    topK: 12
  environments: {production: {}}
  rollout: {wave: 1, dependsOn: [base], timeout: 1h30m, strategy: UndeployFirst, onUnknown: sendAgain}
...
"""


def manifests() -> Iterator[bytes]:
    """Every valid manifest file for PROJECT, each accepted without an error."""
    yield PLAIN
    yield LAYERED
    yield _as_json(PLAIN)


def _as_json(text: bytes) -> bytes:
    """The same as JSON, which is YAML too, with other line breaks and a byte order mark."""
    from reconciler.load.yaml import parse

    documents, _ = parse(text, "a.yaml")
    return b"\xef\xbb\xbf" + json.dumps(documents[0].value, indent=1).replace("\n", "\r\n").encode()


REPLY = b"""\
{"dock-statusId":"ds-11111111-2222-3333-4444-555555555555","modelId":"cm-1","jobType":"MODELS","action":"DEPLOY",
"status":"IN_PROGRESS","percentageComplete":12.5,"response":{"message":"caf\\u00e9"},"errors":[{"msg":"no","code":4002}]}"""


def replies() -> Iterator[bytes]:
    yield REPLY
    yield b'{"_id":"ds-1","status":"FAILED","response":{"error":{"message":"out of memory"}}}'
    yield b'{"message":"Rate limit for this API has been reached. Please try again later"}'
    yield b"<html><head><style>x{}</style><title>502</title></head><body><h1>Bad &amp; gateway</h1></body></html>"
    yield REPLY[:70]


def snapshot() -> bytes:
    """A state file with history, a hold and an entry that was taken over."""
    records: list[Record] = [attempt(), accepted(), status(), note(4), decided(Suspend(model_id=None))]
    more: list[Record] = [
        attempt("a2", generation=2, digest="v1:two"),
        decided(Quarantine(model_id="cm-1", digest="v1:two")),
    ]
    return encode_snapshot(fold(empty(), [*records, *more]))


def segment(size: int = 4096) -> bytes:
    """A log of four records in three frames, and the room behind them."""
    header = Header(environment="production", lineage="lineage-1", first_seq=1, size=size)
    frames = [encode_batch(1, [attempt()]), encode_batch(2, [accepted(), status()]), encode_batch(4, [note(4)])]
    return (encode_header(header) + b"".join(map(encode_frame, frames)) + encode_continuation(5)).ljust(size, b"\0")


def states() -> Iterator[bytes]:
    yield snapshot()
    yield segment().rstrip(b"\0") + bytes(64)
    yield encode_batch(1, [attempt(), accepted(), status()])
    yield batch.encode(("production", "lineage-1"), 7, [attempt(), note(8)], "4f0c")


def plans() -> Iterator[bytes]:
    from tests.unit.test_plan_codec import PLAN

    yield encode_plan(PLAN)


def deliveries() -> Iterator[bytes]:
    stamp = b"%d" % int(NOON.timestamp())
    yield b'X-Hub-Signature-256: @signed@\nContent-Type: application/json\n\n{"ref":"refs/heads/main"}'
    yield b"X-Gitlab-Token: @signed@\nX-Gitlab-Event: Push Hook\n\n{}"
    yield b"X-Reconciler-Timestamp: " + stamp + b"\nX-Reconciler-Signature: @signed@\nContent-Length: 3\n\nnew"
    yield b"X-Hub-Signature-256: sha256=" + b"0" * 64 + b"\n\nforged"


SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "loader": (*manifests(), PROJECT),
    "reply": tuple(replies()),
    "state": tuple(states()),
    "plan": tuple(plans()),
    "webhook": tuple(deliveries()),
}

# Words that the grammars are made of, for whoever mutates.
WORDS: Mapping[str, tuple[bytes, ...]] = {
    "loader": (
        *(
            b"---\n",
            b"...\n",
            b"  ",
            b"- ",
            b": ",
            b"? ",
            b"&a ",
            b"*a",
            b"<<: ",
            b"!!str ",
            b"|\n",
            b">-\n",
            b"#",
            b"{",
            b"}",
        ),
        *(
            b"[",
            b"]",
            b"null",
            b"true",
            b"~",
            b"0x1F",
            b"0o17",
            b".inf",
            b"1e400",
            b'"\\ud800"',
            b"%YAML 1.1\n",
            b"\xef\xbb\xbf",
        ),
        *(
            b"spec:",
            b"environments:",
            b"rollout:",
            b"metadata:",
            b"kg-12345678",
            b"\x85",
            b"\xe2\x80\xa8",
            b"\0",
            b"\xff\xfe",
        ),
    ),
    "reply": (
        b"dock-statusId",
        b"ds-",
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b"NaN",
        b"1e999",
        b"\\ud800",
        b"\x1f\x8b\x08",
        b"<",
        b"&#",
    ),
    "state": (
        b"sha256:",
        b"\n",
        b"\0",
        b'"type":',
        b'"kind":',
        b'"seq":',
        b"null",
        b"{",
        b"}",
        b"00Z",
        b"reconciler/log/v2",
    ),
    "plan": (
        b"reconciler/plan/v1",
        b"changes",
        b"fields",
        b"before",
        b"NaN",
        b"1e999",
        b"\\ud800",
        b"[[[[",
        b"null",
        b"true",
    ),
    "webhook": (
        *(
            b"x-hub-signature-256:",
            b"x-gitlab-token:",
            b"x-reconciler-signature:",
            b"x-reconciler-timestamp:",
            b"@signed@",
        ),
        *(b"content-length:", b"\n\n", b"sha256=", b"\xb2", b"transfer-encoding:"),
    ),
}
