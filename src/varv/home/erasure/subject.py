"""The subject of an erasure while it is under way: who it is, in a file beside the home that is destroyed at
the end.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from varv.data import Dataset
from varv.data.privacy import Encrypt, Generalise, Pseudonymise
from varv.data.values import in_json, typed_frame
from varv.kernel.codec import Digest, canonical
from varv.kernel.errors import FailedPrecondition, NotFound
from varv.kernel.ids import new_secret
from varv.kernel.purpose_keys import PurposeKeys, normalised, write_private

FOLDER = "erasures"
_KEY_BYTES = 32
_DISTINCT = 6
_DISTINCT_DIGITS = 9
"""So long a text, or a number of so many digits, is no other value by chance."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Whose rows are to go.

    `texts` are all that the column may hold of the subject: the value as it is compared, and the pseudonyms
    that it ever had. `keys` are the keys of the rows, once they were found.
    """

    erasure: str
    dataset: str
    column: str
    texts: tuple[str, ...]
    key: str
    keys: tuple[dict[str, Any], ...] | None = None
    derived: dict[str, tuple[dict[str, Any], ...]] = {}
    """By dataset that was made from these rows, the keys of its rows that are of the subject."""
    owners: tuple[str, ...] = ()
    """Under whose keys values of the rows are encrypted, by `kernel.subject_keys`."""

    @property
    def digest(self) -> Digest:
        """The digest by which the ledger knows the subject."""
        data = canonical([self.dataset, self.column, self.texts])
        return Digest(hmac.new(bytes.fromhex(self.key), data, hashlib.sha256).hexdigest())

    def is_same(self, other: Subject) -> bool:
        """Return whether both are about the same rows."""
        return (self.dataset, self.column, self.texts) == (other.dataset, other.column, other.texts)

    def matches(self) -> pl.Expr:
        """Return whether a row's column holds a value of the subject."""
        return texts_of(self.column).is_in(list(self.texts)).fill_null(value=False)

    def needles(self) -> tuple[str, ...]:
        """Return the texts that are of nobody else wherever they stand."""
        return tuple(text for text in self.texts if _is_distinct(text))

    def row_keys(self, dataset: Dataset) -> pl.DataFrame:
        """Return the keys of the rows of its dataset, or of one that was made from it."""
        keys = self.keys if dataset.name == self.dataset else self.derived.get(dataset.name)
        types = dataset.types()
        return typed_frame(list(keys or ()), {name: types[name] for name in dataset.key})

    def with_owners(self, owners: tuple[str, ...]) -> Subject:
        """Return the same subject with those under whose keys values of its rows are encrypted."""
        return msgspec.structs.replace(self, owners=owners)

    def with_keys(self, dataset: Dataset, keys: pl.DataFrame) -> Subject:
        """Return the same subject with the keys of its rows of a dataset."""
        found = tuple(in_json(keys))
        if dataset.name == self.dataset:
            return msgspec.structs.replace(self, keys=found)
        return msgspec.structs.replace(self, derived={**self.derived, dataset.name: found})


def texts_of(column: str) -> pl.Expr:
    """Return a column as the texts by which subjects are compared, as `normalised` makes them."""
    texts = pl.col(column).cast(pl.String).str.strip_chars()
    return pl.when(texts.str.contains("@", literal=True)).then(texts.str.to_lowercase()).otherwise(texts)


def _is_distinct(text: str) -> bool:
    return len(text) >= (_DISTINCT_DIGITS if text.isdecimal() else _DISTINCT)


def subject_of(dataset: Dataset, column: str, value: str, keys: PurposeKeys, erasure: str) -> Subject:
    """Return the subject that a value names in a column of a dataset.

    Raises
    ------
    NotFound
        If there is no such column.
    FailedPrecondition
        If its values name nobody: they are generalised, or no texts or whole numbers.
    """
    dtype, treatment = dataset.types().get(column), dataset.pii.get(column)
    if dtype is None:
        hint = f"the columns are {', '.join(dataset.types())}"
        raise NotFound("column", f"{dataset.name}.{column}"[:120], "is not stored", hint=hint)
    is_lost = isinstance(treatment, Generalise | Encrypt)
    if is_lost or not (dtype.is_integer() or dtype == pl.String):
        hint = "name a column of texts or whole numbers that are stored as they are, or pseudonymised"
        raise FailedPrecondition("column", f"{dataset.name}.{column}", "identifies nobody", hint=hint)
    texts: tuple[str, ...] = (normalised(value),)
    if isinstance(treatment, Pseudonymise):
        texts = tuple(dict.fromkeys((*texts, *keys.pseudonyms(treatment.purpose, value))))
    key = new_secret(_KEY_BYTES).hex()
    return Subject(erasure=erasure, dataset=dataset.name, column=column, texts=texts, key=key)


class Subjects:
    """The subjects of erasures that are under way.

    Parameters
    ----------
    keys
        Of the home; the files lie beside its keys.
    """

    def __init__(self, keys: PurposeKeys) -> None:
        self._folder = keys.folder / FOLDER

    def all(self) -> list[Subject]:
        """Return those of which there is a file."""
        places = sorted(self._folder.glob("e*.json"))
        return [msgspec.json.decode(place.read_bytes(), type=Subject) for place in places]

    def of(self, erasure: str) -> Subject | None:
        """Return the subject of an erasure; None if its file was destroyed."""
        place = self._place(erasure)
        return msgspec.json.decode(place.read_bytes(), type=Subject) if place.exists() else None

    def keep(self, subject: Subject) -> None:
        """Write a subject down, in the place of what was known of it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._place(subject.erasure), canonical(subject))

    def destroy(self, erasure: str) -> None:
        """Remove the file of a subject, its key with it."""
        self._place(erasure).unlink(missing_ok=True)

    def _place(self, erasure: str) -> Path:
        return self._folder / f"{erasure}.json"
