"""Runs in Python: the acts of the API on them, and what a filter finds as a frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from varv.app.client.acts import Capability
from varv.app.client.answers import Answer
from varv.home.tracking.verbs import DEFAULT_LIMIT, RunList
from varv.kernel.columns import TIME
from varv.kernel.errors import Corrupt
from varv.runs.comparing import RunLine

AT_ONCE = 1000
MOST_PAGES = 100_000


Rows = list[dict[str, Any]]


class RunActs(Capability):
    """The acts on runs: ``list``, ``show``, ``diff``, ``best``, ``curves`` and, at a server, ``stop``."""

    def list(
        self,
        where: str = "",
        *,
        experiments: Sequence[str] = (),
        order: Sequence[str] = (),
        deleted: bool = False,
        limit: int = DEFAULT_LIMIT,
        after: str = "",
    ) -> Answer[RunList]:
        """Return a page of runs; `after` is that of the page before. The other arguments are those of
        `frame`.
        """
        asked = {"where": where, "experiments": tuple(experiments), "order": tuple(order), "deleted": deleted}
        return Answer(self._source.ask("runs.list", {**asked, "limit": limit, "after": after}))

    def frame(
        self,
        where: str = "",
        *,
        experiments: Sequence[str] = (),
        order: Sequence[str] = (),
        limit: int | None = None,
    ) -> pl.DataFrame:
        """Return runs as a frame: a row each, a column for each parameter, ``params.depth``, each tag and the
        last value of each metric.

        Parameters
        ----------
        where
            A filter, such as ``"metrics.loss < .3 or params.depth = '3'"``.
        experiments
            Ids or names; all experiments by default.
        order
            Fields, ``["max(metrics.auc) desc"]``; the latest start first by default.
        limit
            The first so many; all by default.

        Raises
        ------
        InvalidInput
            If the filter or the order is not understood.
        NotFound
            If an experiment does not exist.
        """
        fields = {"where": where, "experiments": tuple(experiments), "order": tuple(order)}
        rows: Rows = []
        for page in self._pages(fields, AT_ONCE if limit is None else max(1, min(limit, AT_ONCE))):
            rows += [_row(one) for one in page.runs]
            if limit is not None and len(rows) >= limit:
                break
        times = {"started_at": TIME, "ended_at": TIME}
        return pl.DataFrame(rows[:limit], infer_schema_length=None, schema_overrides=times)

    def _pages(self, fields: dict[str, Any], limit: int) -> Iterator[RunList]:
        after = ""
        for _ in range(MOST_PAGES):
            page: RunList = self._source.ask("runs.list", {**fields, "limit": limit, "after": after})
            yield page
            if not page.after:
                return
            after = page.after
        raise Corrupt("server", self._source.place, "gives pages that do not end", hint="narrow the filter")


def _row(one: RunLine) -> dict[str, Any]:
    told: dict[str, Any] = {
        "run": one.run,
        "experiment": one.experiment,
        "name": one.name,
        "user": one.user,
        "status": one.status,
        "started_at": one.started_ms * 1000,
        "ended_at": None if one.ended_ms is None else one.ended_ms * 1000,
    }
    told |= {f"params.{name}": value for name, value in one.params.items()}
    told |= {f"metrics.{name}": metric.last for name, metric in one.metrics.items()}
    return told | {f"tags.{name}": value for name, value in one.tags.items()}
