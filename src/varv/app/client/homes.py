"""A home to be read: its models, data and decisions, from a folder (`varv.open`) or a server
(`varv.connect`).

One set of classes for both; what they say comes from the verbs that a `Source` runs.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, TypeVar

import polars as pl

from varv.app.client.acts import Capability, capabilities
from varv.app.client.answers import Answer
from varv.app.client.comparisons import ReplayedModel, replayed_in
from varv.app.client.datasets import DatasetActs, DatasetsRead
from varv.app.client.models import ModelActs, Models
from varv.app.client.runs import RunActs
from varv.app.client.sources import Source, When, of_name, whole_table
from varv.home.model import Comparisons
from varv.home.status import StatusReport
from varv.home.why import Explanation

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

    @property
    def runs(self) -> RunActs:
        """The acts on runs, ``home.runs.diff(["3f2a", "9c41"])``, and all of them as a frame."""
        return RunActs(self._source, "runs")

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

    def comparison(self, model: str = "") -> ReplayedModel:
        """Return what the finished replay of the home showed of a model, the only one if none is named.

        Raises
        ------
        NotFound
            If the home holds no finished replay, or there is no such model.
        """
        found: Comparisons = self._source.ask("replay.comparison", {})
        known = {str(one.model): one for one in found.models}
        return replayed_in(self._source, of_name(known, "model", model))

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
