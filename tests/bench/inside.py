"""The part of the benchmarks that happens inside one process, in the bench environment. `run.py` calls it."""

from __future__ import annotations

import asyncio
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROUNDS = 5


def make(root: str, count: str, state: str, host: str = "https://agent-platform.example.com/") -> None:
    """An estate on disk."""
    estate = _estate()
    estate.write_estate(Path(root), int(count), host=host)
    estate.write_state(Path(root), live=state == "live")


def again(root: str, count: str) -> None:
    """A second pass in the same process: files read again, nothing changed."""
    from datetime import UTC, datetime

    from reconciler import pipeline, wiring
    from reconciler.model.loaded import Memo
    from reconciler.settings import Flags, settle

    memo, times = Memo(), []
    opened = wiring.open_project(settle(Flags(directory=root), {}))
    environment = opened.project.environments[0]
    applied = wiring.read_applied(wiring.store_for(opened, environment))
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        checked = pipeline.check(wiring.take_snapshot(opened, provenance=False), opened.project, memo).or_refuse()
        plan = pipeline.make_plan(checked, environment.name, applied, now=datetime.now(UTC))
        times.append(time.perf_counter() - began)
        assert plan.is_empty
    seconds = statistics.median(times[1:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _row(f"plan of {int(count):,} again, same process, unchanged", seconds, int(count), f"{peak:.0f} MiB")


def loaders(root: str, count: str) -> None:
    """The same manifests through libyaml's events alone, our loader, and ruamel's loaders."""
    from yaml._yaml import CParser
    from yaml.events import StreamEndEvent

    from reconciler.load.yaml import parse

    texts = [path.read_bytes() for path in sorted(Path(root, "manifests").rglob("*.yaml"))[: int(count)]]

    def events(text: bytes) -> None:
        parser = CParser(text)
        while not isinstance(parser.get_event(), StreamEndEvent):
            pass

    def ruamel(kind: str) -> Any:
        from ruamel.yaml import YAML

        return YAML(typ=kind, pure=True).load

    for what, load, some in (
        ("libyaml's events under Python", events, len(texts)),
        ("our loader: YAML 1.2, limits", lambda text: parse(text, "f"), len(texts)),
        ("ruamel.yaml, safe", ruamel("safe"), min(len(texts), 200)),
        ("ruamel.yaml, round trip", ruamel("rt"), min(len(texts), 100)),
    ):
        began = time.perf_counter()
        for text in texts[:some]:
            load(text)
        _row(f"beside: {what}", time.perf_counter() - began, some, "")


def bare(host: str, count: str) -> None:
    """The same requests by a bare loop: fresh connections, 4 at once, a poll each; prints seconds."""
    import json

    import httpx

    body = json.dumps(_body()).encode()

    headers = {"x-api-key": "kg-simulator", "content-type": "application/json"}
    fresh = httpx.Limits(max_keepalive_connections=0)

    async def one(number: int, gate: asyncio.Semaphore, posts: httpx.AsyncClient, polls: httpx.AsyncClient) -> None:
        async with gate:
            url = f"{host}/api/public/models/cm-{number:08}-0000-5000-8000-000000000000/deploy?modelType=openSource"
            reply = (await posts.post(url, content=body, headers=headers)).raise_for_status()
            where = f"{host}/api/public/dock-status/{reply.json()['dock-statusId']}"
            (await polls.get(where, headers=headers)).raise_for_status()

    async def main() -> float:
        gate = asyncio.Semaphore(4)
        async with (
            httpx.AsyncClient(trust_env=False, limits=fresh) as posts,
            httpx.AsyncClient(trust_env=False) as polls,
        ):
            began = time.perf_counter()
            await asyncio.gather(*(one(number, gate, posts, polls) for number in range(int(count))))
            return time.perf_counter() - began

    print(asyncio.run(main()))


def _body() -> dict[str, Any]:
    return {
        "name": "model_00000",
        "hyperParameters": {"temperature": 0.5, "maxTokens": 512, "topP": 0.95, "topK": 50, "stopSequence": []},
        "scalingParameters": {
            "maxBatchSize": 10,
            "minReplicas": 1,
            "maxReplicas": 2,
            "scaleUpDelay": 30,
            "scaleDownDelay": 600,
        },
        "deviceType": "g5.xlarge",
        "optimizationInfo": {"optimizationType": "vllm", "quantizationType": "no_quantization"},
        "isDeployedPreviously": True,
    }


def _estate() -> Any:
    import importlib.util

    spec = importlib.util.spec_from_file_location("estate", HERE / "estate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _row(what: str, seconds: float, count: int, more: str) -> None:
    print(f"{what:<62}{f'{seconds:.3f} s':>24}{f'{count / seconds:,.0f}':>24}{more:>24}")


if __name__ == "__main__":
    calls: dict[str, Callable[..., None]] = {"make": make, "again": again, "loaders": loaders, "bare": bare}
    calls[sys.argv[1]](*sys.argv[2:])
