"""The entry point: finds the command's file, and turns whatever comes out of it into words and an exit code.

Commands are imported when they are called, so that `--help` and `--version` start fast.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from io import BufferedWriter, FileIO, RawIOBase, TextIOWrapper
from typing import TYPE_CHECKING, Any

import click

from reconciler import __version__
from reconciler.cli.options import common_options
from reconciler.errors import OutputError, ReconcilerError

if TYPE_CHECKING:
    from typing import TextIO

    from click.shell_completion import CompletionItem

# name -> (module, what it does in a line); in the order of the help.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Create the state, a project file and a first manifest."),
    "validate": ("validate", "Check every manifest; no state, no network."),
    "fmt": ("fmt", "Write manifests and the project file in one style."),
    "plan": ("plan", "Show what apply would do (alias: diff)."),
    "apply": ("apply", "Do it: deploy, follow each job, record it."),
    "status": ("status", "Show every deployment: sync, health, operation."),
    "explain": ("explain", "Say why a deployment is as it is, and what unblocks it."),
    "history": ("history", "List the attempts, oldest first."),
    "rollback": ("rollback", "Put an earlier spec of a deployment back."),
    "adopt": ("adopt", "Record what already runs as live, without a call."),
    "resolve": ("resolve", "Say how an unknown outcome really ended."),
    "retry": ("retry", "Send a deployment again at the next apply."),
    "suspend": ("suspend", "Change nothing of an environment or deployment for a while."),
    "resume": ("resume", "Let go on what waits: end a suspension, allow a mass change."),
    "watch": ("watch", "Keep the platform as the manifests say, for as long as it runs."),
    "health": ("health", "Ask a running watch whether it is well."),
    "undeploy": ("undeploy", "Remove an orphan from the platform."),
    "forget": ("forget", "Drop an entry from the state; the platform is not called."),
    "schema": ("schema", "Print the JSON Schemas of manifests and project file."),
    "state": ("state", "Look at, unlock or repair the state."),
    "comment": ("comment", "Put a plan on a pull request, or update it there."),
    "completion": ("completion", "Print what makes a shell complete commands and names."),
    "doctor": ("doctor", "Look whether everything is in place, and say what to do."),
    "simulate": ("simulate", "Run a simulated platform on this machine."),
}
ALIASES = {"diff": "plan"}
MERELY_TELLING = {0, 2, None}  # exit codes of what has nothing worse to say than that it could not be told


class LazyGroup(click.Group):
    """Imports a command's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        command = getattr(import_module(f"reconciler.cli.{COMMANDS[name][0]}"), COMMANDS[name][0])
        assert isinstance(command, click.Command)  # noqa: S101 - the table above is ours
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """From the table: importing every command to complete one would make the shell wait."""
        from click.shell_completion import CompletionItem

        offered = [
            CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*offered, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        """Errors become words here, where it is known how the user wants to see them."""
        try:
            return _unless_untold(super().invoke(ctx), ctx)
        except OutputError as error:
            return _tell(error, ctx)
        except ReconcilerError as error:
            return _unless_untold(_tell(error, ctx), ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - the last net: a mistake of ours becomes words too
            from reconciler.cli.failures import tell_unexpected

            return tell_unexpected(error, ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = click.utils.make_str(args[0])
        if name not in COMMANDS and name not in ALIASES and not name.startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(name, [*COMMANDS, *ALIASES], n=1)
            did = f" Did you mean {close[0]}?" if close else ""
            ctx.fail(f"No such command '{name}'.{did}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    params=common_options(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done · 2 changes (with --detailed-exitcode) · 3 invalid manifest or configuration · "
    "4 authentication · 5 guard · 6 state · 7 stale plan · 8 a deployment failed · 9 unfinished · 64 usage.",
)
@click.version_option(__version__, "--version", message="reconciler %(version)s")
def cli() -> None:
    """Declarative GitOps for model deployments.

    Manifests in git say which model runs where. `plan` shows the difference from what was last applied, `apply` deploys it,
    follows each job by its dock status id and records it.
    """


def _unless_untold(code: Any, ctx: click.Context) -> Any:
    """The exit code, where something could not be written: what a run ended with counts more than that."""
    from reconciler.cli.session import SESSION

    session = ctx.meta.get(SESSION)
    if session is None or session.unwritten is None:
        return code
    untold = _tell(session.unwritten, ctx)
    return untold if code in MERELY_TELLING else code


def _tell(error: ReconcilerError, ctx: click.Context) -> int:
    from reconciler.cli.failures import tell

    return tell(error, ctx)


def main(args: list[str] | None = None) -> None:
    """Run a command and leave the process with its exit code, also where what is left to write cannot be written."""
    code = run(args)
    for stream in (sys.stdout, sys.stderr):
        _write_out(stream)
    sys.exit(code)


def run(args: list[str] | None = None) -> int:
    """Run a command; gives the exit code."""
    _write_whole()
    _spell_what_the_terminal_cannot()
    # Ten thousand manifests are many live objects and no garbage: looking for cycles among them costs a fifth of the time.
    gc.set_threshold(100_000, 20, 20)
    try:
        result: Any = cli.main(args=args, prog_name="reconciler", standalone_mode=False)
    except click.ClickException as error:
        return _tell_usage(error)
    except click.Abort:
        _say("\nAborted; nothing was done.\n")
        return 130
    except KeyboardInterrupt:
        return 130
    except (BrokenPipeError, SystemExit):  # click's own output is read no more; it exits only then
        return unwritable(BrokenPipeError())
    except OSError as error:  # click's own output, such as a help text
        return unwritable(error)
    return result if isinstance(result, int) else 0


def _tell_usage(error: click.ClickException) -> int:
    """In click's own words; what they quote may be a branch's or a person's name, where a job made it an argument."""
    from io import StringIO

    from reconciler.report.style import safe

    said = StringIO()
    error.show(file=said)
    text = said.getvalue()
    if not isinstance(error, click.exceptions.NoArgsIsHelpError):
        quoting = click.unstyle(error.message)  # as echo strips it
        text = text.replace(quoting, safe(quoting))
    _say(text)
    return 64


def unwritable(error: OSError) -> int:
    """What is no command's output cannot be written to stdout; gives the exit code."""
    from reconciler.cli.session import discard

    discard(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return 0
    _say(f"Error: The output cannot be written: {error.strerror}.\n")
    return OutputError.exit_code


def _say(text: str) -> None:
    try:
        click.echo(text, err=True, nl=False)
    except OSError:
        _write_out(sys.stderr)


def _write_out(stream: TextIO | None) -> None:
    """What cannot be is dropped: Python would end with an exit code of its own."""
    from reconciler.cli.session import discard

    if stream is None:  # closed by whoever started it
        return
    try:
        stream.flush()
    except OSError:
        discard(stream)


def _write_whole() -> None:
    """PYTHONUNBUFFERED leaves out the layer that goes on where only a part of a text was written; it is put in again."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, TextIOWrapper) and isinstance(stream.buffer, RawIOBase):
            anew = BufferedWriter(FileIO(stream.fileno(), "wb", closefd=False))
            whole = TextIOWrapper(anew, stream.encoding, stream.errors, newline="\n", line_buffering=True)
            setattr(sys, name, whole)


def _spell_what_the_terminal_cannot() -> None:
    """Where the locale has no `→`, a question mark will do; a traceback would not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
