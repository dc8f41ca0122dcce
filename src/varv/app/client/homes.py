"""A home to be read: its models, data and decisions, from a folder (`varv.open`) or a server
(`varv.connect`).

One set of classes for both; what they say comes from the verbs that a `Source` runs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

import polars as pl

from varv.app.client.acts import Capability, capabilities
from varv.app.client.answers import Answer
from varv.app.client.sources import Source, whole_table
from varv.home.status import ModelStatus, StatusReport
from varv.home.verbs import DatasetStatus
from varv.home.why import Explanation
from varv.kernel.errors import NotFound
from varv.loop.printed import Printed

When = str | dt.date | dt.datetime
"""An instant: ISO 8601, a date, or a datetime; in UTC if it does not say otherwise."""
T = TypeVar("T")
H = TypeVar("H", bound="ReadableHome")


class ReadableHome:
    """A home that is read, never changed: models, data, decisions and why.

    Every capability of the API is an attribute, and its acts are functions: ``home.quarantine.list()``. Those
    that stand for things are called with a name: ``home.model("late-arrival")``.

    Parameters
    ----------
    source
        Where it is read.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def __enter__(self: H) -> H:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<varv home {self._source.place}>"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *capabilities(self._source)})

    def __getattr__(self, name: str) -> Capability:
        if name.startswith("_") or name not in capabilities(self._source):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return Capability(self._source, name)

    def _repr_html_(self) -> str:
        from varv.fronts.web.fragments import answer_fragment

        return answer_fragment(self.status().value)

    @property
    def place(self) -> str:
        """The folder or the address that it is read from."""
        return self._source.place

    def close(self) -> None:
        """Give back what is held; again does nothing."""
        self._source.close()

    def status(self, model: str = "") -> Answer[StatusReport]:
        """Return the state of every model, or of one: what ``varv status`` shows.

        Raises
        ------
        NotFound
            If there is no such model.
        """
        return Answer(self._source.ask("model.status", {"model": model}))

    @property
    def model(self) -> ModelActs:
        """A model by its name, ``home.model("late-arrival")``, and the acts on models."""
        return ModelActs(self._source, "model")

    @property
    def models(self) -> Models:
        """Every model by its name."""
        return Models(self._source)

    @property
    def dataset(self) -> DatasetActs:
        """A dataset by its name, ``home.dataset("flights")``, and the acts on datasets."""
        return DatasetActs(self._source, "dataset")

    @property
    def datasets(self) -> DatasetsRead:
        """Every dataset by its name."""
        return DatasetsRead(self._source)

    def why(self, *subject: object) -> Answer[Explanation]:
        """Explain a decision, a version or a prediction to its root: what ``varv why`` shows.

        Parameters
        ----------
        subject
            A model, ``"late-arrival v7"``, a seq, ``"rollout/late-arrival/7"``, or the key of a prediction.

        Raises
        ------
        NotFound
            If nothing has that name.
        """
        return Answer(self._source.ask("ledger.why", {"subject": " ".join(map(str, subject))}))

    def verify(self, *, quick: bool = False) -> Answer[Any]:
        """Compare what is stored with what was written: what ``varv verify`` shows.

        Parameters
        ----------
        quick
            Check the ledger alone, and no other file.
        """
        return Answer(self._source.ask("ledger.verify", {"quick": quick}))

    def entries(
        self,
        *,
        model: str = "",
        stream: str = "",
        event: str = "",
        since: When = "",
        until: When = "",
        limit: int | None = None,
    ) -> pl.DataFrame:
        """Return entries of the ledger: ``seq``, ``at``, ``stream``, ``event``, ``line`` and ``cause``.

        Parameters
        ----------
        model, stream, event
            Only those of a model, of a stream, of an event's name.
        since, until
            Only those of [since, until).
        limit
            The first so many; all by default.
        """
        asked = {"model": model, "stream": stream, "event": event, "since": since, "until": until}
        return whole_table(self._source, "ledger.entries", asked, most=limit)

    def decisions(self, model: str = "", *, since: When = "", until: When = "") -> pl.DataFrame:
        """Return what was decided, and on what: the entries of trainings, gates, rollouts and alarms."""
        asked = {"model": model, "since": since, "until": until, "decisions": True}
        return whole_table(self._source, "ledger.entries", asked)


