"""The data plane: warm versions behind one pointer, and the one path that answers requests.

Nothing here reads a store or a clock. A call pins the routing table that it entered with; a version that a
call uses stays in memory until that call is done. Requests come as a frame of features, already looked up at
each request's own time, one row or a day of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import msgspec
import numpy as np
import polars as pl

from varv.kernel.clock import SECOND
from varv.kernel.errors import (
    Conflict,
    Corrupt,
    DeadlineExceeded,
    FailedPrecondition,
    Unavailable,
    UserCodeFailed,
    VarvError,
)
from varv.kernel.ids import Version
from varv.kernel.user_code import UserCode
from varv.registry import LoadedModel, Package, Rows, Runtimes, Signature
from varv.registry.endpoint import FILE as ENDPOINT
from varv.registry.package import PROBE_TOLERANCE
from varv.registry.ports import WaitingModel
from varv.serving.degrading import Degrading, Others
from varv.serving.policy import ServingPolicy
from varv.serving.recorded import rehearse
from varv.serving.remembered import Remembered
from varv.serving.residence import Held, Residence
from varv.serving.routing import RoutingTable, assign, coins
from varv.serving.scored import Scored, answers_frame
from varv.serving.scores import Scores
from varv.tasks import Task


class Warm(msgspec.Struct, frozen=True):
    """A version in memory."""

    signature: Signature
    model: LoadedModel
    background: Rows
    """Its probe rows, as it is fed them: what explanations compare with."""
    remembered: Remembered | None = None
    """What it said lately, if that is to be remembered."""

    def scores(self, feed: Callable[[Signature], Rows]) -> Scores:
        """Return what the version says of requests."""
        rows = feed(self.signature)
        with UserCode("model", "in force"):
            return self.model.predict(rows) if self.remembered is None else self._asked(self.remembered, rows)

    def _asked(self, remembered: Remembered, rows: Rows) -> Scores:
        return remembered.scores(rows, self.model.predict)

    def asked(self, rows: Rows) -> Scores:
        """Return what the version says of rows as it is fed them, remembered or not."""
        with UserCode("model", "asked"):
            return self.model.predict(rows)

    def tried(self, feed: Callable[[Signature], Rows]) -> Scores | None:
        """Return what a version says that nobody waits for, None if it fails: a broken candidate is evidence,
        not an outage.
        """
        try:
            with UserCode("model", "candidate"):
                return self.scores(feed)
        except VarvError:
            return None


class InForce(msgspec.Struct, frozen=True, dict=True):
    """Everything that one call needs, replaced as a whole."""

    table: RoutingTable | None
    versions: dict[int, Warm]
    timer: Callable[[], float] | None = None
    degrading: Degrading | None = None
    """What answers where the champion cannot, or is not sure enough; None where nothing is declared."""
    before: int | None = None
    """The champion before, where it is kept to answer in the place of the present one."""

    @property
    def needed(self) -> list[Warm]:
        """The versions that the table asks; none before the first."""
        return [] if self.table is None else [self.versions[number] for number in sorted(self.table.versions)]

    @property
    def in_reserve(self) -> Warm | None:
        """The champion before, where it may have to answer."""
        return None if self.before is None else self.versions[self.before]

    @property
    def waits(self) -> bool:
        """Whether a call may take long for one of the versions: another process or machine answers for it, or
        it has to be loaded.
        """
        # Most requests ask this, and few models are of that kind.
        return bool(self._may_wait) and any(model.waits for model in self._may_wait)

    @cached_property
    def _may_wait(self) -> list[WaitingModel]:
        models = [warm.model for warm in self.versions.values()]
        return [model for model in models if isinstance(model, WaitingModel)]

    def score(
        self, keys: Sequence[str], feed: Callable[[Signature], Rows], *, stand_in: bool = True
    ) -> Scored:
        """Let every version that the table in force asks for score requests.

        Parameters
        ----------
        keys
            What the coin is tossed for: the unit of randomisation of each request.
        feed
            Gives the requests in the form in which a version reads them.
        stand_in
            Whether what is declared answers where the champion fails. Not for several callers together: one
            of them may have brought it about.

        Raises
        ------
        Unavailable
            If no routing table is in force yet.
        UserCodeFailed, Unavailable
            If the champion cannot score and nothing declared can stand in for it; a candidate that cannot is
            recorded as having no score.
        """
        table = self.table
        if table is None:
            raise Unavailable(
                "model", "", "has no champion yet", hint="wait for the first training, see varv status"
            )
        tossed = None if table.candidate is None else coins(table, keys)
        both = tossed is not None and (bool(table.shadows) or bool(assign(table, tossed).any()))
        timer = self.timer or (lambda: 0.0)
        begun = timer()
        champion, failed = self._champion(table, feed, len(keys), stand_in=stand_in)
        said = Scored(table, champion, tossed)
        if both and table.candidate is not None:
            halfway = timer()
            said.candidate = self.versions[table.candidate].tried(feed)
            if said.candidate is None:
                said.candidate = np.full_like(said.champion, np.nan)
            if self.timer is not None:
                said.champion_ms, said.candidate_ms = 1e3 * (halfway - begun), 1e3 * (timer() - halfway)
        if table.former is not None:
            said.former = self.versions[table.former].tried(feed)
        if self.degrading is not None:
            if failed is not None:
                self.degrading.stand_in(self._others(table), said, feed, failed)
            self.degrading.hold_back(said)
        return said

    def _others(self, table: RoutingTable) -> Others:
        former = self.before if table.former is None else table.former
        if former is None:
            return Others(self.versions[table.champion], None, None)
        return Others(self.versions[table.champion], self.versions[former], Version(former))

    def _champion(
        self, table: RoutingTable, feed: Callable[[Signature], Rows], n: int, *, stand_in: bool
    ) -> tuple[Scores, VarvError | None]:
        """Return what the champion says, or nothing and why, where others may answer in its place."""
        try:
            return self.versions[table.champion].scores(feed), None
        except (Corrupt, DeadlineExceeded, Unavailable, UserCodeFailed) as error:
            if not stand_in or self.degrading is None or not self.degrading.has_fallback:
                raise
            return np.full((n, self.degrading.width), np.nan, np.float32), error


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
    residence
        Which models are in memory; all of them by default.
    """

    def __init__(
        self,
        task: Task,
        runtimes: Runtimes,
        timer: Callable[[], float] | None = None,
        residence: Residence | None = None,
    ) -> None:
        self._task = task
        self._runtimes = runtimes
        self._timer = timer
        self._residence = residence or Residence(None)
        self._policy = ServingPolicy()
        self._change = threading.Lock()
        self._now = InForce(None, {}, timer)

    @property
    def table(self) -> RoutingTable | None:
        """The routing table in force, or None before the first."""
        return self._now.table

    @property
    def in_force(self) -> InForce:
        """What answers now."""
        return self._now

    @property
    def warm_versions(self) -> frozenset[int]:
        """Versions in memory that have answered their probe rows."""
        return frozenset(self._now.versions)

    def warm(
        self,
        version: int,
        package: Package,
        reload: Callable[[], Package] | None = None,
        recorded: Callable[[], Iterable[pl.DataFrame]] | None = None,
    ) -> None:
        """Load `version` and let it answer its probe rows, then recorded calls; loading one that is warm
        changes nothing.

        Parameters
        ----------
        reload
            Reads the package again, should the model have to go for a while; by default it is kept.
        recorded
            Returns calls of the model that came lately; by default there are none.

        Raises
        ------
        FailedPrecondition
            If the runtime's scores of the probe rows are not those of the estimator that was trained.
        """
        if version in self._now.versions:
            return
        loaded = self._residence.taken_in(
            f"v{version}",
            lambda: self._load(package),
            lambda: self._load(package if reload is None else reload()),
            sum(map(len, package.files.values())),
        )
        apart = package.difference(loaded.predict(package.probe_rows()))
        if not apart <= PROBE_TOLERANCE:
            _leave(loaded)
            hint = "build the package again on this platform"
            raise FailedPrecondition(
                "version", version, "does not reproduce its probe scores", by=apart, hint=hint
            )
        # A server elsewhere is warm, and would take these requests for traffic.
        if recorded is not None and ENDPOINT not in package.files:
            rehearse(loaded, package.signature, recorded())
        with self._change:
            kept = {
                **self._now.versions,
                version: Warm(package.signature, loaded, package.probe_rows(), self._remembered()),
            }
            self._now = msgspec.structs.replace(self._now, versions=kept)

    def _load(self, package: Package) -> LoadedModel:
        n = self._policy.instances
        return self._runtimes.load(package) if n == 1 else self._runtimes.load(package, instances=n)

    def _remembered(self) -> Remembered | None:
        # A replay's answers must not depend on how fast it goes.
        if self._timer is None or self._policy.remembers is None:
            return None
        return Remembered((self._policy.cache or 0) / SECOND)

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
            self._now = msgspec.structs.replace(self._now, table=table)
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
            before = None if self._now.before == version else self._now.before
            kept = {number: warm for number, warm in self._now.versions.items() if number != version}
            gone = self._now.versions.get(version)
            self._now = msgspec.structs.replace(self._now, versions=kept, before=before)
        if gone is not None:
            _leave(gone.model)

    def reserve(self, version: int | None) -> None:
        """Let a warm version answer where the champion cannot, and the one before no more; None for none.

        Raises
        ------
        FailedPrecondition
            If the version is not warm.
        """
        with self._change:
            if version is not None and version not in self._now.versions:
                raise FailedPrecondition("version", version, "is not warm", hint="warm it first")
            self._now = msgspec.structs.replace(self._now, before=version)

    def serve_by(self, policy: ServingPolicy) -> None:
        """Serve as is declared from now on; versions that are warm stay so."""
        with self._change:
            self._policy = policy
            versions = {
                number: msgspec.structs.replace(warm, remembered=self._remembered())
                for number, warm in self._now.versions.items()
            }
            acts = policy.fallback or policy.abstain_below is not None
            degrading = Degrading(policy, self._task) if acts else None
            self._now = msgspec.structs.replace(self._now, versions=versions, degrading=degrading)

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
        Unavailable, UserCodeFailed
            As `score` does.
        """
        # What is timed must not profit from what came before it.
        given = _Given(features, shared=self._timer is None)
        return answers_frame(self._task, self._now.score(keys, given.rows))


def _leave(model: LoadedModel) -> None:
    if isinstance(model, Held):
        model.leave()


class _Given:
    """The requests of one call, as versions are fed them: those that read alike share it, if they may."""

    def __init__(self, features: pl.DataFrame, *, shared: bool) -> None:
        self._features = features
        self._shared = shared
        self._fed: list[tuple[Signature, Rows]] = []

    def rows(self, signature: Signature) -> Rows:
        """Return the requests in the form of a signature."""
        known = next((rows for other, rows in self._fed if other == signature), None)
        if known is None:
            known = signature.feed(self._features)
            if self._shared:
                self._fed.append((signature, known))
        # A copy, since an author's estimator may change what it is given.
        return _copied(known) if self._shared else known


def _copied(rows: Rows) -> Rows:
    return rows.copy() if isinstance(rows, np.ndarray) else {name: of.copy() for name, of in rows.items()}
