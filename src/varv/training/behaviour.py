"""What a user declares as tests of behaviour, each of them a gate: ``behaviour.minimum(...)``,
``behaviour.invariant(...)``, ``behaviour.direction(...)``.

A mean over held-out rows does not say what a model does with one kind of request. These tests do, after
CheckList (Ribeiro, Wu, Guestrin and Singh 2020): minimum functionality, invariance, direction. They need no
outcomes and work with every task.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import get_args

from varv.features.slices import Slice
from varv.kernel.errors import InvalidDeclaration
from varv.training.gates.arguments import limit_of, name_of, number_of, slice_of, wrong
from varv.training.gates.behaviours import Change, Direction, Invariant, Minimum, Scalar, Way

_SCALARS = (bool, int, float, str)


def minimum(
    name: str,
    *,
    rows: Sequence[Mapping[str, Scalar | None]],
    label: str | int | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    output: str | None = None,
) -> Minimum:
    """Declare how given rows must be predicted, every one of them.

    Parameters
    ----------
    name
        How the test is called.
    rows
        Values of features by name; those that are left out are missing.
    label
        The label that each must get, where the task predicts labels.
    at_least, at_most
        Or what the predicted number must be, from and to.
    output
        Which number, where a prediction has several: a class, ``"q0.5"``.

    Raises
    ------
    InvalidDeclaration
        If there is no row, or not either a label or a bound. The model refuses features that it does not
        have, and labels and outputs that its task does not predict.
    """
    name = name_of("minimum", name)
    if isinstance(rows, str) or not isinstance(rows, Sequence) or not rows:
        raise wrong("minimum", "rows", rows, 'list rows of features: rows=[{"origin": "JFK"}]')
    for row in rows:
        if not isinstance(row, Mapping) or not row or not all(isinstance(key, str) for key in row):
            raise wrong("minimum", "row", row, 'write a row as {"origin": "JFK", "distance": 500}')
        if not all(value is None or isinstance(value, _SCALARS) for value in row.values()):
            raise wrong("minimum", "row", row, "give numbers, texts and truth values")
    if (label is None) == (at_least is None and at_most is None):
        hint = 'write label="late", or at_least=0.7, or at_most=0.2'
        raise InvalidDeclaration("gate", "minimum", "needs either a label or a bound", hint=hint)
    limit = None if label is not None else limit_of("minimum", at_least, at_most)
    given = tuple(dict(row) for row in rows)
    return Minimum(name, given, None if label is None else str(label), limit, output)


def invariant(
    name: str,
    *,
    change: Mapping[str, Sequence[Scalar]] | Change,
    tolerance: float = 0.02,
    share: float = 0.99,
    slice: Slice | None = None,
) -> Invariant:
    """Declare that a change makes no difference to predictions, or next to none.

    Parameters
    ----------
    name
        How the test is called.
    change
        Values of a feature that are to be alike, ``{"origin": ["JFK", "LGA"]}``: rows that have one of them
        get each of the others. Or a function from a frame of rows to the same rows changed.
    tolerance
        By how much a predicted number may differ.
    share
        The share of changed rows that must stay within it. The candidate is refused if the 95 % interval of
        the share lies below this as a whole.
    slice
        The part of the rows to look at; all by default.

    Raises
    ------
    InvalidDeclaration
        If nothing is changed, or a number cannot be.
    """
    name = name_of("invariant", name)
    return Invariant(
        name,
        _change(change),
        number_of("invariant", "tolerance", tolerance, 0.0),
        number_of("invariant", "share", share, 0.0, 1.0),
        slice_of("invariant", slice),
    )


def direction(
    name: str,
    *,
    feature: str,
    by: float,
    prediction: Way,
    share: float = 0.95,
    tolerance: float = 0.0,
    output: str | None = None,
    slice: Slice | None = None,
) -> Direction:
    """Declare which way predictions go when a feature is moved.

    Parameters
    ----------
    name
        How the test is called.
    feature
        A feature that is a number; rows that lack it are left out.
    by
        What is added to it.
    prediction
        ``"up"``, ``"down"``, ``"not down"`` or ``"not up"``.
    share
        As in `invariant`.
    tolerance
        A prediction that moves by no more has not moved.
    output
        Which number, where a prediction has several: a class, ``"q0.5"``.
    slice
        The part of the rows to look at; all by default.

    Raises
    ------
    InvalidDeclaration
        If nothing is moved, or an argument cannot be.
    """
    name = name_of("direction", name)
    if prediction not in get_args(Way):
        raise wrong("direction", "prediction", prediction, f"use {', '.join(map(repr, get_args(Way)))}")
    if not isinstance(feature, str) or not feature:
        raise wrong("direction", "feature", feature, "name a feature that is a number")
    moved = number_of("direction", "by", by)
    if not moved:
        raise wrong("direction", "by", by, "give a number that is not 0")
    return Direction(
        name,
        feature,
        moved,
        prediction,
        number_of("direction", "share", share, 0.0, 1.0),
        number_of("direction", "tolerance", tolerance, 0.0),
        output,
        slice_of("direction", slice),
    )


def _change(change: object) -> dict[str, tuple[Scalar, ...]] | Change:
    hint = 'name values that are to be alike: change={"origin": ["JFK", "LGA"]}'
    if callable(change):
        try:
            inspect.signature(change).bind(None)
        except TypeError:
            raise wrong("invariant", "change", change, "let the function take one argument, rows") from None
        except ValueError:
            pass  # a built-in without a signature is taken at its word
        return change
    if not isinstance(change, Mapping) or not change:
        raise wrong("invariant", "change", change, hint)
    found: dict[str, tuple[Scalar, ...]] = {}
    for name, values in change.items():
        if not isinstance(name, str) or isinstance(values, str) or not isinstance(values, Sequence):
            raise wrong("invariant", "change", change, hint)
        scalars = tuple(value for value in values if isinstance(value, _SCALARS))
        texts = {isinstance(value, str) for value in values}
        if len(scalars) < len(values) or len(set(scalars)) < 2 or len(texts) > 1:
            raise wrong("invariant", f"change of {name!r}", values, hint)
        found[name] = tuple(dict.fromkeys(scalars))
    return found
