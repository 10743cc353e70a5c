"""What one invocation is told, settled: flags, then environment variables, then the project file, then defaults.

The only module that reads the process environment. `cli` fills in `Flags`, `wiring` works with `Settings`; the project file
is read by `wiring` and yields to what stands here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from reconciler.errors import UsageError

PROJECT_FILE = "reconciler.yaml"


class Choice(StrEnum):
    """`auto` looks at the terminal."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class LogFormat(StrEnum):
    """`auto`: pretty on a terminal, JSON elsewhere."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the command line said; None is what it did not say."""

    directory: str | None = None
    project: str | None = None
    host: str | None = None
    state: str | None = None
    color: str | None = None
    log_level: str | None = None
    log_format: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settled once, at the edge.

    `root` is the folder of the project; `project` the project file, which need not exist unless it was named
    (`project_named`). `host` and `state` override the project file. `environ` is for key references and proxies; it is
    never shown. `checkout` is the top of the repository where CI says it, `step_summary` the file that GitHub shows on a
    job's page, `files_url` where the forge shows files: /COMMIT/PATH follows.
    """

    root: Path
    project: Path
    project_named: bool
    host: str | None
    state: str | None
    color: Choice
    log_level: str
    log_format: LogFormat
    ci: bool
    ci_url: str | None
    user: str
    machine: str
    width: int | None
    environ: Mapping[str, str] = field(repr=False)
    checkout: Path | None = None
    step_summary: Path | None = None
    files_url: str | None = None


# Where CI systems say which run this is, each with the variable that holds its address.
_CI_ADDRESSES = ("CI_JOB_URL", "BUILD_URL", "CIRCLE_BUILD_URL", "BUILDKITE_BUILD_URL", "DRONE_BUILD_LINK")


def settle(flags: Flags, environ: Mapping[str, str] | None = None) -> Settings:
    """Raises UsageError for a folder that is not there or a word that no setting knows."""
    env = dict(os.environ if environ is None else environ)
    root = Path(flags.directory or env.get("RECONCILER_DIR") or ".")
    if not os.path.isdir(root):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        raise UsageError(f"{root} is not a folder.", next_step="Name the project's folder with -C DIR.")
    named = flags.project or env.get("RECONCILER_PROJECT")
    return Settings(
        root=root,
        project=Path(named) if named else root / PROJECT_FILE,
        project_named=bool(named),
        host=flags.host or env.get("RECONCILER_HOST") or None,
        state=flags.state or env.get("RECONCILER_STATE") or None,
        color=_color(flags, env),
        log_level=_word("RECONCILER_LOG_LEVEL", flags.log_level, env, LOG_LEVELS, "warning"),
        log_format=LogFormat(_word("RECONCILER_LOG_FORMAT", flags.log_format, env, tuple(LogFormat), "auto")),
        ci=env.get("CI", "").lower() not in {"", "0", "false"},
        ci_url=_ci_url(env),
        user=_user(env),
        machine=os.uname().nodename,
        width=int(env["COLUMNS"]) if env.get("COLUMNS", "").isdecimal() else None,
        environ=env,
        checkout=_path(env.get("GITHUB_WORKSPACE") or env.get("CI_PROJECT_DIR")),
        step_summary=_path(env.get("GITHUB_STEP_SUMMARY")),
        files_url=_files_url(env),
    )


def wants_colour(settings: Settings, stream: object) -> bool:
    """Whether to colour what goes to a stream: https://no-color.org, https://bixense.com/clicolors, and --color above all."""
    if settings.color is not Choice.AUTO:
        return settings.color is Choice.ALWAYS
    return is_terminal(stream) and settings.environ.get("TERM") != "dumb"


def is_terminal(stream: object) -> bool:
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())


def both_ends_are_terminals() -> bool:
    """Only then may anything be asked."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def _color(flags: Flags, env: Mapping[str, str]) -> Choice:
    said = flags.color or env.get("RECONCILER_COLOR")
    if said:
        return Choice(_word("RECONCILER_COLOR", flags.color, env, tuple(Choice), "auto"))
    if env.get("NO_COLOR"):
        return Choice.NEVER
    if env.get("FORCE_COLOR") or env.get("CLICOLOR_FORCE", "0") != "0":
        return Choice.ALWAYS
    return Choice.NEVER if env.get("CLICOLOR") == "0" else Choice.AUTO


def _word(variable: str, flag: str | None, env: Mapping[str, str], allowed: tuple[str, ...], default: str) -> str:
    word = flag or env.get(variable) or default
    if word not in allowed:
        raise UsageError(f"{variable} is {word!r}.", next_step=f"It may be {', '.join(allowed)}.")
    return word


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _ci_url(env: Mapping[str, str]) -> str | None:
    if all(env.get(name) for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")):
        return f"{env['GITHUB_SERVER_URL']}/{env['GITHUB_REPOSITORY']}/actions/runs/{env['GITHUB_RUN_ID']}"
    return next((env[name] for name in _CI_ADDRESSES if env.get(name)), None)


def _files_url(env: Mapping[str, str]) -> str | None:
    """Where the forge of this job shows files: `/COMMIT/PATH#LLINE` follows. None where that is not known, or not http."""
    if all(env.get(name) for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY")):
        is_gitea = env.get("GITEA_ACTIONS") or env.get("FORGEJO_ACTIONS")  # which set GITHUB_*, too
        url = f"{env['GITHUB_SERVER_URL']}/{env['GITHUB_REPOSITORY']}/{'src/commit' if is_gitea else 'blob'}"
    else:
        url = f"{env.get('CI_PROJECT_URL', '')}/-/blob"
    return url if re.fullmatch(r"https?://[A-Za-z0-9._~:/%-]+", url) else None


def _user(env: Mapping[str, str]) -> str:
    actor = env.get("GITHUB_ACTOR") or env.get("GITLAB_USER_LOGIN")
    if actor:
        return actor
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user id without a name
        return f"uid {os.getuid()}"
