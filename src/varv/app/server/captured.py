"""What a server takes in: the files that its workers and its control port captured, and those of writers that
are gone; and how many answers were given that nobody captured.
"""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from varv.app.server.fleet import Workers
from varv.home.live import Live, Sealed
from varv.kernel.clock import Instant
from varv.kernel.columns import segment_name
from varv.kernel.ids import ModelName
from varv.kernel.tracing import Tracer
from varv.serving import CaptureLog
from varv.serving.capture import is_abandoned, remove_log


class Captured:
    """What was captured, on its way to the datasets of a home.

    Parameters
    ----------
    folder
        Where all writers have folders of their own.
    workers
        Who capture what they answer.
    tracer
        Records when something is taken in; None records nothing.
    """

    def __init__(self, folder: Path, workers: Workers, tracer: Tracer | None) -> None:
        self._folder = folder
        self._workers = workers
        self._tracer = tracer
        self._log: CaptureLog | None = None
        self._log_folder: Path | None = None
        self._n_recorded = 0
        # Taken from the workers, and on record once the disk takes it.
        self._uncaptured: Counter[ModelName] = Counter()

    @property
    def log(self) -> CaptureLog:
        """What keeps the rows that are sent to the control port."""
        assert self._log is not None, "it comes before whoever takes rows"
        return self._log

    def make_log(self, at: Instant) -> CaptureLog:
        """Return a log for the control port, which is still to be opened."""
        self._log_folder = self._folder / f"{segment_name(at)}-api"
        self._log = CaptureLog(self._log_folder)
        return self._log

    def close(self) -> None:
        """End the log of the control port: what is in it is one of the leftovers from now on."""
        if self._log is not None:
            self._log.close()
            self._log_folder = None

    def take(self, live: Live) -> None:
        """Take in what was captured so far."""
        files = [*self._workers.seal(), *self.log.seal()]
        with (
            nullcontext()
            if self._tracer is None or not files
            else self._tracer.span("ingest", about={"varv.files": len(files)})
        ):
            live.ingest([_sealed(path) for path in sorted(files)])
        live.ingest(self.leftovers())
        self._uncaptured.update(self._workers.take_uncaptured())
        live.note_uncaptured(self._uncaptured)
        self._n_recorded += self._uncaptured.total()
        self._uncaptured.clear()

    def leftovers(self) -> list[Sealed]:
        """Return the files of writers that are gone; their folders are removed once they are empty."""
        found: list[Sealed] = []
        ours = self._workers.capture_folders()
        for folder in sorted(self._folder.iterdir()) if self._folder.is_dir() else []:
            if folder in ours or folder == self._log_folder or not is_abandoned(folder):
                continue
            files = sorted(folder.glob("[0-9]*.jsonl"))
            found += [_sealed(path) for path in files]
            if not files:
                remove_log(folder)
        return found

    @property
    def n_uncaptured(self) -> int:
        """How many answers were given without capture since the server began."""
        return self._n_recorded + self._uncaptured.total() + self._workers.n_uncaptured


def _sealed(path: Path) -> Sealed:
    return Sealed(f"{path.parent.name}-{path.stem}", path)
