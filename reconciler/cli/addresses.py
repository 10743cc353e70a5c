"""What a person types for a deployment -> environment, change and entry."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reconciler.cli.planning import Planned, Project, plan_one
from reconciler.errors import UsageError
from reconciler.model.applied import Entry
from reconciler.model.plan import Change
from reconciler.model.spelling import ID_PATTERN, NAME_PATTERN
from reconciler.status import find as change_at
from reconciler.wiring import Opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressed:
    """One deployment in one environment. `entry` is None when the state does not know it yet."""

    planned: Planned
    change: Change
    entry: Entry | None

    @property
    def known(self) -> Entry:
        """The entry. Raises UsageError when there is none."""
        if self.entry is None:
            raise UsageError(
                f"{self.change.address} is not in the state: nothing was ever sent or adopted for it.",
                next_step="`reconciler plan` shows what apply would do with it.",
            )
        return self.entry


def split_address(opened: Opened, text: str) -> tuple[str, str]:
    """`ENV/NAME`, or `NAME` alone where there is one environment, as environment and whole address. Raises UsageError."""
    environment, slash, name = text.partition("/")
    if not slash:
        if len(opened.names) != 1:
            if text in opened.names:
                raise UsageError(f"{text} is an environment, not a deployment.", next_step=f"Write {text}/NAME.")
            raise UsageError(
                f"{text!r} does not say which environment.", next_step=f"Write it as {opened.names[0]}/{text}."
            )
        environment, name = opened.names[0], text
    opened.environment(environment)
    refuse_misspelled(text, name)
    return environment, f"{environment}/{name}"


def refuse_misspelled(text: str, name: str) -> None:
    """Before any state is looked at: it has nothing under what cannot be a name. Raises UsageError."""
    if not name:
        raise UsageError(f"{text!r} names no deployment.", next_step="Write ENV/NAME.")
    plain, sign, model_id = name.partition("@")
    if not re.fullmatch(NAME_PATTERN, plain) or (sign and not re.fullmatch(ID_PATTERN, model_id)):
        raise UsageError(
            f"{text!r} is no address.",
            next_step="Write ENV/NAME; names have small letters, digits and hyphens, as a label of DNS has.",
        )


def find(project: Project, text: str) -> Addressed:
    """The deployment at an address. Raises UsageError with a did-you-mean."""
    environment, address = split_address(project.opened, text)
    planned = plan_one(project, project.opened.environment(environment))
    change = change_at(planned.plan, address)
    return Addressed(planned=planned, change=change, entry=planned.applied.entries.get(change.model_id))
