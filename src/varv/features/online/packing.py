"""Rows of one entity as one value: the layout's number, how many rows, rows of fixed size, texts behind them.

A layout is the columns that a view keeps of rows, with their types. Its number is part of every value, and
the ledger knows the layout of each generation, so a value is never read by the columns of another one.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from varv.features.run import Rows, Values
from varv.kernel.codec import digest_of
from varv.kernel.errors import Corrupt

_HEAD = struct.Struct("<II")
_TEXT = "text"
_NULL = -1


class Layout(msgspec.Struct, frozen=True, dict=True):
    """Names and types of columns: a name of NumPy for a type of fixed size, or ``text``."""

    columns: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, columns: Mapping[str, npt.DTypeLike]) -> Layout:
        """Return the layout of rows with these columns; objects are texts or nothing."""
        kinds = [(name, np.dtype(dtype)) for name, dtype in columns.items()]
        return cls(tuple((name, _TEXT if kind.hasobject else kind.str) for name, kind in kinds))

    @cached_property
    def number(self) -> int:
        """What stands in values; 32 bits of the layout's digest."""
        return int(digest_of([list(one) for one in self.columns])[:8], 16)

    @cached_property
    def texts(self) -> list[str]:
        """The columns of texts."""
        return [name for name, kind in self.columns if kind == _TEXT]

    @cached_property
    def record(self) -> np.dtype[Any]:
        """A row of fixed size: instant, tie, then the columns, of a text its bytes."""
        fields = [("time", "<i8"), ("tie", "<u8")]
        fields += [(f"c{i}", "<i4" if kind == _TEXT else kind) for i, (_, kind) in enumerate(self.columns)]
        return np.dtype(fields)

    @cached_property
    def single(self) -> struct.Struct | None:
        """Reads a value of one row at once, head included; None where there are texts or odd types."""
        codes = {"<f8": "d", "<f4": "f", "<i8": "q", "<u8": "Q", "<i4": "i", "<u4": "I"}
        if not all(kind in codes for _, kind in self.columns):
            return None
        return struct.Struct("<IIqQ" + "".join(codes[kind] for _, kind in self.columns))

    def packed(self, rows: Rows, starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
        """Return a value of each stretch of rows, which are in order."""
        records, heap, offsets = self._laid_out(rows)
        data, size, number = records.tobytes(), self.record.itemsize, self.number
        pack = _HEAD.pack
        if not self.texts:
            return [
                pack(number, end - start) + data[start * size : end * size]
                for start, end in zip(starts, ends, strict=True)
            ]
        return [
            pack(number, end - start) + data[start * size : end * size] + heap[offsets[start] : offsets[end]]
            for start, end in zip(starts, ends, strict=True)
        ]

    def unpacked(self, value: bytes) -> Rows:
        """Return the rows of a value, with the code 0.

        Raises
        ------
        Corrupt
            If it is of another layout or length.
        """
        n = self.n_rows(value)
        records = np.frombuffer(value, self.record, n, _HEAD.size)
        place = _HEAD.size + n * self.record.itemsize
        texts = self._texts_of(records, value, place) if self.texts else {}
        columns = {
            name: texts[name] if name in texts else records[f"c{i}"].copy()
            for i, (name, _) in enumerate(self.columns)
        }
        return Rows(np.zeros(n, np.int64), records["time"].copy(), records["tie"].copy(), columns)

    def unpacked_many(self, values: Sequence[bytes], codes: Sequence[int]) -> Rows:
        """Return the rows of values, each with the code of its entity.

        Raises
        ------
        Corrupt
            As `unpacked`.
        """
        if self.texts:
            several = [self.unpacked(value) for value in values]
            counts = [len(rows.codes) for rows in several]
            rows = joined_rows(several, self)
            return rows._replace(codes=np.repeat(np.array(codes, np.int64), counts))
        counts, size = [self.n_rows(value) for value in values], self.record.itemsize
        data = b"".join(
            value[_HEAD.size : _HEAD.size + n * size] for value, n in zip(values, counts, strict=True)
        )
        records = np.frombuffer(data, self.record)
        columns = {name: records[f"c{i}"] for i, (name, _) in enumerate(self.columns)}
        return Rows(np.repeat(np.array(codes, np.int64), counts), records["time"], records["tie"], columns)

    def n_rows(self, value: bytes) -> int:
        """Return how many rows a value holds.

        Raises
        ------
        Corrupt
            If it is of another layout or too short.
        """
        number, n = _HEAD.unpack_from(value) if len(value) >= _HEAD.size else (0, 0)
        if number != self.number or len(value) < _HEAD.size + n * self.record.itemsize:
            hint = "materialise the view anew: varv features backfill VIEW"
            raise Corrupt("online value", "", "is not of its view's layout", layout=number, hint=hint)
        return n

    def _laid_out(self, rows: Rows) -> tuple[npt.NDArray[Any], bytes, list[int]]:
        n = len(rows.codes)
        records = np.zeros(n, self.record)
        records["time"], records["tie"] = rows.times, rows.ties
        encoded: list[list[bytes]] = []
        for i, (name, kind) in enumerate(self.columns):
            if kind != _TEXT:
                records[f"c{i}"] = rows.columns[name]
                continue
            texts = rows.columns[name].tolist()
            encoded.append([b"" if text is None else text.encode() for text in texts])
            records[f"c{i}"] = [_NULL if text is None else len(raw) for text, raw in zip(texts, encoded[-1])]  # noqa: B905
        if not encoded:
            return records, b"", []
        of_rows = [b"".join(several) for several in zip(*encoded, strict=True)]
        offsets = np.concatenate(([0], np.cumsum([len(one) for one in of_rows], dtype=np.int64)))
        return records, b"".join(of_rows), offsets.tolist()

    def _texts_of(self, records: npt.NDArray[Any], value: bytes, place: int) -> dict[str, Values]:
        found = {name: np.empty(len(records), object) for name in self.texts}
        lengths = [
            (name, records[f"c{i}"].tolist()) for i, (name, kind) in enumerate(self.columns) if kind == _TEXT
        ]
        for row in range(len(records)):
            for name, of_rows in lengths:
                length = of_rows[row]
                if length == _NULL:
                    found[name][row] = None
                    continue
                found[name][row] = value[place : place + length].decode()
                place += length
        return found


def joined_rows(several: Sequence[Rows], layout: Layout) -> Rows:
    """Return rows of one layout together; none if there are none."""
    columns = {
        name: np.concatenate(
            [np.zeros(0, object if kind == _TEXT else kind), *(rows.columns[name] for rows in several)]
        )
        for name, kind in layout.columns
    }
    return Rows(
        np.concatenate([np.zeros(0, np.int64), *(rows.codes for rows in several)]),
        np.concatenate([np.zeros(0, np.int64), *(rows.times for rows in several)]),
        np.concatenate([np.zeros(0, np.uint64), *(rows.ties for rows in several)]),
        columns,
    )
