"""One run: what it was made from, its metrics and their curves, what it read and made, and its artifacts."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
from markupsafe import Markup

from varv.fronts.web.page import Asking, Page, Reading
from varv.fronts.web.plots import Labelled, curve_chart
from varv.fronts.web.viewer import Shown, picture, shown
from varv.home.tracking.looking import RunDesk
from varv.kernel.errors import InvalidInput
from varv.runs import artifacts, reading
from varv.runs.artifacts import Artifact
from varv.runs.comparing import SOURCE, SYSTEM, line_of
from varv.runs.curves import AXES, Axis, Curves
from varv.runs.goals import goal_of
from varv.runs.model import ENDED, RUN_NAME
from varv.runs.verbs import STOP, heeds_stop

MOST_CHARTS = 6
BUCKETS = 120
NOTE = "mlflow.note.content"


class Drawing(msgspec.Struct, frozen=True):
    """What the URL says of curves: the axis, how much is smoothed, and whether values are logarithmic."""

    axis: Axis = "step"
    smooth: float = 0.0
    log: bool = False

    @classmethod
    def of(cls, query: Asking) -> Drawing:
        """Return what a query asks for.

        Raises
        ------
        InvalidInput
            If the axis does not exist, or the smoothing is out of its bounds.
        """
        axis = query.get("axis", "") or "step"
        if axis not in AXES:
            hint = f"use {', '.join(AXES)}"
            raise InvalidInput("query", "axis", "does not exist", given=axis[:40], hint=hint)
        text = query.get("smooth", "") or "0"
        try:
            smooth = float(text)
        except ValueError:
            smooth = -1.0
        if not 0 <= smooth < 1:
            hint = "write ?smooth=0.6"
            raise InvalidInput("query", "smooth", "is not at least 0 and below 1", given=text[:40], hint=hint)
        return cls(axis, smooth, query.get("log", "") == "1")

    def text(self) -> str:
        """Return what a reader of a chart should know of it."""
        axis = {"step": "by step", "relative": "by time since the run began", "wall": "by time, UTC"}
        smoothed = f", smoothed by {self.smooth:g} over the band of raw values" if self.smooth else ""
        return f"{axis[self.axis]}{smoothed}{', logarithmic' if self.log else ''}"


def run_page(now: Reading, run: str, query: Asking) -> Page:
    """Return one run.

    Raises
    ------
    NotFound
        If there is none.
    InvalidInput
        If the query is not understood.
    """
    desk = now.require_runs()
    drawing = Drawing.of(query)
    with desk.search.reading() as db:
        found = desk.run(db, run)
        line = line_of(found)
        own = [name for name in line.metrics if not name.startswith(SYSTEM)]
        system = [name for name in line.metrics if name.startswith(SYSTEM)]
        chosen = [name for name in query.getlist("metric") if name in line.metrics]
        curved = chosen or [name for name in own if line.metrics[name].n > 1]
        curves = {
            name: desk.curves(
                db, [found], [name], axis=drawing.axis, n_buckets=BUCKETS, smoothing=drawing.smooth
            )
            for name in (*curved[:MOST_CHARTS], *system[:MOST_CHARTS])
        }
        data: dict[str, object] = {
            "run": line,
            "experiment": desk.experiment(db, found.experiment),
            "versions": desk.versions(db, found.id),
            "files": _entries(artifacts.listed(db, f"runs/{found.id}")),
        }
    data |= _said(found)
    data |= {
        "own": own,
        "system": system,
        "curved": curved[:MOST_CHARTS],
        "n_curved": len(curved),
        "drawing": drawing,
        "axes": AXES,
        "curves": curves,
        "goals": {name: goal_of(name) for name in own},
        "live": _live(found),
        "can_stop": heeds_stop(found) and STOP not in found.tags,
        "stop_asked_by": "" if found.status in ENDED else found.tags.get(STOP, ""),
    }
    charts = {name: _chart(name, one, drawing) for name, one in curves.items()}
    scripts = ("live.js",) if data["live"] else ()
    return Page(found.name, "run.html", data, charts, scripts, acts=bool(data["can_stop"]))


def _live(run: reading.Run) -> str:
    return "" if run.status in ENDED else f"/live?{urlencode({'run': run.id})}"


def _said(run: reading.Run) -> dict[str, object]:
    """Return what a run says of itself, its code, and what it read and made."""
    source = {told: run.tags[tag] for tag, told in SOURCE.items() if tag in run.tags}
    shown = {name: value for name, value in run.tags.items() if name not in (*SOURCE, NOTE, RUN_NAME)}
    return {
        "note": run.tags.get(NOTE, ""),
        "source": source,
        "tags": dict(sorted(shown.items())),
        "datasets": run.datasets,
        "models": run.models,
        "outputs": run.outputs,
    }


def _chart(name: str, found: Curves, drawing: Drawing) -> Markup:
    one = found.curves[0]
    known = [value for value in one.last if value is not None]
    told = f"{one.n_points:,} points, from {known[0]:.4g} to {known[-1]:.4g}" if known else "no number"
    gaps = f", {len(one.not_numbers)} stretches with what is not a number" if one.not_numbers else ""
    description = f"{name} {drawing.text()}: {told}{gaps}."
    return curve_chart(name, found, [Labelled("", 0)], description=description, height=140, log=drawing.log)


class Listed(msgspec.Struct, frozen=True):
    """A file or a folder of a run."""

    name: str
    path: str
    size: int | None
    is_folder: bool


def _entries(files: list[Artifact]) -> list[Listed]:
    return [Listed(one.path.rpartition("/")[2], one.path, one.size, one.is_folder) for one in files]


def artifact_page(now: Reading, run: str, query: Asking) -> Page:
    """Return a folder of a run's artifacts, or one of them as far as it can be shown safely.

    Raises
    ------
    NotFound
        If there is no such run, or nothing under that path.
    """
    desk = now.require_runs()
    path = query.get("path", "").strip("/")
    with desk.search.reading() as db:
        found = desk.run(db, run)
        owner = f"runs/{found.id}"
        files = artifacts.listed(db, owner, path)
        kept = None if files or not path else artifacts.find(db, owner, path)
    above = path.rpartition("/")[0]
    data: dict[str, object] = {
        "run": line_of(found),
        "place": path,
        "above": above,
        "files": _entries(files),
        "kept": None if kept is None else Listed(path.rpartition("/")[2], path, kept.size, is_folder=False),
        "digest": "" if kept is None else kept.digest,
        "shown": Shown("none") if kept is None else shown(desk.blobs, kept),
        "download": f"/get-artifact?{urlencode({'run_uuid': found.id, 'path': path})}",
        "picture": f"/runs/{found.id}/picture?{urlencode({'path': path})}",
    }
    return Page(path or f"Artifacts of {found.name}", "artifact.html", data)


def picture_of(desk: RunDesk, run: str, path: str) -> tuple[bytes, str]:
    """Return the bytes of a picture and its type, for a page to show.

    Raises
    ------
    NotFound
        If there is no such file, or it is none that may be shown as a picture.
    """
    with desk.search.reading() as db:
        kept = artifacts.find(db, f"runs/{desk.run(db, run).id}", path)
    return picture(desk.blobs, kept)
