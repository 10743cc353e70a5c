"""`reconciler completion`. What is offered while a name is typed stands in `cli.names`."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from reconciler.cli.options import Command, examples
from reconciler.cli.session import Session

VARIABLE = "_RECONCILER_COMPLETE"
SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command(
    cls=Command,
    epilog=examples(
        'eval "$(reconciler completion bash)"                 in ~/.bashrc',
        'eval "$(reconciler completion zsh)"                  in ~/.zshrc, after compinit',
        "reconciler completion fish > ~/.config/fish/completions/reconciler.fish",
    ),
)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print what makes a shell complete commands, options, environments, and the names in the state."""
    known = SHELLS[shell](ctx.find_root().command, {}, "reconciler", VARIABLE)
    # Not `source()`, which asks the bash at hand for its version; the script may be for another one.
    Session.of(ctx).show(known.source_template % known.source_vars())
    return 0
