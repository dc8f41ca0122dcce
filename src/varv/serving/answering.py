"""Answering requests of one model: from typed columns to answers, from memory alone.

Live requests bring the columns of the requests' dataset that are known when they are made, are answered at
the clock's present, never the caller's, and are captured before the answer goes out. Requests of the past
come as rows, each with its own instant, and are answered in one go.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from varv.data.values import ExpectedColumn, column_of
from varv.features import FeatureEngine
from varv.features.engine import Shared
from varv.kernel.clock import Clock, Instant
from varv.kernel.columns import TIME
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound, StorageFull, Unavailable
from varv.kernel.ids import ModelName, Version
from varv.kernel.secret import Secret
from varv.registry import n_rows
from varv.serving.blocks import FeatureRows, RequestRows, layout_of
from varv.serving.capture import CaptureLog
from varv.serving.checks import checked
from varv.serving.dataplane import DataPlane, InForce
from varv.serving.explaining import MOST_ROWS as MOST_EXPLAINED
from varv.serving.explaining import Explanation, explained
from varv.serving.keeping import Keeping
from varv.serving.plain import Unplanned
from varv.serving.plan import RequestPlan, joined
from varv.serving.prediction_log import Recorder
from varv.serving.schema import RequestSchema, generated_keys
from varv.serving.scored import NOTHING, Flagged, Mask, Scored, part_of
from varv.serving.scores import GROUP, Scores, answer_schema
from varv.tasks import OutputTensor, Task

NAMED = "named"
"""The arm of an answer by a version that was asked for by its number."""
_SLICE = 256
"""Rows that are worked on in one go: whoever else wants the interpreter gets it in between."""


class Answers(NamedTuple):
    """Answers to the rows of one request."""

    keys: Sequence[str]
    versions: Sequence[int]
    arms: Sequence[str]
    """``"champion"`` or ``"candidate"``, or how a row was answered otherwise (`policy.Mark`); `NAMED` where a
    version was asked for."""
    scores: Scores
    """Shape (n, width); NaN where a version has none."""
    epoch: int
    """Of the routing table that was in force."""
    share: float
    """With which the candidate was to answer."""
    captured: bool
    """Whether all of them are on record; those that are not are known to nobody but the caller."""
    flagged: Flagged = NOTHING
    """Values of the request that broke a check, by column."""

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.keys)


class Ready(NamedTuple):
    """A request that a plan has read."""

    plan: RequestPlan
    rows: RequestRows
    flagged: Flagged = NOTHING
    """Values that broke a check, by column."""


class Answering:
    """Answers live requests and captures them.

    Parameters
    ----------
    schema
        What a request is.
    features, dataplane
        Kept up to date by others, while this only reads them.
    log
        Where every answer is captured.
    nullable
        Columns that were sometimes empty in the history, and so may be in a request.
    max_rows
        The most rows of one request.
    capture_required
        Whether a request that the disk has no room to capture is refused rather than answered without.
    secret
        The key of the digests that are kept in the place of texts, where that is declared.
    """

    def __init__(
        self,
        schema: RequestSchema,
        features: FeatureEngine,
        dataplane: DataPlane,
        log: CaptureLog,
        clock: Clock,
        *,
        nullable: frozenset[str] = frozenset(),
        max_rows: int = 10_000,
        capture_required: bool = False,
        secret: Secret | None = None,
    ) -> None:
        self._schema = schema
        self._features = features
        self._dataplane = dataplane
        self._log = log
        self._clock = clock
        self._nullable = nullable
        self.max_rows = max_rows
        self._capture_required = capture_required
        self._checks = schema.serving.checks
        self._layout = layout_of(schema)
        self._recorder = Recorder(schema.model, self._layout)
        self._keeping = Keeping(schema.serving.log, self._layout, schema.model, secret)
        # One pair, replaced as a whole: threads ask too, and none must get the plan of another table.
        self._plan: tuple[InForce | None, RequestPlan | None] = None, None
        self._counting = threading.Lock()
        self._n_uncaptured = 0

    @property
    def model(self) -> ModelName:
        """The model that is answered for."""
        return self._schema.model

    @property
    def task(self) -> Task:
        """What an answer is."""
        return self._schema.task

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that the routing table in force needs; none before the first champion."""
        table = self._dataplane.table
        return () if table is None else tuple(sorted(table.versions))

    @property
    def waits(self) -> bool:
        """Whether another process or machine answers for a version in force, so that a call may take long."""
        return self._dataplane.in_force.waits

    @property
    def has_fallback(self) -> bool:
        """Whether something is declared that answers where the champion cannot."""
        degrading = self._dataplane.in_force.degrading
        return degrading is not None and degrading.has_fallback

    @property
    def generated_key(self) -> str | None:
        """The column that is made of the request's id where a request brings none."""
        return self._schema.generated_key

    @cached_property
    def columns(self) -> dict[str, ExpectedColumn]:
        """Every column that a request may bring, by name."""
        return self._schema.columns(self._nullable)

    @cached_property
    def tensors(self) -> tuple[OutputTensor, ...]:
        """The tensors in which an inference protocol shows predictions."""
        return self.task.tensors()

    @cached_property
    def positional(self) -> tuple[str, ...]:
        """The columns of a matrix without names: those that a request needs, in their order; nothing if they
        are not all numbers.
        """
        needed = self._schema.needed
        return needed if all(self._schema.types[name].is_numeric() for name in needed) else ()

    def answer(self, columns: Mapping[str, Sequence[Any]], request_id: str) -> Answers:
        """Return one row a request; captured when this returns, unless the answer says otherwise.

        Parameters
        ----------
        columns
            Values by column, all of one length, as they came out of JSON.
        request_id
            Names the rows where the requests bring no key of their own.

        Raises
        ------
        InvalidInput
            If a column is missing, unknown, or has a value that does not fit; the column is named.
        Unavailable
            If no version is in force yet.
        StorageFull
            If the disk has no room to capture the answer, and capture is required.
        """
        ready = self.ready(columns, request_id)
        if ready is None:
            return self.answer_generally(columns, request_id)
        try:
            return self.answer_together([ready])[0]
        except Unplanned:
            return self.answer_generally(columns, request_id)

    def ready(self, columns: Mapping[str, Sequence[Any]], request_id: str) -> Ready | None:
        """Return a request that `answer_together` can answer, None if only `answer_generally` can.

        Raises
        ------
        InvalidInput
            If a value breaks a check that refuses the request.
        """
        plan = self._planned()
        if plan is None:
            return None
        flagged: Flagged = NOTHING
        if self._checks:
            columns, flagged = checked(self._checks, columns)
        try:
            return Ready(plan, plan.read(columns, request_id, self.max_rows), flagged)
        except Unplanned:
            return None

    def answer_together(self, several: Sequence[Ready]) -> list[Answers]:
        """Answer requests in one go, each for itself; it raises as `answer`, for all of them.

        Raises
        ------
        Unplanned
            If only `answer_generally` can answer them after all.
        """
        plan = several[0].plan
        if any(one.plan is not plan for one in several):
            return [answer for one in several for answer in self.answer_together([one])]
        now, rows = self._clock.now(), joined([one.rows for one in several])
        features, said = plan.answer(rows, now, stand_in=len(several) == 1)
        if self._checks:
            said.flagged = _flagged(several)
        kept = self._keeping.chosen(plan.units(rows)) if self._keeping.share < 1.0 else None
        captured = self._capture(now, rows, features, said, kept)
        told = answers_of(rows.keys, said, captured=captured and (kept is None or bool(kept.all())))
        if len(several) == 1:
            return [told]
        found = _apart(told, [len(one.rows.keys) for one in several])
        return found if kept is None or not captured else _captured(found, kept)

    def answer_by(self, version: int, columns: Mapping[str, Sequence[Any]], request_id: str) -> Answers:
        """Return what a version in memory says, whatever the routing table has it do. It is a question about
        the version and no request of the model's: it is not captured, and no statistic knows of it.

        Raises
        ------
        NotFound
            If the version is not in memory.
        InvalidInput
            As `answer` does.
        UserCodeFailed
            If it cannot score.
        """
        in_force = self._dataplane.in_force
        if in_force.table is None or version not in in_force.versions:
            raise NotFound("version", version, "is not in memory", hint="ask for one that is in force")
        columns, flagged = checked(self._checks, columns)
        requests = self._frame(columns, request_id, self._clock.now())
        features = self._looked_up(requests)
        scores = in_force.versions[version].scores(lambda signature: signature.feed(features))
        keys, n = self._schema.keys(requests).to_list(), requests.height
        return Answers(keys, [version] * n, [NAMED] * n, scores, in_force.table.epoch, 0.0, False, flagged)

    def explain(
        self, columns: Mapping[str, Sequence[Any]], request_id: str, version: int | None = None
    ) -> Explanation:
        """Return what a version says of rows, and what each of its features contributed. Like `answer_by`, it
        is a question about the version: nothing is captured or counted.

        Parameters
        ----------
        version
            One in memory; the champion by default.

        Raises
        ------
        InvalidInput
            If there are too many rows, or one does not fit.
        FailedPrecondition
            If the version has no probe rows to compare with.
        Unavailable, NotFound, UserCodeFailed
            As `answer_by` does.
        """
        in_force = self._dataplane.in_force
        table = in_force.table
        if table is None:
            raise Unavailable("model", self.model, "has no champion yet", hint="wait for the first training")
        number = table.champion if version is None else version
        warm = in_force.versions.get(number)
        if warm is None:
            raise NotFound("version", number, "is not in memory", hint="ask for one that is in force")
        if not n_rows(warm.background):
            hint = "register it again with rows to compare it on"
            raise FailedPrecondition("version", number, "has no probe rows to compare with", hint=hint)
        columns, _ = checked(self._checks, columns)
        requests = self._frame(columns, request_id, self._clock.now())
        if requests.height > MOST_EXPLAINED:
            hint = f"send {MOST_EXPLAINED} at most: each is asked of the model a thousand times and more"
            raise InvalidInput("request", "", f"has {requests.height} rows", hint=hint, reason="rows")
        rows = warm.signature.feed(self._looked_up(requests))
        names = tuple(column.name for column in warm.signature.columns)
        keys = self._schema.keys(requests).to_list()
        return Explanation(keys, Version(number), warm.asked(rows), names, explained(warm, rows))

    def answer_generally(self, columns: Mapping[str, Sequence[Any]], request_id: str) -> Answers:
        """Do what `answer` does by way of frames, whatever the request is."""
        now = self._clock.now()
        columns, flagged = checked(self._checks, columns)
        requests = self._frame(columns, request_id, now)
        features = self._looked_up(requests)
        keys = self._schema.keys(requests)
        units = self._schema.units(requests, keys)
        said = self._dataplane.in_force.score(units, lambda signature: signature.feed(features))
        said.flagged = flagged
        rows = self._layout.request_rows(requests, keys.to_list())
        kept = self._keeping.chosen(units) if self._keeping.share < 1.0 else None
        captured = self._capture(now, rows, self._layout.feature_rows(features), said, kept)
        return answers_of(rows.keys, said, captured=captured and (kept is None or bool(kept.all())))

    def _looked_up(self, requests: pl.DataFrame) -> pl.DataFrame:
        """Return the features of requests."""
        event_time = self._schema.requests.event_time
        parts = [self._features.lookup(part, at=event_time) for part in _sliced(requests)]
        return parts[0] if len(parts) == 1 else pl.concat(parts)

    def _planned(self) -> RequestPlan | None:
        """Return the plan of the versions in force, made when they change; None if they have none."""
        in_force = self._dataplane.in_force
        made_for, plan = self._plan
        if made_for is not in_force:
            plan = None
            with suppress(Unplanned):
                plan = RequestPlan(self._schema, self._layout, self._features, in_force, self._nullable)
            self._plan = in_force, plan
        return plan

    def take_uncaptured(self) -> int:
        """Return how many answers were given without capture since the last call."""
        with self._counting:
            taken, self._n_uncaptured = self._n_uncaptured, 0
        return taken

    def _frame(self, columns: Mapping[str, Sequence[Any]], request_id: str, now: Instant) -> pl.DataFrame:
        n = len(next(iter(columns.values()), ()))
        data, types = self._schema.requests, self._schema.types
        if not 1 <= n <= self.max_rows:
            hint = f"send 1 to {self.max_rows} rows"
            raise InvalidInput("request", "", f"has {n} rows", hint=hint, reason="rows", n_rows=n)
        for name in columns:
            if name not in self.columns:
                raise self._unexpected(name)
        series = []
        for name, expected in self.columns.items():
            if name in columns:
                series.append(column_of(name, columns[name], types[name], expected))
            elif name == self._schema.generated_key:
                series.append(pl.Series(name, generated_keys(request_id, n)))
            elif expected.required:
                hint = f"send {', '.join(c.name for c in self.columns.values() if c.required)}"
                raise InvalidInput("column", name, "is missing", hint=hint, reason="missing")
            else:
                series.append(pl.Series(name, [None] * n, dtype=types[name]))
        when = pl.Series(data.event_time, [now] * n, dtype=pl.Int64)
        return pl.DataFrame([*series, when.cast(TIME)])

    def _unexpected(self, name: str) -> InvalidInput:
        data = self._schema.requests
        if name == data.event_time:
            return InvalidInput(
                "column",
                name,
                "is not the caller's to say",
                hint="leave it out: it is the time of the request",
            )
        if name in data.types():
            hint = "leave it out, and send it later with outcome.record"
            return InvalidInput("column", name, "is only known after the request", hint=hint, reason="later")
        hint = f"the columns are {', '.join(self.columns)}"
        return InvalidInput("column", name[:80], "does not exist", hint=hint, reason="unknown")

    def _capture(
        self, at: Instant, requests: RequestRows, features: FeatureRows, said: Scored, kept: Mask | None
    ) -> bool:
        """Write the answers to the log, and return whether it took them.

        Parameters
        ----------
        kept
            Which are to be written; None for all.
        """
        if kept is not None:
            said.logged_share = self._keeping.share
            if not kept.all():
                places = np.flatnonzero(kept).tolist()
                if not places:
                    return True
                requests, features, said = requests.taken(places), features.taken(places), said.taken(places)
        requests = self._keeping.prepared(requests)
        try:
            lines = self._recorder.lines(at, requests, features, said)
            self._log.write_lines(self._recorder.head, lines)
        except StorageFull:
            if self._capture_required:
                raise
            with self._counting:
                self._n_uncaptured += len(said)
            return False
        return True


