"""A sample of rows, chosen by hashes of what identifies them: the same rows whoever looks, in whatever order.

It is where quantiles come from that lie between distant edges of cells, and whatever concerns two columns at
once. A share of it has a standard error of 1.1 percentage points at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.hashing import GOLDEN, Hashes, hashed_numbers, hashed_texts, mixed
from varv.profiles.counted import NUMERIC, OTHER, TEXT, numbers_of
from varv.profiles.distinct import common_bound, least
from varv.profiles.scale import ColumnScale, Scale

ROWS = 2048
Column = npt.NDArray[np.float64] | list[str | None]


class Sample(msgspec.Struct, frozen=True):
    """Rows by hash, in order, how often each was there, and their values: numbers, NaN for missing ones, or
    texts. Times and dates are numbers too.
    """

    hashes: np.ndarray
    counts: np.ndarray
    numbers: dict[str, np.ndarray]
    texts: dict[str, list[str | None]]

    @property
    def n(self) -> int:
        """Different rows."""
        return len(self.hashes)


def sampled(rows: pl.DataFrame, scale: Scale, bound: np.uint64 | None = None) -> Sample:
    """Return the rows with the least hashes.

    Parameters
    ----------
    bound
        No hash above this is wanted.
    """
    hashes = row_hashes(rows, scale)
    if bound is not None:
        places = np.flatnonzero(hashes <= bound)
        rows, hashes = rows[places], hashes[places]
    chosen = least(hashes, ROWS)
    places = np.flatnonzero(hashes <= chosen[-1]) if len(chosen) else np.empty(0, np.int64)
    taken = rows[places]
    numbers, texts = dict[str, np.ndarray](), dict[str, list[str | None]]()
    for one in scale.columns:
        if one.private or one.kind == OTHER:
            continue
        if one.kind == TEXT:
            texts[one.name] = taken[one.name].cast(pl.String).to_list()
        else:
            numbers[one.name] = _as_floats(taken[one.name], one.kind)
    return _one_of_each(hashes[places], np.ones(len(places), np.int64), numbers, texts)


def _one_of_each(
    hashes: Hashes,
    counts: npt.NDArray[np.int64],
    numbers: dict[str, np.ndarray],
    texts: dict[str, list[str | None]],
) -> Sample:
    """Return the rows with the least hashes, each once. Where rows of one key differ, the least values stand,
    whichever came first.
    """
    unique, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    summed = np.bincount(inverse, counts, len(unique)).astype(np.int64)
    if len(unique) < len(hashes):
        _settle(first, inverse, numbers, texts)
    kept = first[:ROWS]
    chosen = {name: [several[place] for place in kept.tolist()] for name, several in texts.items()}
    return Sample(unique[:ROWS], summed[:ROWS], {name: of[kept] for name, of in numbers.items()}, chosen)


def _settle(
    first: npt.NDArray[np.int64],
    inverse: npt.NDArray[np.int64],
    numbers: Mapping[str, np.ndarray],
    texts: Mapping[str, list[str | None]],
) -> None:
    """Let the least of the rows with one hash be the first, where they differ."""
    columns = [*numbers.values()]
    for several in texts.values():
        ranks = pl.Series(several, dtype=pl.String).rank("dense").fill_null(0)
        columns.append(ranks.to_numpy().astype(np.float64))
    differ = np.zeros(len(inverse), np.bool_)
    for values in columns:
        others = values[first][inverse]
        differ |= (values != others) & ~(np.isnan(values) & np.isnan(others))
    if not differ.any():
        return
    contested = np.flatnonzero(np.isin(inverse, inverse[differ]))
    order = contested[np.lexsort([*(of[contested] for of in reversed(columns)), inverse[contested]])]
    groups, leaders = np.unique(inverse[order], return_index=True)
    first[groups] = order[leaders]


def _as_floats(column: pl.Series, kind: str) -> npt.NDArray[np.float64]:
    found = np.full(column.len(), np.nan)
    # The sum has one zero and one form of what is no number.
    found[column.is_not_null().to_numpy()] = numbers_of(column.drop_nulls(), kind) + 0.0
    found[np.isnan(found)] = np.nan
    return found


def row_hashes(rows: pl.DataFrame, scale: Scale) -> Hashes:
    """Return a hash of each row, shape (n,), by its key."""
    kinds = {one.name: one for one in scale.columns}
    found = np.zeros(rows.height, np.uint64)
    for name in scale.key or tuple(kinds):
        if kinds[name].kind != OTHER:
            found = mixed(found * GOLDEN + _hashes(rows[name], kinds[name]))
    return found


def _hashes(column: pl.Series, scale: ColumnScale) -> Hashes:
    if scale.kind in NUMERIC and not column.null_count():
        return hashed_numbers(numbers_of(column, scale.kind))
    known = column.is_not_null().to_numpy()
    found = np.full(column.len(), GOLDEN)
    if scale.kind in NUMERIC:
        found[known] = hashed_numbers(numbers_of(column.drop_nulls(), scale.kind))
    else:
        found[known] = hashed_texts(column.cast(pl.String).drop_nulls().to_list())
    return found


def merged_samples(several: Sequence[Sample]) -> Sample:
    """Return the rows with the least hashes of all."""
    bound = common_bound([one.hashes for one in several], ROWS)
    sizes = [
        one.n if bound is None else int(np.searchsorted(one.hashes, bound, side="right")) for one in several
    ]
    hashes = np.concatenate([one.hashes[:size] for one, size in zip(several, sizes, strict=True)])
    counts = np.concatenate([one.counts[:size] for one, size in zip(several, sizes, strict=True)])
    cut = list(zip(several, sizes, strict=True))
    numbers = {
        name: np.concatenate([one.numbers[name][:size] for one, size in cut]) for name in several[0].numbers
    }
    texts = {
        name: [text for one, size in cut for text in one.texts[name][:size]] for name in several[0].texts
    }
    return _one_of_each(hashes, counts, numbers, texts)


def sample_quantile(sample: Sample, name: str, share: float, low: float, high: float) -> float | None:
    """Return the value below which a share of the sampled values in [low, high] lie; None if none do."""
    values = sample.numbers[name]
    inside = (values >= low) & (values <= high)
    if not inside.any():
        return None
    order = np.argsort(values[inside])
    below = np.cumsum(sample.counts[inside][order])
    return float(values[inside][order][np.searchsorted(below, share * below[-1])])


def weighted(sample: Sample) -> Mapping[str, Column]:
    """Return the values of sampled rows, each as often as its row was there; no row more than 64 times."""
    times = np.minimum(sample.counts, 64)
    numbers: dict[str, Column] = {name: np.repeat(values, times) for name, values in sample.numbers.items()}
    return numbers | {
        name: [text for text, n in zip(values, times.tolist(), strict=True) for _ in range(n)]
        for name, values in sample.texts.items()
    }
