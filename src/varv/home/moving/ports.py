"""What a source of tracked runs has to tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from varv.registry.imports import SourceRegistered
from varv.runs import Point
from varv.runs.imports import SourceExperiment, SourceModel, SourceRun, SourceTrace
from varv.runs.traces.model import Span

Owner = SourceRun | SourceModel
"""Whose artifacts are brought."""


class SourceFile(NamedTuple):
    """An artifact: its path below its owner, and its size in bytes."""

    path: str
    size: int


class Source(Protocol):
    """Where runs were tracked. What it says may grow while it is asked."""

    @property
    def name(self) -> str:
        """What it is called in the ledger: an address or a path, without a password."""
        ...

    def experiments(self) -> Iterable[SourceExperiment]:
        """Return all experiments, deleted ones too."""
        ...

    def runs(self, experiment: str) -> Iterator[Sequence[SourceRun]]:
        """Yield the runs of an experiment, deleted ones too, some hundred at a time."""
        ...

    def points(self, runs: Sequence[SourceRun]) -> Iterator[tuple[SourceRun, Sequence[Point]]]:
        """Yield runs with their whole histories, each of them once; no more than a few are held at a time."""
        ...

    def models(self, experiment: str) -> Iterator[Sequence[SourceModel]]:
        """Yield the logged models of an experiment, some hundred at a time."""
        ...

    def traces(self, experiment: str) -> Iterator[Sequence[SourceTrace]]:
        """Yield the traces of an experiment without their spans, some hundred at a time."""
        ...

    def spans(self, traces: Sequence[SourceTrace]) -> Iterator[tuple[SourceTrace, Sequence[Span]]]:
        """Yield traces with all their spans, each of them once; no more than a few are held at a time.

        A trace whose spans are where this source cannot reach has none.
        """
        ...

    def registered(self) -> Iterator[SourceRegistered]:
        """Yield the registered models; ``storage`` of their versions is that of the source."""
        ...

    def files(self, owner: Owner) -> Sequence[SourceFile]:
        """Return the artifacts of an owner; from several threads.

        Raises
        ------
        Unavailable
            If they are where this source cannot reach.
        """
        ...

    def chunks(self, owner: Owner, path: str) -> Iterator[bytes]:
        """Yield the bytes of an artifact; from several threads."""
        ...

    def close(self) -> None:
        """Give back what is open; closing twice is harmless."""
        ...
