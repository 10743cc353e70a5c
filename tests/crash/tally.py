"""What is counted over many histories: a dataclass of integers that can be added up and told."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import Self


@dataclass(slots=True, kw_only=True)
class Counts:
    """The base; each kind of history names its own counts."""

    def add(self, other: Self) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def __str__(self) -> str:
        return ", ".join(f"{value} {one.name}" for value, one in zip(astuple(self), fields(self), strict=True))
