"""Answering requests of one model: from typed columns to answers, from memory alone.

Requests bring the columns of the requests' dataset that are known when they are made, are answered at the
clock's present, never the caller's, and are captured before the answer goes out.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from varv.data.values import ExpectedColumn
from varv.features import FeatureEngine
from varv.kernel.clock import Clock, Instant
from varv.kernel.errors import StorageFull
from varv.kernel.ids import ModelName
from varv.kernel.secret import Secret
from varv.serving.answers import UNTRANSFORMED, Answers, Shown, answers_of, apart, kept_each
from varv.serving.blocks import FeatureRows, RequestRows, layout_of
from varv.serving.capture import CaptureLog
from varv.serving.checks import Checked
from varv.serving.dataplane import DataPlane, InForce
from varv.serving.incoming import Incoming
from varv.serving.keeping import Keeping
from varv.serving.plain import Unplanned
from varv.serving.plan import RequestPlan, joined
from varv.serving.policy import Observer
from varv.serving.prediction_log import Recorder
from varv.serving.questions import Questions
from varv.serving.request_frames import RequestFrames
from varv.serving.schema import RequestSchema, generated_keys
from varv.serving.scored import NOTHING, Flagged, Mask, Scored
from varv.serving.transforming import Transformer
from varv.serving.transforms import Field, Transforms
from varv.tasks import OutputTensor, Task


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
    transforms
        Loads declared transformations that another process or machine does.

    Raises
    ------
    FailedPrecondition
        If there is one, and nothing that loads it.
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
        transforms: Transforms | None = None,
    ) -> None:
        self._schema = schema
        self._features = features
        self._dataplane = dataplane
        self._log = log
        self._clock = clock
        self._nullable = nullable
        self._frames = RequestFrames(schema, features, nullable, max_rows)
        policy = schema.serving
        transforms_any = policy.before is not None or policy.after is not None
        self._transformer = Transformer(schema, transforms) if transforms_any else None
        keys = None if secret is None else secret.purposes
        minimiser = schema.requests.minimiser(keys) if schema.requests.pii else None
        self._incoming = Incoming(policy.checks, self._transformer, minimiser)
        key = schema.generated_key
        self._treated_key = key if key in schema.requests.pii else None
        self.questions = Questions(schema, self._frames, dataplane, clock, self._incoming, self._transformer)
        self._capture_required = capture_required
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
        """Whether another process or machine answers for a version in force, or transforms requests or
        answers, so that a call may take long.
        """
        transformer = self._transformer
        return (transformer is not None and transformer.waits) or self._dataplane.in_force.waits

    @property
    def has_fallback(self) -> bool:
        """Whether something is declared that answers where the champion, or a transformation, cannot."""
        if self._transformer is not None and self._transformer.has_fallback:
            return True
        degrading = self._dataplane.in_force.degrading
        return degrading is not None and degrading.has_fallback

    @property
    def generated_key(self) -> str | None:
        """The column that is made of the request's id where a request brings none."""
        return self._schema.generated_key

    @property
    def max_rows(self) -> int:
        """The most rows of one request."""
        return self._frames.max_rows

    @property
    def columns(self) -> dict[str, ExpectedColumn]:
        """Every column that a request may bring, by name."""
        if self._transformer is None:
            return self._frames.columns
        return self._transformer.columns(self._frames.columns)

    @cached_property
    def tensors(self) -> tuple[OutputTensor, ...]:
        """The tensors in which an inference protocol shows predictions, but for those that a transformation
        shows in their place.
        """
        replaced = {field.name for field in self.fields}
        return tuple(one for one in self.task.tensors() if one.name not in replaced)

    @property
    def fields(self) -> tuple[Field, ...]:
        """What a transformation shows of answers."""
        return () if self._transformer is None else self._transformer.fields

    @cached_property
    def hidden(self) -> frozenset[str]:
        """Columns that are sent to nobody: personal ones, those of which nothing or a digest is kept, and
        with one of them all that a transformation reads, since it may hold the same.
        """
        policy = self._schema.serving
        found = {*policy.log.redact, *policy.log.pseudonymise, *self._schema.requests.pii}
        if found and policy.before is not None:
            found |= {field.name for field in policy.before.reads}
        return frozenset(found)

    @property
    def instances(self) -> int:
        """How many calls may run at a time."""
        return self._schema.serving.instances if self.waits else 1

    @property
    def cost(self) -> int:
        """How many rows of a client's rate a row takes."""
        return self._schema.serving.cost

    @property
    def observer(self) -> Observer | None:
        """Who is sent what was asked and answered."""
        return self._schema.serving.observer

    @cached_property
    def positional(self) -> tuple[str, ...]:
        """The columns of a matrix without names: those that a request needs, in their order; nothing if they
        are not all numbers.
        """
        needed = self._schema.needed
        if self._transformer is not None and self._transformer.reads_requests:
            return ()
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
        if plan is None or self._incoming.waits:
            return None
        flagged: Flagged = NOTHING
        if self._incoming.acts:
            columns, flagged = self._understood(columns, request_id)
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
        if self._incoming.acts:
            said.flagged = _flagged(several)
        shown = UNTRANSFORMED
        if self._transformer is not None:
            shown = self._shown(self._transformer, said, of_several=len(several) > 1)
        kept = self._keeping.chosen(plan.units(rows)) if self._keeping.share < 1.0 else None
        captured = self._capture(now, rows, features, said, kept)
        are_kept = captured and (kept is None or bool(kept.all()))
        told = answers_of(rows.keys, said, captured=are_kept, shown=shown)
        if len(several) == 1:
            return [told]
        found = apart(told, [len(one.rows.keys) for one in several])
        return found if kept is None or not captured else kept_each(found, kept)

    def answer_generally(self, columns: Mapping[str, Sequence[Any]], request_id: str) -> Answers:
        """Do what `answer` does by way of frames, whatever the request is."""
        now = self._clock.now()
        columns, flagged = self._understood(columns, request_id)
        requests = self._frames.frame(columns, request_id, now)
        features = self._frames.looked_up(requests)
        keys = self._schema.keys(requests)
        units = self._schema.units(requests, keys)
        said = self._dataplane.in_force.score(units, lambda signature: signature.feed(features))
        said.flagged = flagged
        shown = UNTRANSFORMED
        if self._transformer is not None:
            shown = self._shown(self._transformer, said)
        rows = self._layout.request_rows(requests, keys.to_list())
        kept = self._keeping.chosen(units) if self._keeping.share < 1.0 else None
        captured = self._capture(now, rows, self._layout.feature_rows(features), said, kept)
        are_kept = captured and (kept is None or bool(kept.all()))
        return answers_of(rows.keys, said, captured=are_kept, shown=shown)

    def _understood(self, columns: Mapping[str, Sequence[Any]], request_id: str) -> Checked:
        """Do what `Incoming.understood` does, for requests that may bring no key of their own: one that is
        made of the request's id is treated like one that was brought, or no outcome would find it.
        """
        if self._treated_key is not None and self._treated_key not in columns:
            n = len(next(iter(columns.values()), ()))
            columns = {**columns, self._treated_key: generated_keys(request_id, n)}
        return self._incoming.understood(columns)

    def _shown(self, transformer: Transformer, said: Scored, *, of_several: bool = False) -> Shown:
        """Return what answers show of what was said, and flag those that go on otherwise than declared.

        Parameters
        ----------
        of_several
            Whether these are several callers', of whom one may have brought a failure about: then it is
            raised, whatever is declared.
        """
        if not transformer.shows:
            return UNTRANSFORMED
        told = said.served, said.told_versions, said.told_arms
        shown, flagged = transformer.told(*told, is_strict=of_several)
        if flagged:
            said.flagged = {**said.flagged, **flagged}
        return shown

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


def _flagged(several: Sequence[Ready]) -> Flagged:
    """Return the flagged values of requests, by their rows in the whole call."""
    found: dict[str, list[int]] = {}
    first = 0
    for one in several:
        for name, places in one.flagged.items():
            found.setdefault(name, []).extend(first + place for place in places)
        first += len(one.rows.keys)
    return found
