"""What a command imports is what it needs: heavy libraries stay out of those that only read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = """
import json, sys
from reconciler.cli.main import run
code = run(sys.argv[2:])
with open(sys.argv[1], "w") as stream:
    json.dump([code, sorted({name.partition(".")[0] for name in sys.modules})], stream)
"""
NETWORK = {
    "httpx",
    "httpcore",
    "anyio",
    "asyncio",
    "ssl",
    "structlog",
    "rich",
    "ruamel",
    "starlette",
    "uvicorn",
    "hypothesis",
}


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], NETWORK | {"pydantic", "pydantic_core", "yaml", "subprocess"}),
        (["validate"], NETWORK | {"subprocess"}),
        (["schema"], NETWORK),
        (["plan", "--init-state"], NETWORK),
        (["apply", "--help"], NETWORK - {"asyncio", "ssl"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_imports(arguments: list[str], absent: set[str], tmp_path: Path) -> None:
    """Nothing on the list is imported by the command."""
    told = tmp_path / "modules.json"
    flags = ["-C", str(ROOT), "--state", str(tmp_path / "state")]
    command = [sys.executable, "-c", SCRIPT, str(told), *([*flags] if "--help" not in arguments else []), *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    code, modules = json.loads(told.read_text(encoding="utf-8"))
    assert code == 0
    assert set(modules) & absent == set()


VERSION = """
import sys
sys.argv = ["reconciler", "--version"]
from reconciler.__main__ import main
main()
print(*sys.modules)
"""


def test_version_imports_nothing() -> None:
    """`--version` answers before anything is imported."""
    command = [sys.executable, "-c", VERSION]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    assert shown.startswith("reconciler ")
    assert "click" not in shown.split()
