"""Datasets of a home: their versions, their rows as of any version and instant, and what is in quarantine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from varv.app.client.acts import Capability
from varv.app.client.answers import Answer
from varv.app.client.sources import Source, When, of_name, whole_table
from varv.data.profiling.verbs import Profiled
from varv.data.tiers.verbs import DatasetTiers
from varv.data.versioning.difference import Difference
from varv.home.verbs import DatasetStatus
from varv.kernel.errors import NotFound


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
        return of_name(_datasets(self._source), "dataset", self.name)

    @property
    def versions(self) -> pl.DataFrame:
        """Every version with the batch that made it."""
        return whole_table(self._source, "dataset.versions", {"dataset": self.name})

    @property
    def tags(self) -> dict[str, int]:
        """The versions that have a name, by their names."""
        return {one.tag: one.version for one in self._source.ask("dataset.show", {"dataset": self.name}).tags}

    @property
    def tiers(self) -> DatasetTiers:
        """Where its rows are, in the columns or in the archive, and what looks how far back at them."""
        return self._source.ask("dataset.tiers", {"dataset": self.name}).datasets[0]

    def diff(
        self, before: int | str, after: int | str = "", *, rows: int = 0, profile: bool = False
    ) -> Difference:
        """Return how a version differs from an earlier one: columns, rows by key, and profiles if asked for.

        Parameters
        ----------
        before, after
            Numbers of versions, tags or times; the last version by default.
        rows
            How many of the rows that differ are shown.
        profile
            Whether to say of each part what moved from one profile to the other: every row of a version is
            read that has no profile yet.
        """
        later = f"{self.name}@{after}" if after != "" else ""
        asked = {"before": f"{self.name}@{before}", "after": later, "rows": rows, "profile": profile}
        return self._source.ask("dataset.diff", asked)

    def profile(
        self,
        version: int | str = "",
        *,
        part: str = "",
        against: int | str = "",
        outcome: str = "",
        window: str = "",
        against_window: str = "",
    ) -> Answer[Profiled]:
        """Return what the rows of a version are like, by default of the last; a notebook shows it as a page.

        Parameters
        ----------
        version, against
            A number, a tag or a time; what moved since `against` is said if it is given.
        part
            The time at which rows became known, by default the event time.
        outcome
            The column that others are to tell about.
        window, against_window
            Only rows of this time, ``2013-07-01/2013-08-01``, and what moved since that one.
        """
        place = f"{self.name}/{part}" if part else self.name
        asked = {
            "dataset": f"{place}@{version}" if version != "" else place,
            "against": str(against),
            "outcome": outcome,
            "window": window,
            "against_window": against_window,
        }
        return Answer(self._source.ask("dataset.profile", asked))

    def read(
        self,
        *,
        version: int | str | None = None,
        known_at: When = "",
        since: When = "",
        until: When = "",
        remaining: bool = False,
        limit: int | None = None,
    ) -> pl.DataFrame:
        """Return rows of a version, by default the latest, with what was known at an instant, by default all.

        Parameters
        ----------
        version
            Its number, a tag, or a time, by which it was the last one.
        since, until
            Only rows whose event time is in [since, until).
        remaining
            Of a version of which rows were erased, the others.
        limit
            The first so many; all by default.
        """
        asked = {
            "dataset": f"{self.name}@{version}" if isinstance(version, str) else self.name,
            "version": None if isinstance(version, str) else version,
            "known_at": known_at,
            "since": since,
            "until": until,
            "remaining": remaining,
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


class DatasetActs(Capability):
    """The acts on datasets; called with a name, it gives the dataset."""

    def __call__(self, name: str = "") -> ReadableDataset:
        """Return a dataset; the only one of the home if no name is given.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        return ReadableDataset(self._source, of_name(_datasets(self._source), "dataset", name).dataset)


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


def _datasets(source: Source) -> dict[str, DatasetStatus]:
    return {one.dataset: one for one in source.ask("dataset.list", {}).datasets}
