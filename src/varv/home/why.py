"""Why: from a decision, a version or a prediction back to its root, each step with the numbers it rested on.

Every entry of the ledger names the entry that led to it; an explanation follows these causes. A prediction
is found in the telemetry, and leads to the version that answered, the run that made it, its code, and the
rows that it came from.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from varv.data.cold import require_warm
from varv.data.identity import keys_of
from varv.data.model import DatasetVersionAppended
from varv.data.versions import stream_of
from varv.data.versions.model import DatasetRewritten
from varv.data.views import DatasetsView
from varv.home import why_answers
from varv.home.why_answers import Answer, Predicted
from varv.home.why_logged import of_logged
from varv.kernel.catalogue import digests
from varv.kernel.clock import iso
from varv.kernel.codec import Digest
from varv.kernel.columns import TIME
from varv.kernel.errors import NotFound
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger import Entry, Ledger, entries_of
from varv.kernel.sagas import TimerFired
from varv.kernel.views import Views
from varv.kernel.wording import brief, count
from varv.loop.views import LoopView
from varv.registry import Lineage, RegistryView, lineage
from varv.serving.scores import answer_schema, scores_in
from varv.serving.stored import predictions_of
from varv.serving.views import RoutingView
from varv.serving.views import stream_of as requests_stream
from varv.tasks import Task

LONGEST_CHAIN = 200
MOST_NUMBERS = 24
TIMER = TimerFired.event_name
_SEGMENT = "~segment"  # not what a feature would be called
LONGEST_SUBJECT = 1024
_VERSION = re.compile(r"(?P<model>[a-z0-9_-]+)(?:\s+v|[/:@]v?)(?P<version>\d+)")
_DECISIONS = (
    *("rollout.version_promoted", "rollout.rolled_back", "rollout.rollback_started", "rollout.held"),
    *(
        "rollout.stepped",
        "rollout.shadow_started",
        "rollout.started",
        "loop.candidate_rejected",
        "loop.gates_judged",
    ),
    *("loop.training_suspended", "loop.retrain_triggered", "registry.version_registered"),
)
"""Events that decide something about a version; the latest of them is what a reader asks about."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a causal chain, and the numbers in it."""

    seq: int
    at: str
    stream: str
    event: str
    text: str
    evidence: dict[str, bool | float]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A source row: what it says, where it lies, and the entry that took it in."""

    dataset: str
    part: str
    segment: str
    seq: int
    row: dict[str, Any]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked about, the answer in a sentence, the chain from the latest decision on it to its root,
    and where it came from.
    """

    subject: str
    kind: str
    answer: str
    detail: str = ""
    """The whole message, where the answer is that something failed."""
    leaks: tuple[str, ...] = ()
    """Of a model: what speaks for a column that holds what a request cannot know."""
    output: str = ""
    """Of a version: how much its training printed, and how to see it; empty if it printed nothing."""
    chain: tuple[Link, ...]
    timers: tuple[Link, ...] = ()
    """Timers between the links of the chain; they say when, not why."""
    prediction: Predicted | None = None
    lineage: Lineage | None = None
    sources: tuple[Source, ...] = ()


def explain(home: Path, ledger: Ledger, views: Views, subject: str) -> Explanation:
    """Return why `subject` is as it is.

    Parameters
    ----------
    subject
        A seq, a stream or saga such as ``rollout/late/7``, a model, ``model v7``, a version that was logged,
        ``models:/churn/3``, or the key of a prediction;
        ``model key`` where several models answered the request.

    Raises
    ------
    NotFound
        If nothing has that name.
    """
    subject = subject.strip()
    if len(subject) > LONGEST_SUBJECT:
        raise NotFound("subject", subject[:80], hint=f"a subject has {LONGEST_SUBJECT} characters at most")
    if subject.isdecimal() and 1 <= int(subject) <= ledger.head().version:
        return _explained(ledger, _entry(ledger, int(subject)), subject, "entry")
    if subject and len(subject) <= 255 and subject.isprintable() and ledger.head(subject).version:
        entries = ledger.read(stream=subject)
        found = next((entry for entry in reversed(entries) if entry.name in _DECISIONS), entries[-1])
        return _explained(ledger, found, subject, "stream")
    with views.reading(RegistryView) as registry, views.reading(LoopView) as loops:
        names = sorted({*registry.models, *loops.loops})
        registered = {name: sorted(record.versions) for name, record in registry.models.items()}
        tried = {name: sorted(record.attempts) for name, record in loops.loops.items()}
    models = {name: sorted({*registered.get(name, ()), *tried.get(name, ())}) for name in names}
    if subject in models:
        latest = _latest(ledger, subject, models[subject], None)
        told = why_answers.of_model(views, ledger, subject)
        return _explained(ledger, latest, subject, "model", told)
    named = _VERSION.fullmatch(subject)
    if named and int(named["version"]) in models.get(named["model"], ()):
        return _explain_version(ledger, views, subject, named["model"], int(named["version"]))
    if (logged := of_logged(home, ledger, views, subject)) is not None:
        links = tuple(_link(entry) for entry in reversed(logged.entries))
        kind, answer = "logged version", logged.answer
        return Explanation(subject=subject, kind=kind, answer=answer, detail=logged.detail, chain=links)
    named_model, _, key = subject.partition(" ")
    if key and named_model in models:
        return _explain_prediction(home, ledger, views, key.strip(), models, of=named_model)
    return _explain_prediction(home, ledger, views, subject, models)


