"""What a step of a source says of each part of a dataset.

Plain functions of rows; `data.ingestion.pulling` asks the store what is new of them and commits it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

import polars as pl

from varv.data.dataset import Dataset
from varv.data.shape import in_shape
from varv.data.sources import Asked, Source, Step, fitted
from varv.kernel.errors import Unavailable, VarvError

_QUOTED = re.compile(r"\[[^\]]*\]|`[^`]*`|'[^']*'|\"[^\"]*\"")
_DTYPE = re.compile(r"(str|bool|date|time|null|[iuf]\d{1,3}|datetime\[[^\]]*\])")


def steps_of(source: Source, asked: Asked) -> Iterator[Step]:
    """Yield the steps of a source; whatever it raises says that it cannot be read."""
    steps = source.steps(asked)
    while True:
        try:
            step = next(steps)
        except StopIteration:
            return
        except VarvError:
            raise
        except Exception as error:
            why = without_values(error, asked.types)[:300]
            raise Unavailable("source", source.identity, "cannot be read to its end", why=why) from error
        yield step


def without_gone(dataset: Dataset, step: Step) -> tuple[Step, pl.DataFrame]:
    """Return a step without rows that it says were deleted later, and the keys of all that were; what is said
    of one after that stands.
    """
    if step.gone is None:
        return step, pl.DataFrame()
    told = step.rows.select(dataset.key).with_columns(step.gone.alias("@gone")).with_row_index("@row")
    last_gone = pl.col("@row").filter("@gone").max().over(dataset.key)
    stays = told.select((pl.col("@row") > last_gone).fill_null(value=True)).to_series()
    keys = step.rows.filter(step.gone).select(dataset.key).unique(maintain_order=True)
    broken = None if step.broken is None else step.broken.filter(stays)
    return step._replace(rows=step.rows.filter(stays), broken=broken, gone=None), keys


def without_values(error: Exception, names: Collection[str]) -> str:
    """Return what an error says in one line, without what it quotes from rows: it goes into the log and the
    ledger, which nobody can erase from.

    Parameters
    ----------
    names
        Of columns, which may be quoted.
    """
    said = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, OSError):
        return said

    def kept(quoted: re.Match[str]) -> str:
        inner = quoted[0][1:-1]
        return quoted[0] if inner in names or _DTYPE.fullmatch(inner) else f"{quoted[0][0]}…{quoted[0][-1]}"

    return _QUOTED.sub(kept, said)


class PartRows(NamedTuple):
    """The rows of one part as they came, the same as they are stored, and those that do not fit."""

    name: str
    rows: pl.DataFrame
    typed: pl.DataFrame
    unfit: pl.DataFrame


def sorted_out(dataset: Dataset, part: str, step: Step) -> PartRows:
    """Return what a step says of one part, its rows in kept types; what does not fit the types of the dataset
    is kept apart.
    """
    types = dataset.part_types(part)
    came = in_shape(step.rows, types).select(list(types))
    is_base = part == dataset.event_time
    if not is_base:
        # Nothing is known yet where the time of knowledge is null.
        known = came[part].is_not_null()
        came, broken = came.filter(known), None if step.broken is None else step.broken.filter(known)
    else:
        broken = step.broken
    read, wrong = fitted(came, types)
    unfit = pl.Series("unfit", [False]).new_from_index(0, came.height) if broken is None else broken
    for flags in wrong.values():
        unfit = unfit | flags
    rows, misfits = read, came.clear()
    if unfit.any():
        rows, misfits = read.filter(~unfit), as_texts(came.filter(unfit))
    if dataset.updates == "merge":
        # In the order of the source the last word counts.
        rows = rows.unique(dataset.key, keep="last", maintain_order=True)
    rows = rows.sort(part, *dataset.key, maintain_order=True)
    return PartRows(part, rows, rows.cast(pl.Schema(types), strict=False), misfits)


def as_texts(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with every value as a text, by which rows of any types can be compared."""
    return rows.select(pl.all().cast(pl.String))
