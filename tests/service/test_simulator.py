"""`reconciler simulate` as a process and a server: its log, its signals, its faults on the wire, its errors."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from reconciler.cli.main import run
from reconciler.cli.simulate import simulate
from reconciler.simulator.scenario import Behaviour, Call, Shape
from reconciler.simulator.switches import FAULTS
from reconciler.simulator.world import fingerprint
from tests.support.simulator import RunningSimulator, SimulatorProcess, running_simulator, scenario
from tests.support.vendor import SAMPLES

BODY = json.dumps(SAMPLES[0].body).encode()


def request(path: str = "/api/public/models/cm-1/deploy?modelType=openSource", body: bytes = BODY) -> bytes:
    """A deploy as bytes; the connection is to be closed after the reply."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: simulator",
        "X-Api-Key: kg-simulator",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def exchange(origin: str, sent: bytes, *, hang_up: bool = False) -> bytes:
    """Send bytes; gives everything that comes back until the end of the connection, or hangs up at once."""
    port = int(origin.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(sent)
        if hang_up:
            sock.shutdown(socket.SHUT_WR)
        came = bytearray()
        try:
            while piece := sock.recv(65536):
                came += piece
        except ConnectionResetError:
            came += b"[reset]"
    return bytes(came)


# A process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """It says where it listens, logs what it accepts, and a signal ends it with 128 and its number, silently."""
    with SimulatorProcess(tmp_path, scenario(), "--job-seconds", "0") as simulator:
        assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", simulator.origin)
        assert exchange(simulator.origin, request()).startswith(b"HTTP/1.1 200 OK\r\n")
        [line] = simulator.accepted
        assert (line["modelId"], line["version"], line["key"]) == (
            "cm-1",
            "Flant5_model_v1",
            fingerprint("kg-simulator"),
        )
        assert line["body"] == BODY.decode()
        os.kill(simulator.pid, number)
        assert simulator.wait() == (code, "")


def test_the_log_is_appended_to(tmp_path: Path) -> None:
    """Started again with the same log it writes on; every line is one JSON object."""
    for count in (1, 2):
        with SimulatorProcess(tmp_path, scenario()) as simulator:
            exchange(simulator.origin, request())
            assert len(simulator.lines) == count


def test_flags_win_over_the_scenario_file(tmp_path: Path) -> None:
    """What a flag says replaces what the file says, and flags' rules go first."""
    told = scenario({"answer": {"status": 500}}, error_shape="html")
    with SimulatorProcess(tmp_path, told, "--error-shape", "text", "--answer", "cm-1:418@1") as simulator:
        first, second = (exchange(simulator.origin, request()) for _ in range(2))
    assert first.startswith(b"HTTP/1.1 418 ")
    assert second.startswith(b"HTTP/1.1 500 ")
    assert b"content-type: text/plain" in second


def test_it_ends_with_replies_under_way(tmp_path: Path) -> None:
    """A reply that is still being delayed does not keep it from ending, and nothing is printed about it."""
    with SimulatorProcess(tmp_path, scenario(latency=600.0)) as simulator:
        port = int(simulator.origin.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            sock.sendall(request())
            simulator.wait_for_lines(1)
            assert simulator.stop() == (143, "")


def test_without_its_packages(tmp_path: Path) -> None:
    """Where the server's packages are not installed it says how to install them."""
    blocker = "import sys; sys.modules['uvicorn'] = None; from reconciler.cli.main import main; main(['simulate'])"
    done = subprocess.run([sys.executable, "-c", blocker], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 64
    assert "pip install 'reconciler[server]'" in done.stderr
    assert "Traceback" not in done.stderr


# Errors


@pytest.mark.parametrize(
    "case",
    [
        (["--scenario", "{folder}/missing.yaml"], 3, "cannot be read"),
        (["--scenario", "{folder}"], 3, "cannot be read"),
        (["--scenario", "{folder}/latin.yaml"], 3, "not UTF-8"),
        (["--scenario", "{folder}/bad.yaml"], 3, "jobSecond"),
        (["--log", "{folder}/no/such/log"], 64, "--log"),
        (["--fail", ":"], 64, "--fail"),
        (["--job-seconds", "-1"], 64, "--job-seconds"),
        (["--rate-limit-status", "99"], 64, "--rate-limit-status"),
        (["--error-shape", "xml"], 64, "--error-shape"),
        (["--host", "no-such-host.invalid"], 8, "cannot listen"),
    ],
)
def test_mistakes(case: tuple[list[str], int, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a user may get wrong is a sentence and an exit code."""
    arguments, code, words = case
    (tmp_path / "latin.yaml").write_bytes(b"# \xe9\n")
    (tmp_path / "bad.yaml").write_text("behaviour: {jobSecond: 1}", encoding="utf-8")
    assert run(["simulate", *(argument.format(folder=tmp_path) for argument in arguments)]) == code
    captured = capsys.readouterr()
    assert words in captured.err
    assert "Traceback" not in captured.err


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """A port in use is named, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["simulate", "--port", str(port)]) == 8
    assert f"127.0.0.1:{port}" in capsys.readouterr().err


def test_the_flags_are_those_of_a_scenario() -> None:
    """Every field of the behaviour and every fault has a flag, and the words of a flag are those of the scenario."""
    options = {parameter.name: parameter for parameter in simulate.params}
    assert set(Behaviour.model_fields) | {name.replace("-", "_") for name in FAULTS} <= set(options)
    for name, words in (("error_shape", list(Shape)), ("call", list(Call))):
        choice = options[name].type
        assert isinstance(choice, click.Choice)
        assert list(choice.choices) == words


# Faults on the wire


def test_lost_replies() -> None:
    """Not one byte of a lost reply leaves; a reset is one, an end is one."""
    rules = [
        {"match": {"model": "cm-r"}, "lost": "after"},
        {"match": {"model": "cm-e"}, "lost": "before", "lostBy": "eof"},
    ]
    with running_simulator(scenario(*rules)) as simulator:
        path = "/api/public/models/{}/deploy?modelType=openSource"
        assert exchange(simulator.origin, request(path.format("cm-r"))) == b"[reset]"
        assert exchange(simulator.origin, request(path.format("cm-e"))) == b""
    assert [line["accepted"] for line in simulator.journal.lines] == [True, False]


def test_replies_are_cut_at_every_byte() -> None:
    """`cut` counts all bytes of the reply, head included, and exactly as many leave."""
    with running_simulator(scenario()) as simulator:
        whole = exchange(simulator.origin, request())
        for count in (*range(0, len(whole), 17), len(whole)):
            simulator.world.become(scenario({"cut": count}))
            came = exchange(simulator.origin, request())
            assert len(came) == count
            assert came[:17] == whole[:17][:count]


def test_bodies_are_cut_and_slowed() -> None:
    """`cutBody` counts bytes of the body; a slow reply is whole in the end."""
    rules = [{"match": {"nth": 1}, "cutBody": 7}, {"match": {"nth": 2}, "slow": {"chunk": 9, "every": 0.001}}]
    with running_simulator(scenario(*rules)) as simulator:
        cut, slow = (exchange(simulator.origin, request()) for _ in range(2))
    assert len(cut.partition(b"\r\n\r\n")[2]) == 7
    head, _, body = slow.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert json.loads(body)["status"] == "IN_PROGRESS"


# The log is complete


@pytest.fixture(scope="module")
def simulator() -> RunningSimulator:
    """A simulator whose log tells what came, whole or in part."""
    with running_simulator(scenario()) as running:
        whole = len(request())
        for count in range(0, whole + 1, 23):
            exchange(running.origin, request()[:count], hang_up=True)
        exchange(running.origin, request(), hang_up=True)
    return running


def test_requests_of_which_only_a_part_came_are_logged(simulator: RunningSimulator) -> None:
    """Every connection that brought a byte has a line: accepted once whole, otherwise incomplete with the number of bytes."""
    whole = len(request())
    parts = [line["bytes"] for line in simulator.journal.lines if line["reason"] == "incomplete request"]
    assert sorted(parts) == [count for count in range(0, whole, 23) if count]
    assert len(simulator.accepted) == 1 + (whole % 23 == 0)


def test_what_is_no_http_is_logged() -> None:
    """Garbage is answered with 400 and leaves a line."""
    with running_simulator() as running:
        assert exchange(running.origin, b"\x16\x03\x01 nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert [line["accepted"] for line in running.journal.lines] == [False]