def _explained(
    ledger: Ledger, entry: Entry, subject: str, kind: str, told: Answer | None = None
) -> Explanation:
    links = _chain(ledger, entry)
    told = told or why_answers.of_event(entry.event)
    return Explanation(
        subject=subject,
        kind=kind,
        answer=told.text,
        detail=told.detail,
        leaks=told.leaks,
        chain=tuple(link for link in links if link.event != TIMER) or links,
        timers=tuple(link for link in links if link.event == TIMER),
    )


def _explain_version(ledger: Ledger, views: Views, subject: str, model: str, version: int) -> Explanation:
    with views.reading(RegistryView) as registry:
        record = registry.models.get(model)
        made = lineage(registry, model, version) if record and version in record.versions else None
    entry = _latest(ledger, model, [version], version)
    found = _explained(ledger, entry, subject, "version", why_answers.of_version(views, model, version))
    return msgspec.structs.replace(found, lineage=made, output=_output(views, model, version))


def _output(views: Views, model: str, version: int) -> str:
    with views.reading(LoopView) as loops:
        record = loops.loops.get(model)
        attempt = record.attempts.get(version) if record else None
        kept = attempt.output if attempt else None
    return "" if kept is None else f"{count(kept.n_bytes)} bytes, shown by varv logs {model} {version}"


def _explain_prediction(
    home: Path, ledger: Ledger, views: Views, key: str, models: dict[str, list[int]], *, of: str = ""
) -> Explanation:
    columns = FolderColumns(home / "columns")
    with views.reading(RoutingView) as routing:
        segments = {
            model: digests(held.extents()) for model, held in routing.stored.items() if of in ("", model)
        }
    found = {
        model: rows
        for model, named in segments.items()
        if not (rows := _predictions(columns, model, named, key)).is_empty()
    }
    if not found:
        hint = "give a model, model v7, a seq, rollout/model/7, or the key of a prediction"
        problem = "matches no model, version, entry or prediction"
        raise NotFound("subject", key[:120], problem, models=sorted(models), hint=hint)
    # A key may have been asked of several models; the latest answer is explained.
    model = max(found, key=lambda name: (found[name]["requested_at"].max(), name))
    latest = found[model].sort("requested_at").tail(1)
    row = latest.to_dicts()[0]
    served = _served_in(ledger, model, row[_SEGMENT])
    made, sources = None, ()
    if row["version"] is not None:
        with views.reading(RegistryView) as registry:
            made = lineage(registry, model, row["version"])
        sources = _sources(columns, ledger, views, made.datasets[0].dataset, key) if made.datasets else ()
    routed = _routed_by(ledger, model, row["epoch"])
    with views.reading(LoopView) as loops:
        task = loops.task(model)
    predicted = msgspec.structs.replace(
        _predicted(latest, model, key, task, served.seq),
        routed_by=None if routed is None else routed.seq,
        others=tuple(sorted(found.keys() - {model})),
    )
    explained = _explained(ledger, routed or served, key, "prediction", why_answers.of_prediction(predicted))
    return msgspec.structs.replace(explained, prediction=predicted, lineage=made, sources=sources)


def _predicted(latest: pl.DataFrame, model: str, key: str, task: Task, served_in: int) -> Predicted:
    """Return what one row of the predictions says."""
    [row], scores = latest.to_dicts(), _answered(latest, task)
    return Predicted(
        model=model,
        key=key,
        requested_at=iso(latest["requested_at"].to_physical()[0]),
        score=scores[0] if len(scores) == 1 else None,
        scores=scores,
        said=task.said(np.array(scores)) if scores else "",
        version=row["version"],
        arm=row["arm"],
        share=row["share"],
        epoch=row["epoch"],
        segment=row[_SEGMENT],
        served_in=served_in,
        features={name: value for name, value in row.items() if name not in _beside(task)},
        answered_by=row.get("answered_by") or "",
        flagged=tuple((row.get("flagged") or "").split(",")) if row.get("flagged") else (),
    )


def _answered(row: pl.DataFrame, task: Task) -> tuple[float, ...]:
    """Return the numbers that a prediction of one row holds; none if nothing was there to answer."""
    scores = scores_in(row, task)[0]
    return () if np.isnan(scores).all() else tuple(scores.tolist())


def _beside(task: Task) -> set[str]:
    """Return the columns of a prediction that are no feature."""
    return {"key", "requested_at", _SEGMENT, *answer_schema(task)}


