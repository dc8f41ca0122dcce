"""The data plane: warm versions behind one pointer, and the one path that answers requests.

Nothing here reads a store or a clock. A call pins the routing table that it entered with; a version that a
call uses stays in memory until that call is done. Requests come as a frame of features, already looked up at
each request's own time, one row or a day of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.kernel.errors import Conflict, FailedPrecondition, Unavailable, VarvError
from varv.kernel.user_code import UserCode
from varv.registry import LoadedModel, Package, Rows, Runtimes, Signature
from varv.registry.package import PROBE_TOLERANCE
from varv.serving.routing import RoutingTable, assign, coins
from varv.serving.scores import PLAIN, Role, Scores, answer_schema, score_series
from varv.tasks import Task


class _Warm(msgspec.Struct, frozen=True):
    signature: Signature
    model: LoadedModel


class _Snapshot(msgspec.Struct, frozen=True):
    """Everything that one call needs, replaced as a whole."""

    table: RoutingTable | None
    versions: dict[int, _Warm]


class DataPlane:
    """Answers inference requests of one model from memory.

    Parameters
    ----------
    task
        What an answer is.
    runtimes
        Bring packages into memory.
    timer
        Reads seconds, to measure how long each version takes; None for a replay, whose answers must not
        depend on the machine.
    """

    def __init__(self, task: Task, runtimes: Runtimes, timer: Callable[[], float] | None = None) -> None:
        self._task = task
        self._runtimes = runtimes
        self._timer = timer
        self._change = threading.Lock()
        self._now = _Snapshot(None, {})

    @property
    def table(self) -> RoutingTable | None:
        """The routing table in force, or None before the first."""
        return self._now.table

    @property
    def warm_versions(self) -> frozenset[int]:
        """Versions in memory that have answered their probe rows."""
        return frozenset(self._now.versions)

    def warm(self, version: int, package: Package) -> None:
        """Load `version` and let it answer its probe rows; loading one that is warm changes nothing.

        Raises
        ------
        FailedPrecondition
            If the runtime's scores of the probe rows are not those of the estimator that was trained.
        """
        if version in self._now.versions:
            return
        loaded = self._runtimes.load(package)
        apart = package.difference(loaded.predict(package.probe_rows()))
        if not apart <= PROBE_TOLERANCE:
            hint = "build the package again on this platform"
            raise FailedPrecondition(
                "version", version, "does not reproduce its probe scores", by=apart, hint=hint
            )
        with self._change:
            kept = {**self._now.versions, version: _Warm(package.signature, loaded)}
            self._now = _Snapshot(self._now.table, kept)

    def swap(self, table: RoutingTable) -> int:
        """Put `table` in force and return its epoch; the same table again changes nothing.

        Raises
        ------
        Conflict
            If a table of a higher epoch, or another one of this epoch, is in force.
        FailedPrecondition
            If a version of the table is not warm.
        """
        with self._change:
            held = self._now.table
            if held is not None and (
                table.epoch < held.epoch or (table.epoch == held.epoch and table != held)
            ):
                hint = "read the table in force and decide again"
                raise Conflict(
                    "routing table",
                    table.epoch,
                    "is older than the one in force",
                    in_force=held.epoch,
                    hint=hint,
                )
            cold = sorted(table.versions - self.warm_versions)
            if cold:
                raise FailedPrecondition(
                    "version", cold[0], "is not warm", hint="warm it before it gets traffic"
                )
            self._now = _Snapshot(table, self._now.versions)
        return table.epoch

    def unload(self, version: int) -> None:
        """Let go of `version`; calls that use it finish. One that is not there is no error.

        Raises
        ------
        FailedPrecondition
            If the table in force needs the version.
        """
        with self._change:
            if self._now.table is not None and version in self._now.table.versions:
                raise FailedPrecondition("version", version, "has traffic", hint="route away from it first")
            kept = {number: warm for number, warm in self._now.versions.items() if number != version}
            self._now = _Snapshot(self._now.table, kept)

    def infer(self, keys: Sequence[str], features: pl.DataFrame) -> pl.DataFrame:
        """Answer requests, one row each, with the columns of `answer_schema` but for the group, which is the
        request's to say.

        Parameters
        ----------
        keys
            What the coin is tossed for: the unit of randomisation of each request.
        features
            One row a request, with the columns that the versions' signatures name.

        Raises
        ------
        Unavailable
            If no routing table is in force yet.
        UserCodeFailed
            If the champion cannot score; a candidate that cannot is recorded as having no score.
        """
        now = self._now
        table = now.table
        if table is None:
            raise Unavailable(
                "model", "", "has no champion yet", hint="wait for the first training, see varv status"
            )
        n = len(keys)
        tossed = None if table.candidate is None else coins(table, keys)
        chosen = np.zeros(n, dtype=bool) if tossed is None else assign(table, tossed)
        score_both = table.candidate is not None and (bool(table.shadows) or bool(chosen.any()))
        said = self._score(now, table, features, both=score_both)
        # A candidate that fails costs nobody an answer: the champion's is given, and the failure stays on
        # record as a candidate's request without a candidate's score.
        answers = chosen & ~np.isnan(said.candidate).any(axis=1)
        served = np.where(answers[:, None], said.candidate, said.champion)
        arm = np.where(chosen, "candidate", "champion")
        versions = np.where(chosen, table.candidate or 0, table.champion)
        scored: dict[Role, Scores] = {
            "score": served,
            "champion_score": said.champion,
            "candidate_score": said.candidate,
            "former_score": said.former,
        }
        plain = {
            "version": versions,
            "arm": arm.tolist(),
            "share": [table.candidate_share] * n,
            "coin": [None] * n if tossed is None else tossed,
            "epoch": [table.epoch] * n,
            "champion": [table.champion] * n,
            "candidate": [table.candidate if score_both else None] * n,
            "former": [table.former] * n,
            "champion_ms": _on_the_first(said.champion_ms, n),
            "candidate_ms": _on_the_first(said.candidate_ms, n),
        }
        # Made of series: any operation on a whole frame starts the query engine, a tenth of a millisecond.
        series = [series for role, of in scored.items() for series in score_series(self._task, role, of)]
        series += [pl.Series(name, values, dtype=PLAIN[name]) for name, values in plain.items()]
        by_name = {one.name: one for one in series}
        return pl.DataFrame([by_name[name] for name in answer_schema(self._task) if name in by_name])

    def _score(self, now: _Snapshot, table: RoutingTable, features: pl.DataFrame, *, both: bool) -> _Said:
        """Let every version that the table asks for score the requests."""
        timer = self._timer or (lambda: 0.0)
        # What is timed must not profit from what came before it.
        given = _Given(features, self._task.width, shared=self._timer is None)
        begun = timer()
        champion = given.scores(now.versions[table.champion])
        halfway = timer()
        candidate = former = given.no_scores()
        if both and table.candidate is not None:
            candidate = given.candidate_scores(now.versions[table.candidate])
        ended = timer()
        if table.former is not None:
            former = given.candidate_scores(now.versions[table.former])
        if self._timer is None or not both:
            return _Said(champion, candidate, former)
        return _Said(champion, candidate, former, 1e3 * (halfway - begun), 1e3 * (ended - halfway))


class _Said(NamedTuple):
    """Scores of one call, and how long two of the versions took, in milliseconds."""

    champion: Scores
    candidate: Scores
    former: Scores
    champion_ms: float | None = None
    candidate_ms: float | None = None


def _on_the_first(value: float | None, n: int) -> list[float | None]:
    """Return a column in which only the first row has a value: rows of one call are one observation."""
    return [value, *[None] * (n - 1)] if n else []


class _Given:
    """The requests of one call, as versions are fed them: those that read alike share it, if they may."""

    def __init__(self, features: pl.DataFrame, width: int, *, shared: bool) -> None:
        self._features = features
        self._width = width
        self._shared = shared
        self._fed: list[tuple[Signature, Rows]] = []

    def no_scores(self) -> Scores:
        """Return the scores of a version that has none."""
        return np.full((self._features.height, self._width), np.nan, dtype=np.float32)

    def scores(self, warm: _Warm) -> Scores:
        """Return what a version says of the requests."""
        return warm.model.predict(self._rows(warm.signature))

    def candidate_scores(self, warm: _Warm) -> Scores:
        """Return a candidate's scores, NaN where it has none: a broken candidate is evidence, not an
        outage.
        """
        try:
            with UserCode("model", "candidate"):
                return self.scores(warm)
        except VarvError:
            return self.no_scores()

    def _rows(self, signature: Signature) -> Rows:
        known = next((rows for other, rows in self._fed if other == signature), None)
        if known is None:
            known = signature.feed(self._features)
            if self._shared:
                self._fed.append((signature, known))
        # A copy, since an author's estimator may change what it is given.
        return _copied(known) if self._shared else known


def _copied(rows: Rows) -> Rows:
    return rows.copy() if isinstance(rows, np.ndarray) else {name: of.copy() for name, of in rows.items()}
