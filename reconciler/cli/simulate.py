"""`reconciler simulate`: a platform to try things on, over real HTTP. The only command that knows the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from reconciler.simulator.scenario import Scenario

_SECONDS = click.FloatRange(min=0)
_COUNT = click.IntRange(min=0)
_STATUS_CODE = click.IntRange(200, 599)
# The words of simulator/scenario.py, which is not imported to show a help text; a test compares them.
_SHAPES = ("errors", "message", "error", "text", "html", "empty")
_CALLS = ("deploy", "undeploy", "status")

_HELP = """\
Pretend to be the platform, on loopback, over real HTTP.

It checks keys and bodies, keeps rates, makes versions and runs jobs that take time; with the switches below it
misbehaves as a platform and the network in front of it may. It prints the address it listens on and serves until
it is interrupted. It remembers nothing when it ends. A scenario file (docs/simulator.md) says all of this and more;
flags win over it.

\b
Examples:
  reconciler simulate --port 8080
  reconciler simulate --job-seconds 2 --log requests.jsonl
  reconciler simulate --fail 'cm-2*' --never-deployed 'cm-9*'
  reconciler simulate --lose 'cm-3*:after@1'          the first reply for these models is lost
  reconciler simulate --per-minute 10 --retry-after date --rate-limit-status 403
  reconciler simulate --scenario bad-day.yaml

A switch with a GLOB may be given several times. It is about the model ids that the GLOB fits; @N (or @1,3) makes it
about the N-th of these calls only. The first switch that fits a call applies, alone, in the order of this list.
"""


@click.command(name="simulate", help=_HELP, short_help="Pretend to be the platform, on loopback.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="The port; 0 takes a free one."
)
@click.option("--scenario", type=click.Path(path_type=Path), metavar="FILE", help="A scenario file, YAML or JSON.")
@click.option(
    "--log", type=click.Path(path_type=Path), metavar="FILE", help="Append every request to it, one JSON line."
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="KEY[:SCOPES]",
    help="A key it accepts [kg-simulator]; scopes: deploy,status.",
)
@click.option("--job-seconds", type=_SECONDS, metavar="SECONDS", help="How long a job runs [20].")
@click.option("--hidden-seconds", type=_SECONDS, metavar="SECONDS", help="How long a new dock status answers 404 [0].")
@click.option("--latency", type=_SECONDS, metavar="SECONDS", help="Wait before each reply [0].")
@click.option("--per-minute", type=_COUNT, metavar="N", help="Deploys and undeploys a key may send [60]; 0: no limit.")
@click.option("--per-hour", type=_COUNT, metavar="N", help="The same an hour [1800].")
@click.option("--status-per-minute", type=_COUNT, metavar="N", help="Questions about one dock status [60].")
@click.option("--status-per-hour", type=_COUNT, metavar="N", help="The same an hour [1800].")
@click.option("--rate-limit-status", type=_STATUS_CODE, metavar="CODE", help="HTTP status over the limit [429].")
@click.option(
    "--retry-after", type=click.Choice(["none", "seconds", "date"]), help="Retry-After over the limit [none]."
)
@click.option("--error-shape", type=click.Choice(_SHAPES), help="How an error body looks [errors].")
@click.option("--id-key", metavar="NAME", help="Spelling of the id in replies [dock-statusId]; none: no id, two: two.")
@click.option(
    "--first-deployment",
    type=click.Choice(["refuse", "whenDeclared", "accept"]),
    help="Of a model never deployed by hand [refuse].",
)
@click.option(
    "--unknown-fields", type=click.Choice(["refuse", "ignore"]), help="Fields outside the documentation [refuse]."
)
@click.option("--while-running", type=click.Choice(["accept", "conflict"]), help="A call while a job runs [accept].")
@click.option("--undeploy", type=click.Choice(["atOnce", "job"]), help="How an undeploy ends [atOnce].")
@click.option("--seed", metavar="TEXT", help="Dock status ids are made from it and a count.")
@click.option("--model", "models", multiple=True, metavar="GLOB", help="Models that exist [all].")
@click.option("--never-deployed", multiple=True, metavar="GLOB", help="Models never deployed by hand [none].")
@click.option(
    "--on",
    "call",
    type=click.Choice(_CALLS),
    default="deploy",
    show_default=True,
    help="The call that the switches below are about.",
)
@click.option("--rate-limited", multiple=True, metavar="GLOB[@N]", help="Answer as if over the limit.")
@click.option("--answer", multiple=True, metavar="GLOB[:CODE][@N]", help="Answer CODE [503] and do nothing.")
@click.option(
    "--lose",
    multiple=True,
    metavar="GLOB[:before|after][@N]",
    help="Reset the connection instead of a reply, before or [after] the call is accepted.",
)
@click.option("--cut", multiple=True, metavar="GLOB[:BYTES][@N]", help="Cut the reply after BYTES [20] of its body.")
@click.option(
    "--slow", multiple=True, metavar="GLOB[:SECONDS][@N]", help="Send the reply byte by byte, one every SECONDS [1]."
)
@click.option("--delay", multiple=True, metavar="GLOB[:SECONDS][@N]", help="Wait SECONDS [1] before the reply.")
@click.option("--fail", multiple=True, metavar="GLOB[@N]", help="The job ends FAILED.")
@click.option("--stuck", multiple=True, metavar="GLOB[@N]", help="The job never ends.")
@click.option(
    "--statuses",
    multiple=True,
    metavar="GLOB:WORD,WORD…[@N]",
    help="What the dock status says, question by question; the last word stays.",
)
@click.pass_context
def simulate(context: click.Context, /, **flags: Any) -> None:
    """Raises UsageError, InvalidInput, PlatformUnreachable; exits 130 or 143 once a signal has stopped it."""
    told = _scenario(flags)
    try:
        from reconciler.simulator.serve import SimulatorSettings, serve
    except ModuleNotFoundError as error:
        raise UsageError(
            f"The simulator is a web server, and its package {error.name} is not installed.",
            next_step="pip install 'reconciler[server]'",
        ) from error
    stopped_by = serve(SimulatorSettings(host=flags["host"], port=flags["port"], scenario=told, log=flags["log"]))
    context.exit(0 if stopped_by is None else 128 + stopped_by)


def _scenario(flags: dict[str, Any]) -> Scenario:
    from reconciler.simulator.scenario import Behaviour, Call, Scenario
    from reconciler.simulator.switches import FAULTS, keys_of, with_switches

    told = Scenario() if flags["scenario"] is None else _read(flags["scenario"])
    behaviour = {name: flags[name] for name in Behaviour.model_fields if flags[name] not in (None, ())}
    if flags["keys"]:
        behaviour["keys"] = keys_of(flags["keys"])
    faults = [(switch, value) for switch in FAULTS for value in flags[switch.replace("-", "_")]]
    return with_switches(told, behaviour, faults, Call(flags["call"]))


def _read(path: Path) -> Scenario:
    from reconciler.simulator.scenario import parse_scenario

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"The scenario {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The scenario {path} is not UTF-8.") from error
    return parse_scenario(text, name=str(path))