def _predictions(
    columns: FolderColumns, model: str, segments: Mapping[str, Digest], key: str
) -> pl.DataFrame:
    batches = columns.batches(predictions_of(model, columns), segments, segment_as=_SEGMENT)
    parts = (rows.filter(pl.col("key") == key) for rows in batches)
    found = [part for part in parts if part.height]
    return pl.concat(found, how="diagonal") if found else pl.DataFrame()


def _sources(
    columns: FolderColumns, ledger: Ledger, views: Views, dataset: str, key: str
) -> tuple[Source, ...]:
    """Return the rows of one key, the request first, then what came to be known of it."""
    with views.reading(DatasetsView) as view:
        registered = view.registered(dataset)
        if registered is None:
            return ()
        parts = (registered.event_time, *registered.known_at)
        extents = {part: view.catalogue(dataset, part).extents() for part in parts}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for part in parts:
        warm = [one for one in extents[part] if not one.cold]
        batches = columns.batches(f"data/{dataset}/{part}", digests(warm), segment_as=_SEGMENT)
        for batch in batches:
            rows = batch.filter(keys_of(registered.key, batch) == key)
            for row in _plain(rows.unique(_SEGMENT, keep="first")):
                found[part, row.pop(_SEGMENT)] = row
        if not any(place == part for place, _ in found):
            # It may be among those that are archived, if it was ever said.
            require_warm(dataset, extents[part])
    return tuple(
        Source(dataset=dataset, part=part, segment=segment, seq=seq, row=found[part, segment])
        for (part, segment), seq in _appended(ledger, dataset, found).items()
    )


def _appended(
    ledger: Ledger, dataset: str, wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """Return the entries that put batches on record, by part and segment, in their order."""
    found = dict[tuple[str, str], int]()
    for entry in entries_of(ledger, stream_of(dataset)):
        event = entry.event
        if isinstance(event, DatasetVersionAppended):
            made = [(event.part, event.segment)]
        elif isinstance(event, DatasetRewritten):
            made = [(event.part, one.name) for one in event.added]
        else:
            continue
        found |= {place: entry.seq for place in made if place in wanted}
        if len(found) == len(wanted):
            break
    return found


def _plain(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows with their times as text."""
    times = [
        pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%SZ") for name in rows.columns if rows[name].dtype == TIME
    ]
    return rows.with_columns(times).to_dicts()


def _latest(ledger: Ledger, model: str, versions: Sequence[int], version: int | None) -> Entry:
    """Return the last entry that decided something about a model, or about one of its versions."""
    streams = [f"rollout/{model}/{number}" for number in versions] + [f"loop/{model}", f"model/{model}"]
    entries = [entry for stream in streams for entry in ledger.read(stream=stream)]
    ours = [entry for entry in entries if entry.name in _DECISIONS and _is_about(entry, version)]
    return max(ours or entries, key=lambda entry: entry.seq)


def _is_about(entry: Entry, version: int | None) -> bool:
    return version is None or getattr(entry.event, "version", version) == version


def _chain(ledger: Ledger, entry: Entry) -> tuple[Link, ...]:
    links = [_link(entry)]
    while entry.cause is not None and len(links) < LONGEST_CHAIN:
        entry = _entry(ledger, entry.cause)
        links.append(_link(entry))
    return tuple(links)


def _link(entry: Entry) -> Link:
    event = entry.event
    return Link(
        seq=entry.seq,
        at=iso(entry.at),
        stream=entry.stream,
        event=entry.name,
        text=brief(event.line()),
        evidence=_numbers(event),
    )


def _numbers(event: object) -> dict[str, float]:
    """Return the numbers of an event's evidence by dotted name; epochs and times are no evidence."""
    found: dict[str, float] = {}

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(f"{prefix}.{name}" if prefix else str(name), inner)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            for number, inner in enumerate(value):
                label = inner.get("gate") or inner.get("kind") if isinstance(inner, dict) else None
                walk(str(label or number), inner)
        elif (
            isinstance(value, int | float)
            and prefix not in ("epoch", "through")
            and len(found) < MOST_NUMBERS
        ):
            found[prefix.replace(".evidence", "")] = value

    fields = msgspec.to_builtins(event)
    for name in ("evidence", "triggers", "results", "metrics"):
        walk("" if name == "evidence" else name, fields.get(name))
    return found


def _served_in(ledger: Ledger, model: str, segment: str) -> Entry:
    for entry in entries_of(ledger, requests_stream(model)):
        if entry.name == "serving.requests_served" and f'"{segment}"'.encode() in entry.data:
            return entry
    raise NotFound(
        "segment", segment, "is in no entry", hint="it was written but never taken in; run varv up"
    )


def _routed_by(ledger: Ledger, model: str, epoch: int | None) -> Entry | None:
    for entry in ledger.read(stream=f"routing/{model}"):
        event: Any = entry.event
        if event.table.epoch == epoch:
            return entry
    return None


def _entry(ledger: Ledger, seq: int) -> Entry:
    found = ledger.read(seq - 1, limit=1)
    if not found or found[0].seq != seq:
        raise NotFound("entry", seq, hint="run varv verify")
    return found[0]
