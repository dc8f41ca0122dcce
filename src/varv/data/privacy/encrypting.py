"""Encrypting values of a column under the keys of the subjects that they are about, and reading them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from varv.kernel.purpose_keys import normalised
from varv.kernel.sealing import Place, is_sealed, key_id, opened, sealed
from varv.kernel.subject_keys import SubjectKeys


class Opened(NamedTuple):
    """Values that were read again, None where there was none; and how many could not be."""

    values: list[str | None]
    n_shredded: int
    """Their key was destroyed."""
    n_foreign: int
    """They are about somebody else than their row, of another column, or were changed."""


class Encryptor:
    """Encrypts values of one dataset.

    Parameters
    ----------
    dataset, key
        Its name and the columns of its key.
    keys
        Of the subjects.
    """

    def __init__(self, dataset: str, key: tuple[str, ...], keys: SubjectKeys) -> None:
        self._dataset, self._key, self._keys = dataset, key, keys

    def series(self, rows: pl.DataFrame, column: str, whose: str) -> pl.Series:
        """Return a column of rows encrypted; null where nobody is said to be the subject."""
        owners = [rows[name].to_list() for name in self._whose(whose) if name in rows.columns]
        values = rows[column].cast(pl.String).to_list()
        return pl.Series(column, self._sealed(values, column, whose, owners), dtype=pl.String)

    def values(
        self, values: Sequence[Any], column: str, whose: str, columns: Mapping[str, Sequence[Any]]
    ) -> list[Any]:
        """Return values out of JSON encrypted, which come with other columns; see `series`."""
        owners = [columns[name] for name in self._whose(whose) if name in columns]
        texts = [None if value is None else str(value) for value in values]
        return list(self._sealed(texts, column, whose, owners))

    def opened(self, rows: pl.DataFrame, column: str, whose: str) -> Opened:
        """Return what a column of rows held."""
        sealed_ones = rows[column].to_list()
        ids = [None if one is None else key_id(one) for one in sealed_ones]
        keys = self._keys.with_ids({one for one in ids if one is not None})
        owners = self._owners(len(sealed_ones), whose, [rows[name].to_list() for name in self._whose(whose)])
        place, found = Place(self._dataset, column), list[str | None]()
        n_shredded = n_foreign = 0
        for text, of, owner in zip(sealed_ones, ids, owners, strict=True):
            key = None if of is None else keys.get(of)
            value = None if text is None or key is None or key.owner != owner else opened(text, place, key)
            n_shredded += text is not None and of is not None and key is None
            n_foreign += text is not None and value is None and (of is None or key is not None)
            found.append(value)
        return Opened(found, n_shredded, n_foreign)

    def owner(self, whose: str, text: str) -> bytes:
        """Return the digest of the subject that a text names, by which its key is found."""
        return self._keys.owner(self._dataset, whose, text)

    def _whose(self, whose: str) -> tuple[str, ...]:
        return (whose,) if whose else self._key

    def _owners(self, n_rows: int, whose: str, columns: Sequence[Sequence[object]]) -> list[bytes | None]:
        if len(columns) < len(self._whose(whose)):
            return [None] * n_rows
        known: dict[tuple[object, ...], bytes | None] = {}
        found = list[bytes | None]()
        for said in zip(*columns, strict=True):
            if said not in known:
                # As keys of rows are written as one text.
                text = "|".join(map(normalised, said))
                known[said] = None if None in said else self.owner(whose, text)
            found.append(known[said])
        return found

    def _sealed(
        self,
        values: Sequence[str | None],
        column: str,
        whose: str,
        columns: Sequence[Sequence[object]],
    ) -> Iterable[str | None]:
        owners = self._owners(len(values), whose, columns)
        new = [
            owner if value is not None and owner is not None and not is_sealed(value, self._keys) else None
            for value, owner in zip(values, owners, strict=True)
        ]
        keys = self._keys.of({owner for owner in new if owner is not None})
        place = Place(self._dataset, column)
        for value, owner in zip(values, new, strict=True):
            if value is None or owner is not None:
                yield (
                    value if value is None or owner is None else sealed(value, place, keys[owner], self._keys)
                )
            else:
                yield value if is_sealed(value, self._keys) else None
