"""How gates name the slice that they look at, and check that it can be cut."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from varv.features.kinds import Kind
from varv.features.slices import Slice
from varv.kernel.errors import InvalidDeclaration

_TYPES: dict[Kind, pl.DataType] = {"numeric": pl.Float64(), "categorical": pl.String()}


def sliced(text: str, part: Slice | None, *, joint: str = ", ") -> str:
    """Return a text with the slice that it is about.

    Examples
    --------
    >>> from varv.features.slices import slice
    >>> sliced("calibrated", slice("carrier", "UA")), sliced("calibrated", None)
    ('calibrated, carrier UA', 'calibrated')
    """
    return text if part is None else f"{text}{joint}{part.label}"


def require_slice(gate: str, part: Slice | None, kinds: Mapping[str, Kind]) -> None:
    """Check that a slice is of a feature that can be compared with what it names.

    Raises
    ------
    InvalidDeclaration
        If it is not.
    """
    if part is None:
        return
    require_feature(gate, "slice", part.column, kinds)
    if problem := part.misfit(_TYPES[kinds[part.column]]):
        hint = f"feature {part.column!r} is {kinds[part.column]}; compare like with like"
        raise InvalidDeclaration("gate", gate, f"has a slice that {problem}", hint=hint)


def require_feature(
    gate: str, argument: str, name: str, kinds: Mapping[str, Kind], *, kind: Kind | None = None
) -> None:
    """Check that a gate names a feature of the model.

    Raises
    ------
    InvalidDeclaration
        If there is none of that name, or it is not of the `kind` that is asked for.
    """
    if name not in kinds:
        hint = f"the features are {', '.join(list(kinds)[:30])}"
        raise InvalidDeclaration("gate", gate, f"has a {argument} that is no feature: {name!r}", hint=hint)
    if kind is not None and kinds[name] != kind:
        hint = f"name a {kind} feature"
        raise InvalidDeclaration("gate", gate, f"has a {argument} that is {kinds[name]}: {name!r}", hint=hint)
