"""By what rows are told to be of a subject: in the dataset that the subject is named in, and in those that
were made from it.

A training set, and what a step of a pipeline made, has its own key and takes columns over. So its rows are
known by the subject's value, in the column of that name or in any other if it is nobody else's by chance, and
by the keys of the rows that they were made of.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from varv.data import Dataset, DatasetsView
from varv.data.identity import keys_of
from varv.data.registered import registered_dataset
from varv.home.erasure.subject import Subject, texts_of
from varv.home.views import HomeView
from varv.kernel.views import Views


class MadeFrom(NamedTuple):
    """A dataset that was made from others; `whole` are those of which its rows still have the key."""

    dataset: str
    sources: frozenset[str]
    whole: frozenset[str]


class Keyed(NamedTuple):
    """Columns that are a key, and the keys of the subject, as text."""

    columns: tuple[str, ...]
    keys: pl.Series


class Marks(NamedTuple):
    """What tells rows of one dataset.

    `texts` are what `column` holds of the subject, `anywhere` those that count in every column of texts.
    """

    column: str
    texts: tuple[str, ...]
    anywhere: tuple[str, ...]
    keyed: tuple[Keyed, ...]

    def in_rows(self, rows: pl.DataFrame) -> pl.Series:
        """Return which rows are of the subject."""
        hits = [pl.lit(value=False)]
        for name, dtype in rows.schema.items():
            if name == self.column and (dtype.is_integer() or dtype == pl.String):
                hits.append(texts_of(name).is_in(list(self.texts)))
            elif self.anywhere and dtype == pl.String:
                hits.append(texts_of(name).is_in(list(self.anywhere)))
        theirs = rows.select(pl.any_horizontal(hits).fill_null(value=False)).to_series()
        theirs = theirs.new_from_index(0, rows.height) if len(theirs) != rows.height else theirs
        for columns, keys in self.keyed:
            if keys.len() and set(columns) <= set(rows.columns):
                theirs |= keys_of(columns, rows).is_in(keys.to_list()).fill_null(value=False)
        return theirs


def made_from(views: Views, dataset: str) -> list[MadeFrom]:
    """Return the datasets that were made from one, and those that were made from these, each after all that
    it was made from.
    """
    found, reached = list[MadeFrom](), {dataset}
    every = _every(views)
    while new := [one for one in every if one.dataset not in reached and one.sources & reached]:
        found += new
        reached |= {one.dataset for one in new}
    # A dataset may have been found before another of its sources was.
    return [one._replace(sources=one.sources & reached, whole=one.whole & reached) for one in found]


def marks_of(subject: Subject, dataset: Dataset, views: Views, made: MadeFrom | None) -> Marks:
    """Return what tells the rows of a subject in a dataset, by the keys that are known of it."""

    def keyed(of: Dataset) -> Keyed:
        return Keyed(of.key, keys_of(of.key, subject.row_keys(of)))

    keys = [keyed(dataset)]
    if made is not None:
        keys += [keyed(registered_dataset(views, name)) for name in sorted(made.whole)]
    anywhere = () if made is None else subject.needles()
    return Marks(subject.column, subject.texts, anywhere, tuple(keys))


def _every(views: Views) -> list[MadeFrom]:
    with views.reading(HomeView) as home:
        sets = {name: (list(reads), home.requests_of.get(name)) for name, reads in home.training_sets.items()}
    found = [
        MadeFrom(name, frozenset(read for read, _ in reads), frozenset(() if asked is None else (asked,)))
        for name, (reads, asked) in sets.items()
    ]
    with views.reading(DatasetsView) as data:
        sources = {
            name: frozenset(read for of in history.made_from.values() for read in of)
            for name, history in data.histories.items()
            if history.made_from
        }
        keys = {str(one.dataset): set(one.key) for one in data.datasets()}
    for name, read in sources.items():
        # Of several that were joined, a column of the key's name may be another thing.
        whole = read if len(read) == 1 and all(keys.get(one) == keys.get(name) for one in read) else ()
        found.append(MadeFrom(name, read, frozenset(whole)))
    return found