def answers_of(keys: Sequence[str], said: Scored, *, captured: bool) -> Answers:
    """Return what callers are told of rows with these keys."""
    table = said.table
    told = said.told_versions, said.told_arms, said.served
    return Answers(keys, *told, table.epoch, table.candidate_share, captured, said.flagged)


def _captured(answers: Sequence[Answers], kept: Mask) -> list[Answers]:
    """Return answers to requests of which only some rows are kept."""
    found: list[Answers] = []
    start = 0
    for one in answers:
        end = start + one.n_rows
        found.append(one._replace(captured=bool(kept[start:end].all())))
        start = end
    return found


def _flagged(several: Sequence[Ready]) -> Flagged:
    """Return the flagged values of requests, by their rows in the whole call."""
    found: dict[str, list[int]] = {}
    first = 0
    for one in several:
        for name, places in one.flagged.items():
            found.setdefault(name, []).extend(first + place for place in places)
        first += len(one.rows.keys)
    return found


def _apart(together: Answers, sizes: Sequence[int]) -> list[Answers]:
    """Return the answers to each of several requests."""
    found: list[Answers] = []
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        start += size
        found.append(
            together._replace(
                keys=together.keys[rows],
                versions=together.versions[rows],
                arms=together.arms[rows],
                scores=together.scores[rows],
                flagged=part_of(together.flagged, rows),
            )
        )
    return found


