"""What each feature contributed to what a version says of a row: Shapley values over its probe rows.

It asks the version itself, whatever it is, so the contributions are of the very numbers that it answers, in
their own unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import Version
from varv.registry import Rows, n_rows
from varv.registry.signature import take
from varv.serving.dataplane import Warm
from varv.serving.scores import Scores
from varv.stats.intervals import Numbers
from varv.stats.shapley import Coalitions, Contributions, shapley_values

MOST_ROWS = 32
"""Of one request: explaining a row asks the version thousands."""
_AT_ONCE = 4096
"""Rows that a version is asked in one call."""
_SEED = 20_201


class Explanation(NamedTuple):
    """What a version says of requests, and what each of its features contributed."""

    keys: Sequence[str]
    version: Version
    scores: Scores
    """Shape (n, width)."""
    features: tuple[str, ...]
    contributions: tuple[Contributions, ...]
    """Of each row."""


def explained(warm: Warm, rows: Rows) -> tuple[Contributions, ...]:
    """Return what each feature contributed to what a version says of rows, as it is fed them.

    Parameters
    ----------
    warm
        The version; its probe rows are the background.

    Raises
    ------
    FailedPrecondition
        If the version has no answer for some mixture of a row and its background.
    """
    return tuple(_of_row(warm, take(rows, slice(place, place + 1))) for place in range(n_rows(rows)))


def _of_row(warm: Warm, row: Rows) -> Contributions:
    background, names = warm.background, [column.name for column in warm.signature.columns]

    def game(inside: Coalitions) -> Numbers:
        size = n_rows(background)
        step = max(1, _AT_ONCE // size)
        parts = [
            _worth(warm, row, background, inside[first : first + step])
            for first in range(0, len(inside), step)
        ]
        return np.concatenate(parts)

    try:
        # The same row is explained alike each time.
        return shapley_values(game, len(names), np.random.default_rng(_SEED))
    except ValueError as error:
        hint = "ask for a prediction alone, or for another row"
        raise FailedPrecondition("row", "", f"cannot be explained: {error}", hint=hint) from None


def _worth(warm: Warm, row: Rows, background: Rows, inside: Coalitions) -> Numbers:
    """Return what coalitions are worth: the mean of what the version says of the row's values inside, and of
    those of each background row outside.
    """
    size, m = n_rows(background), len(inside)
    chosen = np.repeat(inside, size, axis=0)
    if isinstance(row, np.ndarray) and isinstance(background, np.ndarray):
        mixed: Rows = np.where(chosen, row, np.tile(background, (m, 1))).astype(np.float32)
    else:
        assert isinstance(row, Mapping), "one signature feeds both"
        assert isinstance(background, Mapping), "one signature feeds both"
        mixed = {
            name: np.where(chosen[:, place], row[name], np.tile(background[name], m))
            for place, name in enumerate(row)
        }
    said = warm.asked(mixed).astype(np.float64)
    return said.reshape(m, size, -1).mean(axis=1)
