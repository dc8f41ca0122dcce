"""Requests and their features as a version is fed them, as `Signature.feed` would from a frame, to the last
bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from varv.registry import Column, Rows, Signature
from varv.serving.blocks import FeatureRows, Layout, RequestRows, Singles
from varv.serving.plain import Unplanned

Feed = Callable[[RequestRows, FeatureRows], Rows]
_NAN = float("nan")
_INFINITE = (float("inf"), float("-inf"))


class _Source(NamedTuple):
    """Where a feature lies."""

    is_text: bool
    is_computed: bool
    place: int

    def texts(self, requests: RequestRows, features: FeatureRows) -> Sequence[str | None]:
        return (features if self.is_computed else requests).texts[self.place]

    def numbers(self, requests: RequestRows, features: FeatureRows) -> Singles:
        if self.is_computed:
            return features.numbers[:, self.place]
        return requests.numbers[:, self.place].astype(np.float32)


def feed_of(signature: Signature, layout: Layout) -> Feed:
    """Return what feeds a version of a signature.

    Raises
    ------
    Unplanned
        If a column is missing, or of another kind.
    """
    sources = _sources(layout)
    pairs = []
    for column in signature.columns:
        source = sources.get(column.name)
        if source is None or source.is_text != (column.kind != "number"):
            raise Unplanned
        pairs.append((column, source))
    if signature.form == "columns":
        return _ColumnsFeed(pairs)
    if any(column.kind == "text" for column, _ in pairs):
        raise Unplanned
    return _MatrixFeed(pairs)


class _MatrixFeed:
    """Feeds a matrix of float32."""

    def __init__(self, pairs: Sequence[tuple[Column, _Source]]) -> None:
        self._pairs = [(column.positions if source.is_text else {}, source) for column, source in pairs]
        places = [None if one.is_text or one.is_computed else one.place for _, one in pairs]
        self._is_whole = places == list(range(len(pairs)))

    def __call__(self, requests: RequestRows, features: FeatureRows) -> Rows:
        given = requests.numbers
        if self._is_whole and given.shape[1] == len(self._pairs):
            return given.astype(np.float32, order="C")
        if len(given) == 1:
            return np.array([self._row(requests, features)], np.float32)
        matrix = np.empty((len(given), len(self._pairs)), np.float32)
        for at, (positions, source) in enumerate(self._pairs):
            if source.is_text:
                matrix[:, at] = [positions.get(text, _NAN) for text in source.texts(requests, features)]
            elif source.is_computed:
                # As `Signature.encode`: what a request brings is finite, what was observed need not be.
                matrix[:, at] = _finite(features.numbers[:, source.place])
            else:
                matrix[:, at] = given[:, source.place]
        return matrix

    def _row(self, requests: RequestRows, features: FeatureRows) -> list[float]:
        # Lists, since each step over an array of one takes as long as the whole row does so.
        given, computed = requests.numbers[0].tolist(), features.numbers[0].tolist()
        row: list[float] = []
        for positions, source in self._pairs:
            if source.is_text:
                row.append(positions.get(source.texts(requests, features)[0], _NAN))
            elif source.is_computed:
                value = computed[source.place]
                row.append(_NAN if value in _INFINITE else value)
            else:
                row.append(given[source.place])
        return row


class _ColumnsFeed:
    """Feeds the columns with their own types."""

    def __init__(self, pairs: Sequence[tuple[Column, _Source]]) -> None:
        self._pairs = pairs

    def __call__(self, requests: RequestRows, features: FeatureRows) -> Rows:
        return {column.name: _fed(column, source, requests, features) for column, source in self._pairs}


def _fed(column: Column, source: _Source, requests: RequestRows, features: FeatureRows) -> np.ndarray:
    if source.is_text:
        texts = source.texts(requests, features)
        return np.array([text or "" for text in texts], dtype=object)
    numbers = source.numbers(requests, features)
    if column.dtype == "int64":
        whole = numbers.astype(np.int64)
        if not np.isfinite(numbers).all() or (whole != numbers).any():
            raise Unplanned
        return whole
    return _finite(numbers)


def _finite(numbers: Singles) -> Singles:
    return np.where(np.isinf(numbers), np.float32(_NAN), numbers)


def _sources(layout: Layout) -> Mapping[str, _Source]:
    found = {name: _Source(False, True, place) for place, name in enumerate(layout.computed)}
    found |= {name: _Source(True, True, place) for place, name in enumerate(layout.computed_texts)}
    for is_text, names in ((False, layout.numbers), (True, layout.texts)):
        found |= {
            name: _Source(is_text, False, place) for place, name in enumerate(names) if name in layout.passed
        }
    return found