def predicted(
    schema: RequestSchema,
    engine: FeatureEngine,
    plane: DataPlane,
    requests: pl.DataFrame,
    *,
    planted: pl.DataFrame | None = None,
    shared: Shared | None = None,
) -> pl.DataFrame:
    """Return the predictions of requests of the past, as they are kept: ``key``, ``requested_at``, the answer
    and the features. Before the first champion the answers are null.

    Parameters
    ----------
    planted
        Further columns that the requests bring, one row each, which are not kept.
    shared
        What other models found for these requests; see `FeatureEngine.lookup`.
    """
    at = schema.requests.event_time
    features = engine.lookup(requests, at=at, shared=shared)
    given = features if planted is None else features.hstack(planted)
    keys = schema.keys(requests)
    if plane.table is None:
        # Nothing serves yet: the requests are kept with their features, to train the first model on.
        none = [
            pl.Series(name, [None], dtype=dtype)
            for name, dtype in answer_schema(schema.task).items()
            if name != GROUP
        ]
        answers = pl.DataFrame([column.new_from_index(0, requests.height) for column in none])
    else:
        answers = plane.infer(schema.units(requests, keys), given)
    rows = pl.DataFrame([keys, requests[at].alias("requested_at")])
    return rows.hstack(answers).hstack(schema.grouped(requests)).hstack(features)


def _sliced(frame: pl.DataFrame) -> list[pl.DataFrame]:
    if frame.height <= _SLICE:
        return [frame]
    return [frame.slice(first, _SLICE) for first in range(0, frame.height, _SLICE)]
