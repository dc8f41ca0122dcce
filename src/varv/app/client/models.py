"""Models of a home: what each is, answered, showed and decided, as frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from varv.app.client.acts import Capability
from varv.app.client.answers import Answer
from varv.app.client.sources import Source, When, of_name, whole_table
from varv.data.profiling.verbs import Profiled
from varv.home.model_status import ModelStatus
from varv.home.requirements import RequirementMatrix
from varv.home.status import StatusReport
from varv.home.why import Explanation
from varv.loop.printed import Printed


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

    def requirements(self, version: int | None = None) -> Answer[RequirementMatrix]:
        """Return what is required of the model, and what is proved of a version, the champion by default."""
        return Answer(self._source.ask("model.requirements", {"model": self.name, "version": version}))

    def profile(self, version: int | None = None, *, against: int | None = None) -> Answer[Profiled]:
        """Return what a version was trained on, the champion by default: features as they were served, and
        outcomes; a notebook shows it as a page.

        Parameters
        ----------
        against
            An earlier version: what moved since its training data is said.
        """
        asked = {"model": self.name, "version": version, "against": against}
        return Answer(self._source.ask("model.profile", asked))

    def why(self, subject: object = "") -> Answer[Explanation]:
        """Explain the model, one of its versions by number, or a prediction by its key."""
        what = f"{self.name} v{subject}" if isinstance(subject, int) else f"{self.name} {subject}".strip()
        return Answer(self._source.ask("ledger.why", {"subject": what}))

    def logs(self, version: int | None = None) -> Answer[Printed]:
        """Return what the training of a version printed, the latest if none is named."""
        return Answer(self._source.ask("model.logs", {"model": self.name, "version": version}))


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
        return ReadableModel(self._source, of_name(known, "model", name).model)


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


def _models(source: Source) -> tuple[ModelStatus, ...]:
    report: StatusReport = source.ask("model.status", {})
    return report.models
