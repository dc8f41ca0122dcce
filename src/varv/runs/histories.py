"""Histories of metrics: the points of a series, whole, page by page, or as many as a curve needs."""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from varv.kernel.errors import InvalidInput, NotFound
from varv.runs.rules import require_run_id
from varv.runs.series import history
from varv.runs.tables import METRIC

MOST_DATASETS = 1000
_HINT = "send the token of the page before, or none"


class Link(NamedTuple):
    """What points are of: a logged model, a dataset and its digest; each may be empty."""

    model: str
    dataset: str
    digest: str


class DatasetSummary(NamedTuple):
    """A dataset that runs of an experiment have read."""

    experiment: str
    name: str
    digest: str
    context: str | None


def points_of(db: sqlite3.Connection, run: str, metric: str) -> np.ndarray:
    """Return the points of a metric by time, step and value, of dtype `points.POINT`; none if the run has
    no such metric.

    Raises
    ------
    NotFound
        If there is no such run.
    InvalidInput
        If it is no id of a run.
    """
    require_run_id(run)
    row = db.execute("SELECT no, experiment FROM run WHERE id = ?", (run,)).fetchone()
    if row is None:
        raise NotFound("run", run)
    query = "SELECT no FROM key WHERE experiment = ? AND kind = ? AND name = ?"
    key = db.execute(query, (row[1], METRIC, metric)).fetchone()
    return history(db, row[0], 0 if key is None else key[0])


def links(db: sqlite3.Connection, points: np.ndarray) -> dict[int, Link]:
    """Return what the links of points stand for."""
    found = {}
    for no in np.unique(points["link"]).tolist():
        if no:
            row = db.execute("SELECT model, dataset, digest FROM link WHERE no = ?", (no,)).fetchone()
            found[no] = Link(*row)
    return found


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
    later, level = np.zeros(len(points), bool), np.ones(len(points), bool)
    # NaN is the last of equal times and steps.
    values = np.where(np.isnan(points["value"]), np.inf, points["value"])
    given = np.inf if value is None else value
    for column, mark in ((points["at"], at), (points["step"], step), (values, given), (points["link"], link)):
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
    points = points[np.lexsort([points[name] for name in ("value", "at", "step")])]
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
