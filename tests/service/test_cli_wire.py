"""What leaves the machine, byte by byte: the vendor's two sample requests, sent by `apply` for the example manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.loopback import Peer, loopback_server, reply_bytes
from tests.support.project import ProjectFolder
from tests.support.vendor import SAMPLES, Sample

MANIFESTS = Path(__file__).parents[2] / "manifests"
DONE = {"dock-statusId": "ds-1", "modelId": "cm-1", "jobType": "MODELS", "action": "DEPLOY", "status": "SUCCESS"}


def platform(peer: Peer) -> None:
    """Takes every deploy and knows no dock status."""
    while request := peer.read_request():
        if request.startswith(b"POST"):
            peer.send(reply_bytes(json.dumps(DONE).encode()))
            return
        peer.send(reply_bytes(b'{"message": "not found"}', status="404 Not Found"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.manifest)
def test_request_is_the_vendors_sample(sample: Sample, project: ProjectFolder) -> None:
    """Method, path, query, headers and body (as JSON values) equal the sample of the vendor's page."""
    text = (MANIFESTS / f"{sample.manifest}.yaml").read_bytes()
    with loopback_server(platform) as server:
        project.host = server.origin
        project.configure()
        project.write(f"manifests/{sample.manifest}.yaml", text)
        project.environ["PRODUCTION_API_KEY"] = sample.key
        project.run("init").ended(0)
        project.apply().ended(0)
    (request,) = [data for data in server.received if data.startswith(b"POST")]
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert first == f"{sample.method} {sample.target} HTTP/1.1"
    assert {name: headers[name] for name in sample.headers} == sample.headers
    assert json.loads(body) == sample.body
    assert len(headers) == len(lines), "no header twice"


def test_only_the_host_sees_the_key(project: ProjectFolder) -> None:
    """A redirect is not followed: the other host sees nothing, the deployment is held, and the exit code is 9."""
    with loopback_server(platform) as other:

        def elsewhere(peer: Peer) -> None:
            while request := peer.read_request():
                if request.startswith(b"POST"):
                    location = f"Location: {other.origin}/api/public/models/cm-alpha/deploy"
                    peer.send(reply_bytes(b"", status="302 Found", headers=(location,)))
                    return
                peer.send(reply_bytes(b"{}", status="404 Not Found"))

        with loopback_server(elsewhere) as server:
            project.host = server.origin
            project.init("alpha")
            assert "redirect" in project.apply().ended(9).out
    assert other.received == []
