"""When leaks are looked for, and what is put on record: `loop.leaking.findings` says how they show.

At the first training, and again for features that are new, the rows of the training are examined. When the
first champion has answered for a week and its outcomes are mature, that week is held against the held-out
rows. When a source has been read again, its rows are held against those that were stored.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import polars as pl

from varv.data import Dataset, Datasets
from varv.kernel.clock import DAY, WEEK, Instant
from varv.kernel.codec import Event
from varv.kernel.columns import TIME
from varv.kernel.errors import VarvError
from varv.kernel.ids import ModelName
from varv.kernel.observe import log
from varv.kernel.user_code import UserCode
from varv.kernel.views import Views
from varv.loop.candidates import Candidates
from varv.loop.commands import TrainCandidate
from varv.loop.leaking.findings import changed_rows, examine, worse_live
from varv.loop.leaking.model import LeakFinding, LeakNoticed, LeaksExamined
from varv.loop.plan import LoopParts
from varv.loop.views import LoopView
from varv.registry import RegistryView, VersionRecord

_LOG = logging.getLogger(__name__)


class LeakReport:
    """Looks for leaks and says what is not on record yet.

    Parameters
    ----------
    candidates
        Give the rows of a training, and what was held out of it.
    datasets, views
        Of the home.
    """

    def __init__(self, candidates: Candidates, datasets: Datasets, views: Views) -> None:
        self._candidates = candidates
        self._datasets = datasets
        self._views = views

    def examined(self, parts: LoopParts, command: TrainCandidate) -> tuple[Event, ...]:
        """Return the report on the features of a training, if they have not been examined before."""
        plan = parts.loop
        names = plan.features.names
        with self._views.reading(LoopView) as loops:
            record = loops.loops.get(plan.model)
            known = record.examined if record else frozenset[str]()
        if command.planted is not None or command.offer is not None or known >= set(names):
            return ()
        rows = self._candidates.rows(parts, command)
        last = rows.held[0]
        fit, later = rows.between(last.fit_from, last.since), rows.between(last.since, last.until)
        findings = examine(fit, later, names, plan.outcome.task)
        return (LeaksExamined(version=command.version, features=names, findings=findings),)

    def noticed(self, parts: LoopParts, day: Instant) -> tuple[Event, ...]:
        """Return a notice if `day` ends the first mature week of the first champion, and the week was worse
        than the held-out rows.
        """
        first = self._first_champion(parts.loop.model)
        if first is None or day != _first_day(first) + WEEK - DAY:
            return ()
        made = first.registered
        since, until = _first_day(first), Instant(day + DAY)
        known_by = Instant(until + parts.loop.outcome.mature)
        rows = parts.predictions.matured(since, until, known_by=known_by)
        ours = rows.filter((pl.col("champion") == made.version).fill_null(value=False))
        judged = self._candidates.held_out(parts, made, None)
        finding = worse_live(judged, ours, made.version)
        return () if finding is None else (LeakNoticed(finding=finding),)

    def reread(self, model: ModelName, datasets: Sequence[Dataset]) -> tuple[Event, ...]:
        """Return a notice for each column whose stored rows read otherwise in the source now; rows from
        a day before the source's first to a day after its last are compared.

        A source that cannot be read now is left out; the loop does not need it any more.
        """
        found: list[LeakFinding] = []
        for dataset in datasets:
            try:
                with UserCode("dataset", dataset.name):
                    now = dataset.part(dataset.load(), dataset.event_time)
            except VarvError as error:
                log(_LOG, logging.WARNING, "source.not_read_again", dataset=dataset.name, why=str(error))
                continue
            if now.is_empty():
                continue
            # Most of what is stored came live, and no source has that.
            times = now[dataset.event_time].cast(TIME).to_physical()
            first, last = int(times.min()), int(times.max())  # type: ignore[bad-argument-type]
            since, until = Instant(first - DAY), Instant(last + DAY)
            before = self._datasets.read_part(
                dataset, dataset.event_time, since=since, until=until, warm_only=True
            )
            found += changed_rows(dataset.name, dataset.key, before, now, keyed=dataset.keyed)
        return new_notices(self._views, model, found)

    def _first_champion(self, name: ModelName) -> VersionRecord | None:
        with self._views.reading(RegistryView) as registry:
            model = registry.models.get(name)
            served = [one for one in model.versions.values() if one.was_champion] if model else []
            return served[0] if served else None


def new_notices(views: Views, model: ModelName, findings: Sequence[LeakFinding]) -> tuple[Event, ...]:
    """Return notices of those of `findings` that are not on record for a model."""
    with views.reading(LoopView) as loops:
        record = loops.loops.get(model)
        known = list(record.leaks) if record else []
    return tuple(LeakNoticed(finding=one) for one in findings if one not in known)


def _first_day(record: VersionRecord) -> Instant:
    """Return the first whole day after a version was registered; the first one is promoted at once."""
    return Instant(-(-record.at // DAY) * DAY)
