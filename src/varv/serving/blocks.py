"""Requests, their features and their answers in plain arrays: the form in which they are captured, many rows
to one record.

Numbers are a matrix of doubles, row by row, whatever their columns' types: truth values are 0 and 1, times
microseconds, and none is NaN, which no request can bring. A double holds all of these exactly but for whole
numbers beyond 2^53; a column that has one is written out beside the matrix. Texts are lists, a list a column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.clock import Instant
from varv.kernel.codec import canonical, digest
from varv.kernel.columns import TIME
from varv.kernel.ids import Version
from varv.serving.routing import RoutingShare, RoutingTable
from varv.serving.schema import RequestSchema
from varv.serving.scored import Otherwise, Scored

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating[Any]]
Texts = Sequence[Sequence[str | None]]
EXACT = 1 << 53
"""A double holds every whole number up to here."""
LARGEST = 3.4e38
"""Larger numbers are infinite in single precision."""


class RequestRows(NamedTuple):
    """Requests: their keys, and what they bring."""

    keys: Sequence[str]
    numbers: Floats
    """Shape (n, columns); in single precision if they came so."""
    texts: Texts
    wide: Mapping[str, Sequence[int | None]] = {}
    """Columns with whole numbers that a double does not hold."""

    def taken(self, places: Sequence[int]) -> RequestRows:
        """Return the rows at some places."""
        return RequestRows(
            [self.keys[place] for place in places],
            self.numbers[places],
            [[column[place] for place in places] for column in self.texts],
            {name: [values[place] for place in places] for name, values in self.wide.items()},
        )

    def part(self, rows: slice) -> RequestRows:
        """Return some of the rows."""
        return RequestRows(
            self.keys[rows],
            self.numbers[rows],
            [column[rows] for column in self.texts],
            {name: values[rows] for name, values in self.wide.items()},
        )


class FeatureRows(NamedTuple):
    """Features of requests that are no columns of theirs."""

    numbers: Singles
    """Shape (n, features), NaN where there is none."""
    texts: Texts

    def taken(self, places: Sequence[int]) -> FeatureRows:
        """Return the rows at some places."""
        return FeatureRows(
            self.numbers[places], [[column[place] for place in places] for column in self.texts]
        )

    def part(self, rows: slice) -> FeatureRows:
        """Return some of the rows."""
        return FeatureRows(self.numbers[rows], [column[rows] for column in self.texts])


class Layout(msgspec.Struct, frozen=True, dict=True):
    """Which columns lie in the arrays of a block, in their order. A feature that is a column of the request
    is read off it.
    """

    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    passed: tuple[str, ...]
    key: str
    """The text that is the key of a request; empty if its key is made of something else."""
    computed: tuple[str, ...]
    computed_texts: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """What tells it from others."""
        return digest(canonical(self))[:16]

    def request_rows(self, requests: pl.DataFrame, keys: Sequence[str]) -> RequestRows:
        """Return requests as plain arrays."""
        columns = [requests.get_column(name) for name in self.numbers]
        numbers = np.empty((requests.height, len(columns)), np.float64)
        wide = {}
        for place, column in enumerate(columns):
            plain = column.cast(pl.Int64) if column.dtype == TIME else column
            numbers[:, place] = plain.cast(pl.Float64).to_numpy()
            if plain.dtype in (pl.Int64, pl.UInt64) and (np.abs(numbers[:, place]) >= EXACT).any():
                wide[column.name] = plain.to_list()
        return RequestRows(keys, numbers, [requests[name].to_list() for name in self.texts], wide)

    def feature_rows(self, features: pl.DataFrame) -> FeatureRows:
        """Return features as plain arrays."""
        numbers = np.empty((features.height, len(self.computed)), np.float32)
        for place, name in enumerate(self.computed):
            numbers[:, place] = features[name].to_numpy()
        return FeatureRows(numbers, [features[name].to_list() for name in self.computed_texts])


class Block(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Requests that were answered together, at one instant and by one routing table; the bytes are arrays."""

    layout: str
    at: Instant
    n_rows: int
    keys: Sequence[str] = ()
    """Of the requests, unless they are among the texts."""
    numbers: bytes
    are_single: bool = False
    """Whether the numbers are written in single precision, which holds all of them exactly."""
    texts: Texts = []
    wide: Mapping[str, Sequence[int | None]] = {}
    computed: bytes = b""
    computed_texts: Texts = []
    epoch: int
    champion: Version
    candidate: Version | None = None
    former: Version | None = None
    share: float = 0.0
    """With which the candidate answers."""
    coins: bytes = b""
    champion_scores: bytes
    candidate_scores: bytes = b""
    former_scores: bytes = b""
    champion_ms: float | None = None
    candidate_ms: float | None = None
    marks: Sequence[str] = ()
    """How each request was answered where it was not by the version whose turn it was; see `Otherwise`."""
    other_scores: bytes = b""
    other_version: Version | None = None
    flagged: Mapping[str, Sequence[int]] = {}
    logged_share: float | None = None
    """The share of requests that are kept, where not all are."""

    @property
    def doubles(self) -> Doubles:
        """The numbers of what was asked, row by row."""
        if self.are_single:
            return np.frombuffer(self.numbers, np.float32).astype(np.float64)
        return np.frombuffer(self.numbers)

    @property
    def said(self) -> Scored:
        """What was said, and by whom."""
        return Scored(
            self._table,
            self._scores(self.champion_scores),
            np.frombuffer(self.coins) if self.coins else None,
            self._scores(self.candidate_scores) if self.candidate_scores else None,
            self._scores(self.former_scores) if self.former_scores else None,
            self.champion_ms,
            self.candidate_ms,
            Otherwise(self.marks, self._scores(self.other_scores), self.other_version)
            if self.marks
            else None,
            self.flagged,
            self.logged_share,
        )

    @property
    def _table(self) -> RoutingTable:
        shares = (RoutingShare(self.champion, 1.0 - self.share),)
        if self.candidate is not None:
            shares = (RoutingShare(self.candidate, self.share), *shares)
        return RoutingTable(epoch=self.epoch, shares=shares, former=self.former, salt="")

    def _scores(self, data: bytes) -> Singles:
        return np.frombuffer(data, np.float32).reshape(self.n_rows, -1)


