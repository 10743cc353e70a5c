"""The flags of `reconciler simulate`, as a scenario: what each switch means. Pure; `cli/simulate.py` reads the command line.

Flags win over the scenario file: behaviour is replaced field by field, and the rules made here stand before the file's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from reconciler.errors import UsageError
from reconciler.simulator.scenario import Behaviour, Call, Rule, Scenario
from reconciler.simulator.wording import RATE_LIMIT_MESSAGE
from reconciler.simulator.world import RETRY_AFTER

# GLOB[:ARGUMENT][@N,N…]; ids hold neither colons nor at signs.
_SWITCH = re.compile(r"(?P<glob>[^:@]+)(?::(?P<argument>[^@]*))?(?:@(?P<nth>\d+(?:,\d+)*))?")
_Fault = Callable[[str | None, Behaviour], Mapping[str, Any]]


def _rate_limited(_: str | None, behaviour: Behaviour) -> Mapping[str, Any]:
    wait = {"none": None, "seconds": RETRY_AFTER, "date": f"date:{RETRY_AFTER}"}[behaviour.retry_after]
    status = behaviour.rate_limit_status
    return {"answer": {"status": status, "message": RATE_LIMIT_MESSAGE, "retryAfter": wait}}


# Switch -> the rule it makes. The first rule that fits a call applies, alone; so what hides the most stands last.
FAULTS: Mapping[str, _Fault] = {
    "rate-limited": _rate_limited,
    "answer": lambda argument, _: {"answer": {"status": argument or "503"}},
    "lose": lambda argument, _: {"lost": argument or "after"},
    "cut": lambda argument, _: {"cutBody": argument or "20"},
    "slow": lambda argument, _: {"slow": {"every": argument or "1"}},
    "delay": lambda argument, _: {"delay": argument or "1"},
    "fail": lambda _argument, _: {"job": {"fails": True}},
    "stuck": lambda _argument, _: {"job": {"stuck": True}},
    "statuses": lambda argument, _: {"job": {"statuses": (argument or "QUEUED,SUCCESS").split(",")}},
}


def with_switches(
    told: Scenario,
    behaviour: Mapping[str, Any],
    faults: Iterable[tuple[str, str]],
    call: Call = Call.DEPLOY,
) -> Scenario:
    """The scenario with the given fields of Behaviour replaced and a rule for each (switch, `GLOB[:ARGUMENT][@N]`).

    `call` is what the rules are about. Raises UsageError for values that no scenario file could hold either.
    """
    try:
        settled = Behaviour.model_validate({**told.behaviour.model_dump(), **behaviour})
        rules = tuple(_rule(switch, value, call, settled) for switch, value in faults)
    except ValidationError as error:
        raise _refused(error) from error
    return told.model_copy(update={"behaviour": settled, "rules": (*rules, *told.rules)})


def _rule(switch: str, value: str, call: Call, behaviour: Behaviour) -> Rule:
    found = _SWITCH.fullmatch(value)
    if found is None:
        raise UsageError(f"--{switch} {value!r} is not GLOB[:ARGUMENT][@N], like 'cm-2*' or 'cm-2*@1'.")
    nth = [int(turn) for turn in (found["nth"] or "").split(",") if turn]
    match = {"model": found["glob"], "operation": call, "nth": nth}
    try:
        return Rule.model_validate({"match": match, **FAULTS[switch](found["argument"], behaviour)})
    except ValidationError as error:
        raise UsageError(f"--{switch} {value!r} is not valid: {_first(error)}.") from error


def keys_of(written: Iterable[str]) -> dict[str, list[str] | None]:
    """`KEY` may do everything, `KEY:deploy` and `KEY:status` only that."""
    keys: dict[str, list[str] | None] = {}
    for text in written:
        key, colon, scopes = text.partition(":")
        keys[key] = [scope for scope in scopes.split(",") if scope] if colon else None
    return keys


def _refused(error: ValidationError) -> UsageError:
    item = error.errors(include_url=False)[0]
    # A flag bears the name of its field.
    field = str(item["loc"][0]).replace("_", "-") if item["loc"] else "flag"
    return UsageError(f"--{field} is not valid: {_first(error)}.")


def _first(error: ValidationError) -> str:
    return error.errors(include_url=False)[0]["msg"].lower()
