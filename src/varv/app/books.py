"""Where pipelines and studies put their runs on record: a home that nobody serves, or the server of one."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from varv.app.compose import owned_tracking
from varv.app.scripts.homes import reached
from varv.app.server.server_file import running_server
from varv.app.settings import Settings
from varv.fronts.mlflow.client import TrackingClient
from varv.kernel.clock import Clock, SystemClock
from varv.kernel.faults import Faults
from varv.runs import HomeBook, RunBook
from varv.runs.book import TakenDown, in_parts
from varv.runs.left_behind import process_tag
from varv.runs.model import ExperimentId, RunId, Status


@contextmanager
def open_book(settings: Settings) -> Generator[RunBook]:
    """Give what takes down runs in a home: its server if one runs, else this process, its owner meanwhile.

    Raises
    ------
    FailedPrecondition
        If another process owns the home that is no server.
    """
    clock = SystemClock()
    if (server := running_server(settings)) is not None:
        with reached(server, settings) as home:
            yield ServerBook(home.runs, clock)
        return
    with owned_tracking(settings.home, faults=Faults.parse(settings.fault)) as desk:
        yield HomeBook(desk.runs, clock)


class ServerBook:
    """Takes down runs in a home that a server owns.

    Parameters
    ----------
    runs
        Reaches the server.
    """

    def __init__(self, runs: TrackingClient, clock: Clock) -> None:
        self._runs, self._clock = runs, clock
        self._places: dict[RunId, str] = {}

    @property
    def is_alone(self) -> bool:
        """False: several may run at a time beside a server, and nobody here knows which still do."""
        return False

    def experiment(self, name: str) -> ExperimentId:
        """Return the experiment of a name, made if it is not there."""
        return ExperimentId(self._runs.experiment(name))

    def begin(self, experiment: ExperimentId, name: str, tags: Mapping[str, str]) -> RunId:
        """Begin a run."""
        told = {**process_tag(), **tags}
        begun = self._runs.begin(experiment, name=name, user="", at_ms=self._now_ms(), tags=told)
        self._places[RunId(begun.run)] = begun.place
        return RunId(begun.run)

    def log(
        self,
        run: RunId,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        step: int = 0,
    ) -> None:
        """Put parameters, tags and points of metrics on record."""
        at_ms, points = self._now_ms(), metrics
        for some, told in in_parts(params or {}, tags or {}):
            self._runs.log(run, metrics=points, step=step, at_ms=at_ms, params=some, tags=told)
            points = None

    def keep(self, run: RunId, path: str, data: bytes) -> None:
        """Put a file among the artifacts of a run."""
        place = self._places.get(run) or self._runs.place(run)
        self._runs.put(place, path, data)

    def end(self, run: RunId, status: Status) -> None:
        """End a run."""
        self._runs.end(run, status, self._now_ms())

    def tagged(self, experiment: ExperimentId, tag: str) -> list[TakenDown]:
        """Return the runs with a tag, in the order in which they began."""
        return [
            TakenDown(RunId(run), status, tags) for run, status, tags in self._runs.tagged(experiment, tag)
        ]

    def _now_ms(self) -> int:
        return self._clock.now() // 1000