class ReadableModel:
    """One model of a home.

    Parameters
    ----------
    source
        Where it is read.
    name
        Of the model.
    """

    def __init__(self, source: Source, name: str) -> None:
        self._source = source
        self.name = name

    def __repr__(self) -> str:
        status = self.status
        champion = "none" if status.champion is None else f"v{status.champion}"
        return f"<model {self.name}: champion {champion}, loop {status.phase}>"

    def _repr_html_(self) -> str:
        from varv.fronts.web.fragments import answer_fragment

        return answer_fragment(self.status)

    @property
    def status(self) -> ModelStatus:
        """Everything about the model at a glance."""
        report: StatusReport = self._source.ask("model.status", {"model": self.name})
        return report.models[0]

    @property
    def champion(self) -> int | None:
        """The version that serves; None before the first."""
        return self.status.champion

    @property
    def versions(self) -> pl.DataFrame:
        """Every version: its aliases, how it fared on held-out rows, and how its candidacy ended."""
        return pl.DataFrame(
            [
                {
                    "version": one.version,
                    "aliases": ", ".join(one.aliases),
                    "registered_at": one.registered_at,
                    "n_rows": one.n_rows,
                    "ended": one.outcome,
                    "planted": one.planted,
                    **one.metrics,
                }
                for one in self.status.versions
            ],
            schema_overrides={"aliases": pl.String, "planted": pl.String},
            infer_schema_length=None,
        ).with_columns(pl.col("^registered_at$").str.to_datetime(time_unit="us", time_zone="UTC"))

    def predictions(
        self,
        since: When = "",
        until: When = "",
        *,
        labelled: bool | None = None,
        limit: int | None = None,
    ) -> pl.DataFrame:
        """Return predictions of requests made in [since, until), in their order.

        Parameters
        ----------
        since, until
            The window; all by default.
        labelled
            Only those whose outcome is known, or only those whose is not.
        limit
            The first so many; all of the window by default.

        Returns
        -------
        pl.DataFrame
            ``key``, ``requested_at``, the answer, who gave it and on which arm, the features, and ``outcome``
            with ``known_at``, null where it is not known.
        """
        asked = {"model": self.name, "since": since, "until": until, "labelled": labelled}
        return whole_table(self._source, "model.predictions", asked, most=limit)

    def performance(self, since: When = "", until: When = "") -> pl.DataFrame:
        """Return what was measured day by day, of champions and of candidates that answered.

        Each number of the model's task has a column, and two for its 95 % limits.
        """
        asked = {"model": self.name, "since": since, "until": until}
        return whole_table(self._source, "model.performance", asked)

    def alarms(self) -> pl.DataFrame:
        """Return every alarm, the newest first; `cleared_at` is null while one is open."""
        return whole_table(self._source, "model.alarms", {"model": self.name})

    def rollouts(self) -> pl.DataFrame:
        """Return every rollout, the oldest first; `settled_at` is null while one is open."""
        return whole_table(self._source, "model.rollouts", {"model": self.name})

    def decisions(self, since: When = "", until: When = "") -> pl.DataFrame:
        """Return what was decided about the model, and on what."""
        asked = {"model": self.name, "since": since, "until": until, "decisions": True}
        return whole_table(self._source, "ledger.entries", asked)

    def why(self, subject: object = "") -> Answer[Explanation]:
        """Explain the model, one of its versions by number, or a prediction by its key."""
        what = f"{self.name} v{subject}" if isinstance(subject, int) else f"{self.name} {subject}".strip()
        return Answer(self._source.ask("ledger.why", {"subject": what}))

    def logs(self, version: int | None = None) -> Answer[Printed]:
        """Return what the training of a version printed, the latest if none is named."""
        return Answer(self._source.ask("model.logs", {"model": self.name, "version": version}))


