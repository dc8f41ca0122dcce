"""One fit: what the author's function is given, as bytes that can go to another process, and what it gives.

`loop.fits` cuts the rows and asks a `Fitter` (`training.ports`); `DirectFits` there and `app.fitting` end up
here. Nothing here knows which rows are held out, or which version is being made.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Self

import msgspec
import numpy as np
import polars as pl

from varv.kernel.environment import environment
from varv.kernel.errors import Corrupt, UserCodeFailed
from varv.kernel.ids import Version
from varv.kernel.user_code import UserCode
from varv.pipelines.closure import code_closure
from varv.registry import Runtimes, open_package, signature_of
from varv.tasks import Task
from varv.training.packaging import build_package
from varv.training.previous import Previous
from varv.training.recipe import Train, name_of
from varv.training.training_set import TrainingSet, some_of
from varv.training.weights import weights_of

MOST_PROBED = 2000
"""Held-out rows on which an estimator and its package are compared."""
_LENGTH_BYTES = 8
_BESIDE_BYTES = 1 << 16
"""What is written beside columns and package: schemas, parameters."""


class _Header(msgspec.Struct, frozen=True):
    names: tuple[str, ...]
    params: dict[str, Any]
    seed: int
    rows_bytes: int
    probe_bytes: int
    previous_bytes: int | None
    parent: Version | None


@dataclass(frozen=True, kw_only=True)
class FitInput:
    """What one fit needs beside the function and the task.

    Parameters
    ----------
    rows
        The rows to fit on, oldest first: the columns `names`, ``outcome`` as the task keeps it,
        ``requested_at``, and the column of weights, if one is declared. Where the task has outcomes, those
        without one are passed over: whoever has them need not copy the others.
    probe
        Later rows with the columns `names`, to compare the package with the estimator on.
    names
        The features, in order.
    params, seed
        Passed to the function.
    previous
        The package to go on from, if there is one.
    parent
        The version that it is a fit of.
    """

    rows: pl.DataFrame
    probe: pl.DataFrame
    names: tuple[str, ...]
    params: Mapping[str, Any]
    seed: int
    previous: bytes | None = None
    parent: Version | None = None

    def taken(self, task: Task) -> pl.Series | None:
        """Return which rows are fitted on, truth values; None for all of them."""
        outcome = self.rows["outcome"]
        return outcome.is_not_null() if task.has_outcome and outcome.null_count() else None

    def n_taken(self, task: Task) -> int:
        """Return how many rows are fitted on."""
        return self.rows.height - (self.rows["outcome"].null_count() if task.has_outcome else 0)

    @property
    def most_bytes(self) -> int:
        """About how many bytes `write` writes, rather too many than too few."""
        columns = self.rows.estimated_size() + self.probe.estimated_size()
        return int(1.02 * columns) + len(self.previous or b"") + _BESIDE_BYTES

    def write(self, stream: BinaryIO) -> None:
        """Write it to a stream, from its present position on; nothing is held twice meanwhile."""
        start = stream.tell()
        self.rows.write_ipc_stream(stream)
        after_rows = stream.tell()
        self.probe.write_ipc_stream(stream)
        after_probe = stream.tell()
        stream.write(self.previous or b"")
        header = msgspec.msgpack.encode(
            _Header(
                names=self.names,
                params=dict(self.params),
                seed=self.seed,
                rows_bytes=after_rows - start,
                probe_bytes=after_probe - after_rows,
                previous_bytes=None if self.previous is None else len(self.previous),
                parent=self.parent,
            )
        )
        # At the end, since sizes are known only then.
        stream.write(header)
        stream.write(len(header).to_bytes(_LENGTH_BYTES, "big"))

    @classmethod
    def read(cls, stream: io.BytesIO) -> Self:
        """Return what `write` wrote last into a stream.

        Raises
        ------
        Corrupt
            If it is not what was written.
        """
        try:
            return cls._read(stream)
        except (msgspec.MsgspecError, pl.exceptions.PolarsError, OSError, ValueError, OverflowError) as error:
            raise Corrupt("input", "fit", "cannot be read", why=str(error)[:200]) from None

    @classmethod
    def _read(cls, stream: io.BytesIO) -> Self:
        end = stream.seek(-_LENGTH_BYTES, io.SEEK_END)
        n_header = int.from_bytes(stream.read(_LENGTH_BYTES), "big")
        stream.seek(end - n_header)
        header = msgspec.msgpack.decode(stream.read(n_header), type=_Header)
        n_previous = header.previous_bytes or 0
        start = end - n_header - n_previous - header.probe_bytes - header.rows_bytes
        # Polars reads a stream of batches from where the stream stands, and leaves it there.
        stream.seek(start)
        rows = pl.read_ipc_stream(stream)
        stream.seek(start + header.rows_bytes)
        probe = pl.read_ipc_stream(stream)
        stream.seek(start + header.rows_bytes + header.probe_bytes)
        return cls(
            rows=rows,
            probe=probe,
            names=header.names,
            params=header.params,
            seed=header.seed,
            previous=None if header.previous_bytes is None else stream.read(n_previous),
            parent=header.parent,
        )


def fit_package(train: Train, task: Task, given: FitInput, runtimes: Runtimes) -> bytes:
    """Call the author's function and return the package of the estimator that it returned.

    Raises
    ------
    UserCodeFailed
        If the function raised, or returned nothing.
    InvalidInput
        If what it returned cannot be packaged; see `build_package`.
    """
    rows, taken = given.rows, given.taken(task)
    signature = signature_of(rows, given.names, taken)
    known = some_of(rows.select("outcome", "requested_at"), taken)
    training_set = TrainingSet(
        rows,
        task.target(known["outcome"]),
        known["requested_at"].cast(pl.Int64).to_numpy(),
        signature,
        taken=taken,
        seed=given.seed,
        weights=None if train.weights is None else weights_of(train.weights, some_of(rows, taken), signature),
        previous=_previous(given, runtimes),
    )
    estimator = _fitted(train, training_set, given.params)
    return build_package(
        estimator,
        training_set,
        given.probe,
        task=task,
        runtimes=runtimes,
        environment=environment(code_closure(train.fit).libraries),
        params={**given.params, **_work_of(estimator)},
        keep_state=train.continues,
    )


def _previous(given: FitInput, runtimes: Runtimes) -> Previous | None:
    if given.previous is None or given.parent is None:
        return None
    return Previous(open_package(given.previous), given.parent, runtimes)


def _fitted(train: Train, training_set: TrainingSet, params: Mapping[str, Any]) -> Any:
    name = name_of(train.fit)
    with UserCode("function", name):
        # A copy, since a function that takes what it needs out of it would change the next one's.
        estimator = train.fit(training_set, dict(params))
    if estimator is None:
        raise UserCodeFailed("function", name, "returned None", hint="return the fitted estimator")
    return estimator


def _work_of(estimator: Any) -> Mapping[str, int]:
    rounds = getattr(estimator, "n_iter_", None)
    return {"max_iter": int(rounds)} if isinstance(rounds, int | np.integer) else {}
