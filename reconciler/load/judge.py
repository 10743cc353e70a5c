"""What the models say of a part of a document: nothing while it fits, which is told fast; else every mistake."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.diagnostics import Diagnostic
from reconciler.load.fits import fits
from reconciler.load.placer import Placer
from reconciler.load.widening import Widening
from reconciler.model.loaded import FieldPath
from reconciler.model.values import Json


def mistakes(  # noqa: PLR0917 - a place, and what is allowed there
    model: str, value: Json, document: int, placer: Placer, widening: Widening, base: FieldPath = ()
) -> Iterator[Diagnostic]:
    """Every mistake that the project file does not lift. `model` is one of `fits.MODELS`; `base` leads to the part."""
    if fits(model, value):
        return
    from reconciler.load.shape import MODELS, Shape

    yield from Shape(model=MODELS[model], widening=widening, base=base).mistakes(value, document, placer)
