"""Who is compared: programs that do one job, each in a folder of its own.

The job: deploy what `payloads/` (or `manifests/`) says, follow each dock status to its end, record it under `state/`, do
nothing for what is done, end with 0 when everything is. HOST and API_KEY are in the environment.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent / "contenders"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """`needs` are programs, besides Python with this project's packages, that must be there."""

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    asks: bool = False  # a call in doubt is held until a person resolves it

    @property
    def missing(self) -> Sequence[str]:
        return [program for program in self.needs if shutil.which(program) is None]


OURS = Contender(
    name="reconciler",
    command=(sys.executable, "-m", "reconciler", "apply", "--yes", "--init-state", "--allow-mass-change"),
    asks=True,
)
SHELL = Contender(
    name="shell script with curl", command=("bash", str(HERE / "deploy.sh")), needs=("bash", "curl", "jq")
)
LOOP = Contender(name="Python loop with retries", command=(sys.executable, str(HERE / "deploy.py")))
ANSIBLE = Contender(
    name="Ansible playbook",
    command=(
        "ansible-playbook",
        "-i",
        "localhost,",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        str(HERE / "deploy.yaml"),
    ),
    needs=("ansible-playbook",),
)
CONTENDERS = (OURS, SHELL, LOOP, ANSIBLE)
