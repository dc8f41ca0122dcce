"""Writes a version of a dataset as whole Delta tables elsewhere: in a folder, or in an object store.

The rows are written anew, a file of segments at a time, so what is held does not grow with the version. A
table that an earlier version was written to gets the later one as its next version; readers of the one
before go on. Nothing is put on record: like any other reading, it changes nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from varv.data.dataset import Dataset
from varv.data.delta.log import DIGEST, VERSION
from varv.data.delta.tables import app_of, created, require_library
from varv.data.delta.types import delta_types, in_wider_types, require_names, widened
from varv.data.service import Datasets
from varv.kernel.codec import digest_of
from varv.kernel.errors import Conflict, FailedPrecondition, Unavailable, VarvError

if TYPE_CHECKING:
    from deltalake import DeltaTable

_REACHES = "an export reaches an object store as its own tools do, by AWS_... and the like in the environment"


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """A part that was written elsewhere: where, which version of the table it is, and how many rows; `is_new`
    if it was not there before.
    """

    part: str
    place: str
    delta_version: int
    n_rows: int
    is_new: bool


def export(datasets: Datasets, dataset: Dataset, version: int, to: str) -> list[Exported]:
    """Write a version of a dataset as a table for each part, ``to/<part>``.

    Parameters
    ----------
    to
        A folder, or an address such as ``s3://bucket/flights``.

    Raises
    ------
    FailedPrecondition
        If Delta's library is not installed, a column could not be called so there, or a place holds a table
        of somebody else or a later version.
    Conflict
        If somebody else commits at the same time.
    InvalidInput
        If a number does not fit.
    Unavailable
        If the place cannot be reached.
    """
    require_library()
    for part in dataset.parts:
        require_names(dataset.name, dataset.part_types(part))
    return [_Export(datasets, dataset, part, version, to).written() for part in dataset.parts]


class _Export:
    """One part of a version that is written elsewhere."""

    def __init__(self, datasets: Datasets, dataset: Dataset, part: str, version: int, to: str) -> None:
        self._datasets, self._dataset, self._part, self._version = datasets, dataset, part, version
        is_address = "://" in to
        self._place: str | Path = f"{to.rstrip('/')}/{part}" if is_address else Path(to).absolute() / part
        self._app = app_of(dataset.name, part)
        there = datasets.columns_at(dataset, version)
        stored = dataset.part_types(part)
        self._types = widened({name: dtype for name, dtype in stored.items() if name in there})
        self._n_rows = 0
        self._failed: VarvError | None = None
        """Of a batch; the library that asked for it raises an error of its own."""

    def written(self) -> Exported:
        from deltalake.exceptions import CommitFailedError, DeltaError

        try:
            table, before = self._opened()
            is_new = before != self._version
            if is_new:
                self._write(table)
        except CommitFailedError as error:
            hint = "somebody else writes there; try again"
            raise Conflict(
                "place", self._place, "was committed to meanwhile", why=_first(error), hint=hint
            ) from None
        except DeltaError:
            if self._failed is not None:
                raise self._failed from None
            raise
        except OSError as error:
            why = _first(error)
            raise Unavailable("place", self._place, "cannot be written to", why=why, hint=_REACHES) from None
        return Exported(
            part=self._part,
            place=str(self._place),
            delta_version=table.version(),
            n_rows=self._n_rows,
            is_new=is_new,
        )

    def _opened(self) -> tuple[DeltaTable, int | None]:
        """Return the table, made if it is not there, and the version that it holds."""
        import deltalake

        place = str(self._place)
        if not deltalake.DeltaTable.is_deltatable(place):
            columns = delta_types(self._dataset.name, self._types)
            return created(self._place, f"{self._dataset.name}/{self._part}", columns), None
        table = deltalake.DeltaTable(place)
        before = table.transaction_version(self._app)
        if before is None and table.version() > 0:
            problem = f"holds a table that is none of {self._app.removeprefix('varv:')}"
            raise FailedPrecondition("place", place, problem, hint="choose another place")
        if before is not None and before > self._version:
            problem = f"holds the later version {before} of {self._dataset.name}"
            hint = "read that one as of its version, or choose another place"
            raise FailedPrecondition("place", place, problem, hint=hint)
        return table, before

    def _write(self, table: DeltaTable) -> None:
        import deltalake
        from arro3.core import RecordBatchReader

        schema = RecordBatchReader.from_arrow(pl.DataFrame(schema=self._types)).schema
        files = self._datasets.extents(self._dataset, self._part, upto=self._version)
        info = {VERSION: self._version, DIGEST: digest_of([one.digest for one in files])}
        deltalake.write_deltalake(
            table,
            RecordBatchReader.from_batches(schema, self._batches()),
            mode="overwrite",
            schema_mode="overwrite",
            commit_properties=deltalake.CommitProperties(
                custom_metadata=info,
                max_commit_retries=1,
                app_transactions=[deltalake.Transaction(self._app, self._version)],
            ),
        )

    def _batches(self) -> Iterator[Any]:
        from arro3.core import RecordBatchReader

        try:
            for extent in self._datasets.extents(self._dataset, self._part, upto=self._version):
                n_rows = self._datasets.n_rows_upto(self._dataset, self._part, extent, self._version)
                rows = self._datasets.rows_in(self._dataset, self._part, extent).head(n_rows)
                self._n_rows += n_rows
                named = rows.select(list(self._types)).rechunk()
                yield from RecordBatchReader.from_arrow(in_wider_types(self._dataset.name, named))
        except VarvError as error:
            self._failed = error
            raise


def _first(error: Exception) -> str:
    return str(error).split("\n")[0][:300]
