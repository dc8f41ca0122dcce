"""Histories of metrics: the points of a series, whole, page by page, or as many as a curve needs."""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from varv.kernel.errors import InvalidInput
from varv.runs.model import DatasetInput
from varv.runs.points import POINT, rises, value_ranks
from varv.runs.series import history
from varv.runs.tables import METRIC

MOST_DATASETS = 1000
_HINT = "send the token of the page before, or none"


class RunThatRead(NamedTuple):
    """A run that has read a dataset."""

    run: str
    name: str
    experiment: str
    dataset: str
    digest: str
    context: str | None
    columns: str
    """The columns that it read, in the client's words; nothing if it did not say."""


class DatasetSummary(NamedTuple):
    """A dataset that runs of an experiment have read."""

    experiment: str
    name: str
    digest: str
    context: str | None


def points_of(db: sqlite3.Connection, run: str, metric: str) -> np.ndarray:
    """Return the points of a metric by time, step and value, of dtype `points.POINT`; none where there is no
    such run, or it has no such metric.
    """
    joined = "run JOIN key ON key.experiment = run.experiment"
    query = f"SELECT run.no, key.no FROM {joined} WHERE run.id = ? AND kind = ? AND key.name = ?"
    row = db.execute(query, (run, METRIC, metric)).fetchone()
    return np.empty(0, POINT) if row is None else history(db, *row)


def page_of(points: np.ndarray, most: int | None, token: str) -> tuple[np.ndarray, str]:
    """Return at most `most` points after those that a token is of, and the token of what comes next.

    Raises
    ------
    InvalidInput
        If the token is none of ours, or a page would have no points.
    """
    if most is not None and most < 1:
        raise InvalidInput("max_results", most, "is not positive", hint="leave it out to get all")
    rest = points[_after(points, token) :] if token else points
    if most is None or len(rest) <= most:
        return rest, ""
    page = rest[:most]
    last = page[-1].item()
    return page, base64.urlsafe_b64encode(msgspec.json.encode(last)).decode()


def _after(points: np.ndarray, token: str) -> int:
    try:
        read = base64.b64decode(token, altchars=b"-_", validate=True)
        last = msgspec.json.decode(read, type=tuple[int, int, int, int, float | None])
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        raise InvalidInput("page token", token[:40], "is not valid", hint=_HINT) from None
    _, link, at, step, value = last
    ranks = [points["at"], points["step"], *value_ranks(points["value"]), points["link"]]
    given = np.array([np.nan if value is None else value])
    marks = [at, step, *(rank[0] for rank in value_ranks(given)), link]
    later, level = np.zeros(len(points), bool), np.ones(len(points), bool)
    for column, mark in zip(ranks, marks, strict=True):
        later |= level & (column > mark)
        level &= column == mark
    return len(points) - int(later.sum())


def sampled(points: np.ndarray, most: int, steps: tuple[int, int] | None = None) -> np.ndarray:
    """Return at most `most` points by step, the first and the last with them, evenly spaced by their number.

    Parameters
    ----------
    steps
        The first and the last step that are wanted; all without them.

    Examples
    --------
    >>> from varv.runs.points import POINT
    >>> points = np.zeros(10, POINT)
    >>> points["step"] = range(10)
    >>> sampled(points, 4)["step"].tolist()
    [0, 3, 6, 9]
    """
    if steps is not None:
        points = points[(points["step"] >= steps[0]) & (points["step"] <= steps[1])]
    if not rises(points["step"]):
        value, is_nan = value_ranks(points["value"])
        points = points[np.lexsort([points["link"], is_nan, value, points["at"], points["step"]])]
    if len(points) <= most:
        return points
    # As many groups of nearly one size, the larger ones first; the first of each, and the last of all.
    size, larger = divmod(len(points), most)
    starts = np.arange(most) * size + np.minimum(np.arange(most), larger)
    starts[-1] = len(points) - 1
    return points[starts]


def datasets_of(db: sqlite3.Connection, experiments: Sequence[str]) -> list[DatasetSummary]:
    """Return the datasets that runs of experiments have read, each once for each way it was used."""
    marks = ",".join("?" * len(experiments))
    joined = "experiment JOIN run ON run.experiment = experiment.no JOIN input ON input.run = run.no"
    columns = "DISTINCT experiment.id, input.name, digest, context"
    query = f"SELECT {columns} FROM {joined} WHERE experiment.id IN ({marks}) LIMIT ?"
    return [DatasetSummary(*row) for row in db.execute(query, (*experiments, MOST_DATASETS))]


def runs_that_read(db: sqlite3.Connection, datasets: Sequence[str], most: int) -> list[RunThatRead]:
    """Return the runs that have read datasets of these names, or versions of them such as ``flights@12``; the
    youngest first.
    """
    # What follows "@" in the order of bytes is "A".
    named = " OR ".join(["input.name = ? OR (input.name >= ? AND input.name < ?)"] * len(datasets))
    query = f"""
        SELECT run.id, run.name, experiment.name, input.name, input.digest, context, input.body
        FROM input JOIN run ON run.no = input.run JOIN experiment ON experiment.no = run.experiment
        WHERE ({named}) AND NOT run.deleted ORDER BY run.started_ms DESC, run.id LIMIT ?
    """
    given = [text for name in datasets for text in (name, f"{name}@", f"{name}A")]
    found = db.execute(query, (*given, most)) if datasets else ()
    return [RunThatRead._make((*row[:-1], _said_columns(row[-1]))) for row in found]


def _said_columns(body: bytes) -> str:
    schema = msgspec.json.decode(body, type=DatasetInput).schema
    return schema if isinstance(schema, str) else ""
