"""What the trainings of a live loop are made from, kept with their runs as with those of scripts.

A version's code, packages, rows and seed are on record in any case, in replays too. What only a machine can
say, such as its processor, the commit and what was changed since, is noted beside, in tags and artifacts of
the training's run, so that no ledger of a replay depends on it. A training that began in the moment of a
crash may be without.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from varv.home.tracking.desk import TrackingDesk
from varv.kernel.errors import VarvError
from varv.kernel.ledger import Entry, Ledger
from varv.kernel.observe import log
from varv.kernel.recorder import Write
from varv.loop.model import RetrainTriggered
from varv.registry.model import training_run
from varv.runs import artifacts
from varv.runs.capture import captured

AT_ONCE = 1000
LOOKS_EVERY_S = 0.5
_LOG = logging.getLogger(__name__)


class TrainingCaptures:
    """Notes what trainings are made from, once they are triggered.

    Parameters
    ----------
    project
        The file of the project, or its folder.
    home
        Of the home, which is no source.
    variables
        The environment that trainings run in.
    """

    def __init__(
        self, desk: TrackingDesk, ledger: Ledger, project: Path, home: Path, variables: Mapping[str, str]
    ) -> None:
        self._desk, self._ledger = desk, ledger
        self._folder = project if project.is_dir() else project.parent
        self._file = "." if project.is_dir() else project.name
        self._home, self._variables = home, variables
        self._position = ledger.head().version

    def follow(self, stop: threading.Event) -> None:
        """Look at what is triggered until told to stop."""
        while not stop.is_set():
            if not self._ledger.wait(self._position, LOOKS_EVERY_S):
                continue
            for entry in self._ledger.read(self._position, limit=AT_ONCE):
                self._position = entry.seq
                if entry.name == RetrainTriggered.event_name:
                    self._note(entry)

    def _note(self, entry: Entry) -> None:
        event = entry.event
        assert isinstance(event, RetrainTriggered), "that is its name"
        run = training_run(entry.stream.partition("/")[2], event.version)
        try:
            self._keep(run)
        except VarvError as error:
            # No training waits for this, and none fails by it.
            log(_LOG, logging.WARNING, "training.not_captured", run=run, why=str(error))

    def _keep(self, run: str) -> None:
        taken = captured(self._folder, self._file, (), self._variables, home=self._home)
        # The run is one that is folded from the entry that was just read.
        logged = self._desk.runs.log(run, tags={**taken.tags(), "mlflow.source.type": "JOB"})
        self._desk.recorder.do(Write(logged.work, fresh=True))
        for path, content in taken.artifacts().items():
            digest = self._desk.runs.blobs.put(content)
            self._desk.recorder.do(artifacts.keep(f"runs/{run}", path, digest, len(content)))
