"""The pipelines that we ship, taken apart: each script of action.yml and of the GitLab templates as it would be run.

What the runner does is done here in small: expressions are put in, the scripts are run by the shell that the runner uses, in
variables that the runner sets. Nothing of the scripts is replaced.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")
_EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
_INPUT = re.compile(r"\$\[\[ *inputs\.([\w-]+) *\]\]")
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def action() -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return value


def template(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs that a GitLab component has, and its jobs with their expressions."""
    text = (ROOT / "templates" / name / "template.yml").read_text(encoding="utf-8")
    head, jobs = yaml.safe_load_all(text)
    return head["spec"]["inputs"], jobs


def examples(page: str) -> list[str]:
    """The YAML blocks of a page of docs/ci."""
    return _BLOCK.findall((ROOT / "docs" / "ci" / page).read_text(encoding="utf-8"))


@dataclass(kw_only=True)
class ActionRun:
    """One use of the action in a job: `inputs` as the workflow gives them, `variables` as the runner sets them."""

    folder: Path
    inputs: Mapping[str, str]
    variables: Mapping[str, str]
    outputs: dict[str, str] = field(default_factory=dict)
    said: str = ""

    def step(self, name: str) -> int:
        """Run a step by the beginning of its name; gives its exit code. Outputs are kept for the steps after it."""
        (step,) = [one for one in action()["runs"]["steps"] if one["name"].startswith(name)]
        output = self.folder / "output"
        output.write_text("")
        paths = {
            "GITHUB_OUTPUT": str(output),
            "GITHUB_PATH": str(self.folder / "path"),
            "RUNNER_TEMP": str(self.folder),
        }
        own = {key: self._put_in(value) for key, value in step.get("env", {}).items()}
        done = subprocess.run(
            [*BASH, step["run"]],
            env={**self.variables, **paths, **own},
            cwd=self.variables["GITHUB_WORKSPACE"],
            capture_output=True,
            text=True,
            check=False,
        )
        self.said = done.stdout + done.stderr
        self.outputs |= dict(line.split("=", 1) for line in output.read_text().splitlines())
        return done.returncode

    def _put_in(self, text: str) -> str:
        return _EXPRESSION.sub(lambda match: self._value(match[1]), text)

    def _value(self, expression: str) -> str:
        context, _, name = expression.partition(".")
        if context == "inputs":
            return self.inputs.get(name, self._put_in(action()["inputs"][name]["default"]))
        if expression.startswith("steps.run.outputs."):
            return self.outputs.get(name.rpartition(".")[2], "")
        known = {"github.action_path": str(ROOT), "github.token": "ghs_of-the-job"}
        return known[expression]


def run_gitlab_job(name: str, inputs: Mapping[str, str], variables: Mapping[str, str], folder: Path) -> tuple[int, str]:
    """The only job of a component, run in a folder; gives its exit code and what it said."""
    declared, jobs = template(name)
    (job,) = jobs.values()
    given = {key: _word(inputs.get(key, about.get("default"))) for key, about in declared.items()}
    assert None not in given.values(), "an input without a default is not given"
    own = {key: _INPUT.sub(lambda match: str(given[match[1]]), value) for key, value in job["variables"].items()}
    script = "\n".join([*job["before_script"], *job["script"]])
    done = subprocess.run(
        ["sh", "-ec", script], env={**variables, **own}, cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def variables_of(project: Mapping[str, str], **more: str) -> dict[str, str]:
    """A job's variables: the program that is tested comes first on the PATH."""
    return {**project, "PATH": f"{Path(sys.executable).parent}:{project['PATH']}", "CI": "true", **more}


def _word(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