class ReadableDataset:
    """One dataset of a home.

    Parameters
    ----------
    source
        Where it is read.
    name
        Of the dataset.
    """

    def __init__(self, source: Source, name: str) -> None:
        self._source = source
        self.name = name

    def __repr__(self) -> str:
        status = self.status
        return f"<dataset {self.name}: version {status.version}, key {', '.join(status.key)}>"

    def _repr_html_(self) -> str:
        from varv.fronts.web.fragments import answer_fragment

        return answer_fragment(self.status)

    @property
    def status(self) -> DatasetStatus:
        """Its shape, its last version, and what became of the rows of each part."""
        return _of_name(_datasets(self._source), "dataset", self.name)

    @property
    def versions(self) -> pl.DataFrame:
        """Every version with the batch that made it."""
        return whole_table(self._source, "dataset.versions", {"dataset": self.name})

    def read(
        self,
        *,
        version: int | None = None,
        known_at: When = "",
        since: When = "",
        until: When = "",
        limit: int | None = None,
    ) -> pl.DataFrame:
        """Return rows of a version, by default the latest, with what was known at an instant, by default all.

        Parameters
        ----------
        since, until
            Only rows whose event time is in [since, until).
        limit
            The first so many; all by default.
        """
        asked = {
            "dataset": self.name,
            "version": version,
            "known_at": known_at,
            "since": since,
            "until": until,
        }
        return whole_table(self._source, "dataset.rows", asked, most=limit)

    def quarantine(self, *, part: str = "", reason: str = "", limit: int = 1000) -> pl.DataFrame:
        """Return rows in quarantine with their segments, numbers and reasons; none where all rows are sound.

        Parameters
        ----------
        part, reason
            Only those of a part, and those whose reason begins so.
        limit
            How many, 1000 at most.
        """
        asked = {"dataset": self.name, "part": part, "reason": reason, "limit": limit}
        try:
            held = self._source.ask("quarantine.show", asked).rows
        except NotFound as error:
            if error.kind != "batch":
                raise
            held = ()
        rows = [{"segment": one.segment, "row": one.row, "reason": one.reason, **one.values} for one in held]
        kinds = {"segment": pl.String, "row": pl.Int64, "reason": pl.String}
        return pl.DataFrame(rows, infer_schema_length=None) if rows else pl.DataFrame(schema=kinds)


class ModelActs(Capability):
    """The acts on models; called with a name, it gives the model."""

    def __call__(self, name: str = "") -> ReadableModel:
        """Return a model; the only one of the home if no name is given.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        known = {one.model: one for one in _models(self._source)}
        return ReadableModel(self._source, _of_name(known, "model", name).model)


class DatasetActs(Capability):
    """The acts on datasets; called with a name, it gives the dataset."""

    def __call__(self, name: str = "") -> ReadableDataset:
        """Return a dataset; the only one of the home if no name is given.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        return ReadableDataset(self._source, _of_name(_datasets(self._source), "dataset", name).dataset)


class Models(Mapping[str, ReadableModel]):
    """The models of a home by name."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getitem__(self, name: str) -> ReadableModel:
        if name not in list(self):
            raise KeyError(name)
        return ReadableModel(self._source, name)

    def __iter__(self) -> Iterator[str]:
        return iter([one.model for one in _models(self._source)])

    def __len__(self) -> int:
        return len(_models(self._source))

    def __repr__(self) -> str:
        return f"<models: {', '.join(self) or 'none'}>"

    def _repr_html_(self) -> str:
        from varv.fronts.web.fragments import models_fragment

        return models_fragment(_models(self._source))


class DatasetsRead(Mapping[str, ReadableDataset]):
    """The datasets of a home by name."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getitem__(self, name: str) -> ReadableDataset:
        if name not in list(self):
            raise KeyError(name)
        return ReadableDataset(self._source, name)

    def __iter__(self) -> Iterator[str]:
        return iter(_datasets(self._source))

    def __len__(self) -> int:
        return len(_datasets(self._source))

    def __repr__(self) -> str:
        return f"<datasets: {', '.join(self) or 'none'}>"

    def _repr_html_(self) -> str:
        from varv.fronts.web.fragments import datasets_fragment

        return datasets_fragment(list(_datasets(self._source).values()))


def _models(source: Source) -> tuple[ModelStatus, ...]:
    report: StatusReport = source.ask("model.status", {})
    return report.models


def _datasets(source: Source) -> dict[str, DatasetStatus]:
    return {one.dataset: one for one in source.ask("dataset.list", {}).datasets}


def _of_name(known: Mapping[str, T], kind: str, name: str) -> T:
    if name in known:
        return known[name]
    if not name and len(known) == 1:
        return next(iter(known.values()))
    hint = f"there are {', '.join(known) or 'none'}"
    raise NotFound(kind, str(name)[:80], "does not exist in this home", hint=hint)
