"""What the verbs of labelling work on: what is declared, the rows of requests, and the way to the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from varv.data.dataset import Dataset
from varv.data.inbox import Inbox
from varv.data.outcomes import OutcomeSpec
from varv.data.versioning.verbs import RewriteRequest, VersionsDesk, merge
from varv.home.declared_models import declared_model
from varv.home.labelling.windows import with_scores
from varv.home.review.model import ReviewDecided
from varv.home.review.model import stream_of as reviews_of
from varv.home.review.verbs import Reviews
from varv.home.tables import Tables
from varv.kernel.clock import WEEK, Clock, Instant, iso
from varv.kernel.codec import Event
from varv.kernel.columns import TIME
from varv.kernel.engine import Engine
from varv.kernel.errors import Conflict, FailedPrecondition, InvalidInput, Unavailable
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Ledger
from varv.kernel.sagas import Fact
from varv.kernel.views import Views
from varv.labels.model import Value, said, stream_of
from varv.labels.policy import LabellingPolicy
from varv.serving.scores import GROUP, score_columns

_TRIES = 20


class LabelledModel(NamedTuple):
    """A model whose requests are labelled: what is declared of that, and what it predicts."""

    name: ModelName
    policy: LabellingPolicy
    outcome: OutcomeSpec
    review: tuple[str, ...]
    """How requests were answered that wait for a person to decide."""


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """The labels of a home, as labellers and clients act on them.

    Parameters
    ----------
    engine
        Puts on record what is chosen and said; None while a server starts, and where the ledger is only read.
    inbox, versions
        Take outcomes in, and replace those that are revised; None where no server runs.
    """

    tables: Tables
    views: Views
    ledger: Ledger
    clock: Clock
    reviews: Reviews
    engine: Engine | None
    inbox: Inbox | None
    versions: VersionsDesk | None

    def model(self, name: str) -> LabelledModel:
        """Return a model whose requests are labelled; the only one of the home if no name is given.

        Raises
        ------
        NotFound
            If there is none of that name.
        FailedPrecondition
            If no labelling is declared, or no version says yet of which dataset it is.
        """
        declared = declared_model(self.views, name)
        if declared.labelling is None:
            hint = "declare it: varv.Model(..., labelling=varv.Labelling(budget=50))"
            raise FailedPrecondition("model", declared.model, "declares no labelling", hint=hint)
        outcome = self.tables.outcome(declared.model)
        if outcome is None:
            hint = "labels are asked for once a first version is registered"
            raise FailedPrecondition("model", declared.model, "has no version yet", hint=hint)
        return LabelledModel(declared.model, declared.labelling, outcome, tuple(declared.serving.review))

    def rows(self, model: ModelName, since: int, until: int) -> pl.DataFrame:
        """Return what versions were to answer of requests made in [since, until), each with its outcome; the
        history of before the first version is not among them.
        """
        rows = self.tables.predictions(model, Instant(since), Instant(until)).rows
        return rows.filter(pl.col("champion").is_not_null()) if rows.height else rows

    def with_outcome(
        self, of: LabelledModel, since: int, until: int, columns: Sequence[str] = ()
    ) -> pl.DataFrame:
        """Return the requests made in [since, until) that have an outcome and of which the champion said
        something valid: ``key``, ``requested_at``, ``outcome``, what the champion said, and `columns`.
        """
        task, found = of.outcome.task, list[pl.DataFrame]()
        group = [GROUP] if task.group else []
        kept = ["key", "requested_at", "outcome", *score_columns(task, "champion_score"), *group]
        names = [*kept, *(name for name in dict.fromkeys(columns) if name not in kept)]
        # Week by week: all features of months would be much to hold.
        for at in range(since, until, WEEK):
            rows = self.rows(of.name, at, min(at + WEEK, until))
            if rows.height:
                rows = with_scores(rows.drop_nulls("outcome"), task)
                found.append(rows.select(name for name in names if name in rows.columns))
        empty = pl.DataFrame(schema={"key": pl.String, "requested_at": TIME, "outcome": task.outcome_dtype})
        return pl.concat(found, how="diagonal") if found else empty

    def record(self, model: ModelName, decide: Callable[[], Sequence[Event]]) -> list[Event]:
        """Put on record what `decide` returns, deciding anew if another was faster; return it.

        Raises
        ------
        Unavailable
            If a server is starting, or nobody writes here.
        """
        if self.engine is None:
            hint = "try again in a moment; see varv status"
            raise Unavailable("server", "", "is still starting", hint=hint)
        stream = stream_of(model)
        for left in reversed(range(_TRIES)):
            head = self.ledger.head(stream).version
            events = list(decide())
            facts = [
                Fact(self._stream(model, event), event, head if number == 0 else None)
                for number, event in enumerate(events)
            ]
            try:
                self.engine.tell(facts=facts)
            except Conflict:
                if not left:
                    raise
            else:
                break
        return events

    def _stream(self, model: ModelName, event: Event) -> str:
        return reviews_of(model) if isinstance(event, ReviewDecided) else stream_of(model)

    def stored(self, of: LabelledModel, value: Value) -> Value:
        """Return a label as the outcome's column keeps it.

        Raises
        ------
        InvalidInput
            If it cannot be an outcome.
        """
        column, task = of.outcome.column, of.outcome.task
        dtype = of.outcome.requests.types()[column]
        kept = task.stored(value, dtype)
        fits = isinstance(kept, str) == (dtype in (pl.String, pl.Categorical, pl.Enum))
        read = task.read(pl.Series(column, [kept], dtype, strict=False)) if fits else None
        rule = task.rule()
        if read is None or read.null_count() or (rule.values is not None and kept not in rule.values):
            allowed = ", ".join(map(said, rule.values or ()))
            hint = f"say one of {allowed}" if allowed else "say a number"
            raise InvalidInput("label", str(value)[:80], f"is no {column}", hint=hint)
        return kept

    def make_outcomes(
        self, of: LabelledModel, values: Sequence[tuple[str, Value]], known_at: Instant
    ) -> bool:
        """Let labels, by key, be the outcomes of their requests; return whether they replace what stood.

        Raises
        ------
        Unavailable
            If no server runs, which takes outcomes in.
        InvalidInput
            If one does not fit; nothing is taken in then if it is the only one.
        """
        requests, part = of.outcome.requests, of.outcome.known_at
        rows = [
            {**key_columns(requests, key), of.outcome.column: value, part: iso(known_at)}
            for key, value in values
        ]
        if self.inbox is None or self.versions is None:
            hint = "start it: varv up"
            raise Unavailable("server", "", "takes no outcomes, for it does not run", hint=hint)
        if of.policy.revisions == "latest":
            merge(self.versions, RewriteRequest(dataset=f"{requests.name}/{part}", rows=rows, why="revised"))
            return True
        accepted = self.inbox.accept_outcomes(of.name, rows)
        if accepted.refused:
            first = accepted.refused[0]
            raise InvalidInput("column", first.column, first.problem, hint=first.hint, row=first.row)
        return False


def key_columns(dataset: Dataset, text: str) -> dict[str, Value]:
    """Return the columns of a request's key out of its text, as JSON sends them.

    Raises
    ------
    InvalidInput
        If the text does not say where a column ends, or holds what a column cannot.
    """
    key, types = dataset.key, dataset.types()
    parts = [text] if len(key) == 1 else text.split("|")
    if len(parts) != len(key):
        hint = "send its outcome by the dataset's columns: outcome.append"
        raise InvalidInput("key", text[:80], f"does not tell {', '.join(key)} apart", hint=hint)
    return {name: _in_json(part, types[name], name) for name, part in zip(key, parts, strict=True)}


def _in_json(text: str, dtype: pl.DataType, column: str) -> Value:
    try:
        if dtype.is_integer():
            return int(text)
        if dtype.is_float():
            return float(text)
    except ValueError:
        hint = "give the key as predictions show it"
        raise InvalidInput("key", text[:80], f"holds no {column}", hint=hint) from None
    if dtype == pl.Boolean:
        return text == "true"
    return text.replace(" UTC", "Z").replace(" ", "T") if dtype == TIME else text