def layout_of(schema: RequestSchema) -> Layout:
    """Return how requests of a model, and their features, lie in blocks."""
    # In the order in which a matrix without names holds them, so that it need not be rearranged.
    types = {name: schema.types[name] for name in schema.columns()}
    kinds, passed = schema.features.kinds, [one for one in schema.features.declared if isinstance(one, str)]
    computed = [name for name in schema.features.names if name not in passed]
    key = schema.requests.key
    return Layout(
        numbers=tuple(name for name, dtype in types.items() if dtype != pl.String),
        texts=tuple(name for name, dtype in types.items() if dtype == pl.String),
        passed=tuple(passed),
        key=key[0] if len(key) == 1 and types[key[0]] == pl.String else "",
        computed=tuple(name for name in computed if kinds[name] == "numeric"),
        computed_texts=tuple(name for name in computed if kinds[name] == "categorical"),
    )


def block_of(
    layout: Layout, at: Instant, requests: RequestRows, features: FeatureRows, said: Scored
) -> Block:
    """Return the record of answered requests.

    Parameters
    ----------
    layout
        How they lie in it.
    """
    table, numbers, other = said.table, requests.numbers, said.otherwise
    return Block(
        layout=layout.digest,
        at=at,
        n_rows=len(said),
        keys=() if layout.key else requests.keys,
        numbers=numbers.tobytes(),
        are_single=numbers.dtype == np.float32,
        texts=requests.texts,
        wide=requests.wide,
        computed=features.numbers.tobytes(),
        computed_texts=features.texts,
        epoch=table.epoch,
        champion=table.champion,
        candidate=table.candidate,
        former=table.former,
        share=table.candidate_share,
        coins=b"" if said.coins is None else said.coins.tobytes(),
        champion_scores=said.champion.tobytes(),
        candidate_scores=b"" if said.candidate is None else said.candidate.tobytes(),
        former_scores=b"" if said.former is None else said.former.tobytes(),
        champion_ms=said.champion_ms,
        candidate_ms=said.candidate_ms,
        marks=() if other is None else other.marks,
        other_scores=b"" if other is None else other.scores.tobytes(),
        other_version=None if other is None else other.version,
        flagged=said.flagged,
        logged_share=said.logged_share,
    )
