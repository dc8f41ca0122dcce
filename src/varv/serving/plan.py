"""What a request of a model needs, compiled for the versions in force: plain functions over arrays, no frame.

A plan answers what the general way of `serving.answering` answers, to the last bit, or it says that it does
not know how: a request that is out of the ordinary, or wrong, is the general way's, which knows what to say.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np

from varv.features import FeatureEngine
from varv.features.program import FeatureProgram
from varv.kernel.clock import Instant
from varv.registry import Rows, Signature
from varv.serving.blocks import LARGEST, Doubles, FeatureRows, Layout, RequestRows
from varv.serving.dataplane import InForce
from varv.serving.matrix import MatrixColumns
from varv.serving.plain import FRACTIONS, KeyReader, NumberReader, TextReader, Unplanned
from varv.serving.plan_feeds import Feed, feed_of
from varv.serving.schema import RequestSchema
from varv.serving.scored import Scored


class RequestPlan:
    """Reads requests of one model, and lets the versions in force answer them.

    Parameters
    ----------
    schema
        What a request is.
    layout
        How its columns lie in arrays.
    engine
        Computes its features.
    in_force
        The versions that answer.
    nullable
        Columns that were sometimes empty in the history, and so may be in a request.

    Raises
    ------
    Unplanned
        If the model or a version has something that only the general way knows.
    """

    def __init__(
        self,
        schema: RequestSchema,
        layout: Layout,
        engine: FeatureEngine,
        in_force: InForce,
        nullable: frozenset[str],
    ) -> None:
        self.in_force = in_force
        expected, types = schema.columns(nullable), schema.types
        self._numbers = [NumberReader(expected[name], types[name]) for name in layout.numbers]
        self._number_names = layout.numbers
        self._positional = schema.needed
        places = [layout.numbers.index(name) for name in self._positional if name in layout.numbers]
        self._places = None if self._positional == layout.numbers else np.array(places, np.intp)
        never = [not expected[name].may_be_null for name in self._positional]
        self._never_empty = np.array(never, np.bool_)
        self._are_fractions = all(one.kind == "fraction" for one in self._numbers)
        self._texts = [TextReader(expected[name], name == schema.generated_key) for name in layout.texts]
        self._key = KeyReader(schema.requests.key, types, layout)
        self._unit = None if schema.unit is None else KeyReader((schema.unit,), types, layout)
        self._program = FeatureProgram(engine, types, layout.numbers, layout.texts)
        self._feeds: dict[int, Feed] = {}
        for warm in in_force.needed:
            self._feeds[id(warm.signature)] = feed_of(warm.signature, layout)
        if (reserve := in_force.in_reserve) is not None:
            # A feature that only it reads may not be there any more; then the general way says so.
            with suppress(Unplanned):
                self._feeds[id(reserve.signature)] = feed_of(reserve.signature, layout)

    def read(self, columns: Mapping[str, Sequence[Any]], request_id: str, most_rows: int) -> RequestRows:
        """Return requests as plain arrays.

        Parameters
        ----------
        columns
            Values by column, all of one length, as they came out of JSON.

        Raises
        ------
        Unplanned
            If something is out of the ordinary.
        """
        if type(columns) is MatrixColumns and columns.names == self._positional and self._are_fractions:
            return self._read_matrix(columns, request_id, most_rows)
        n = len(next(iter(columns.values()), ()))
        if not 1 <= n <= most_rows:
            raise Unplanned
        n_left = len(columns)
        given: list[Any] = [columns.get(name) for name in self._number_names]
        texts: list[Sequence[str | None]] = []
        if None in given:
            for place, number in enumerate(self._numbers):
                if given[place] is None:
                    given[place] = number.absent(n)
                    n_left += 1
        n_left -= len(given)
        for text in self._texts:
            values = columns.get(text.name)
            n_left -= values is not None
            texts.append(text.absent(request_id, n) if values is None else text.read(values))
        if n_left:
            raise Unplanned
        numbers = self._doubles(given, n)
        return RequestRows(self._key.read(numbers, texts), numbers, texts)

    def answer(
        self, requests: RequestRows, at: Instant, *, stand_in: bool = True
    ) -> tuple[FeatureRows, Scored]:
        """Return the features of requests that are made at an instant, and what is said of them; `stand_in`
        and what it raises are those of `InForce.score`.
        """
        features = FeatureRows(*self._program.compute(requests, at))
        units = self.units(requests)

        def fed(signature: Signature) -> Rows:
            feed = self._feeds.get(id(signature))
            if feed is None:
                raise Unplanned
            return feed(requests, features)

        return features, self.in_force.score(units, fed, stand_in=stand_in)

    def units(self, requests: RequestRows) -> Sequence[str]:
        """Return the unit of randomisation of each request."""
        return requests.keys if self._unit is None else self._unit.read(requests.numbers, requests.texts)

    def _read_matrix(self, columns: MatrixColumns, request_id: str, most_rows: int) -> RequestRows:
        values = columns.values_together
        n = len(values)
        if not 1 <= n <= most_rows:
            raise Unplanned
        if not columns.is_plain:
            absent = np.isnan(values)
            if (np.abs(values) > LARGEST).any() or (absent.any(axis=0) & self._never_empty).any():
                raise Unplanned
        if self._places is not None:
            numbers = np.full((n, len(self._numbers)), math.nan)
            numbers[:, self._places] = values
            values = numbers
        texts = [text.absent(request_id, n) for text in self._texts]
        return RequestRows(self._key.read(values, texts), values, texts)

    def _doubles(self, given: Sequence[Sequence[Any]], n: int) -> Doubles:
        flat: list[Any] = [values[0] for values in given] if n == 1 else list(chain.from_iterable(given))
        kinds = set(map(type, flat))
        if not (self._are_fractions and kinds <= FRACTIONS):
            pairs = zip(self._numbers, given, strict=True)
            if n == 1:
                flat = [reader.one(value) for reader, (value,) in pairs]
            else:
                flat = list(chain.from_iterable(reader.read(values) for reader, values in pairs))
        known: list[float] = [value for value in flat if value is not None] if type(None) in kinds else flat
        # A sum tells whether something in it is no number, which comparisons pass over.
        if known and (not -LARGEST <= min(known) <= max(known) <= LARGEST or math.isnan(sum(known))):
            raise Unplanned
        if len(known) < len(flat):
            flat = [math.nan if value is None else value for value in flat]
        return np.frombuffer(array("d", flat)).reshape(len(given), n).T


def joined(several: Sequence[RequestRows]) -> RequestRows:
    """Return the rows of several requests, one after the other."""
    if len(several) == 1:
        return several[0]
    return RequestRows(
        list(chain.from_iterable(one.keys for one in several)),
        np.concatenate([one.numbers for one in several]),
        [list(chain.from_iterable(columns)) for columns in zip(*(one.texts for one in several), strict=True)],
    )
