"""The executor that gives every job a process of its own, on this machine: `Processes`.

A process serves one job and ends, so nothing leaks from one job to the next, and whatever a job does to its
process it does to that one. A spare that has imported the large libraries waits for the next job, so that it
starts in milliseconds. What protects whom from what is in ``docs/explanation/user-code.md``; the parts are in
`adapters.jobs`. It is no sandbox: jobs run as the owner's user.
"""

from __future__ import annotations

import tempfile
import threading
from collections import deque
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from varv.adapters.jobs.judging import judged
from varv.adapters.jobs.output import OutputReader
from varv.adapters.jobs.process import JobProcess, Surroundings
from varv.adapters.jobs.watching import EVERY_S, Watch
from varv.kernel.errors import InvalidInput, Unavailable, VarvError
from varv.kernel.executor import Ability, Cancelled, Finished, Job, Limits, OnOutput
from varv.kernel.job_ends import was_cancelled

PRELOAD = (
    "numpy",
    "polars",
    "scipy.sparse",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.utils",
    "sklearn.model_selection",
    "sklearn.ensemble",
    "skl2onnx",
    "onnxruntime",
)
"""What most trainings import: three seconds of a processor. In steps, since a job that comes meanwhile waits
for the one under way."""


class Processes:
    """Runs each job in a process of its own.

    Parameters
    ----------
    variables
        The environment that jobs start from, such as that of this process; variables that are named or look
        like secrets, and varv's own, are not passed on.
    keep_variables
        Names of variables that are passed on although they look like secrets.
    n_at_once
        Jobs that run at the same time; more wait for their turn in the order in which they came.
    n_spares
        Processes that wait ready for a job, each about 150 MB; they are started beside the first job.
    spare_for_s
        A spare that is not used for so long ends, and the job after that starts anew.
    preload
        Modules that a spare imports.
    n_threads
        Threads that numeric libraries may use in a job; None leaves it to the variables. Some models differ
        with it in their last bits.
    nice
        How far jobs stand back behind what serves, from 0 to 19.
    folder
        Where the files of jobs are, the encoded job and its result among them; the system's folder for
        temporary files by default, which should be on disk rather than in memory.

    Raises
    ------
    InvalidInput
        If a number is out of range.
    """

    def __init__(
        self,
        variables: Mapping[str, str],
        *,
        keep_variables: Collection[str] = (),
        n_at_once: int = 1,
        n_spares: int = 1,
        spare_for_s: float = 600.0,
        preload: Collection[str] = PRELOAD,
        n_threads: int | None = None,
        nice: int = 10,
        folder: Path | None = None,
    ) -> None:
        _require("n_at_once", n_at_once, 1, 1024)
        _require("n_spares", n_spares, 0, 64)
        _require("nice", nice, 0, 19)
        _require("n_threads", 1 if n_threads is None else n_threads, 1, 4096)
        self._surroundings = Surroundings(
            variables=dict(variables),
            keep_variables=frozenset(keep_variables),
            n_threads=n_threads,
            nice=nice,
            spare_for_s=spare_for_s,
            folder=Path(tempfile.gettempdir()) if folder is None else folder,
            preload=tuple(preload),
        )
        self._n_at_once = n_at_once
        self._n_spares = n_spares
        self._spares: deque[JobProcess] = deque()
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._n_running = 0
        self._closed = False

    @property
    def abilities(self) -> frozenset[Ability]:
        """All of them; on other systems than Linux, memory is not limited."""
        return frozenset({"output", "limits", "isolation", "cancel"})

    def run(
        self,
        job: Job,
        *,
        limits: Limits,
        on_output: OnOutput | None = None,
        cancelled: Cancelled | None = None,
    ) -> Finished:
        """Run a job and return what it returned, as `Executor.run` says.

        Raises
        ------
        Unavailable
            Also if this executor is closed, or closes meanwhile: what was not done can be done later.
        """
        with self._turn(job, cancelled):
            while (spare := self._spare()) is not None:
                # A spare may end just as it is taken, and has not called the job's code then.
                if finished := self._run_in(spare, job, limits, on_output, cancelled):
                    return finished
            process = JobProcess(self._surroundings)
            if finished := self._run_in(process, job, limits, on_output, cancelled):
                return finished
            hint = "see that `python -m varv.adapters.jobs.supervisor` starts"
            raise Unavailable("executor", "processes", "started a process that ended at once", hint=hint)

    def close(self) -> None:
        """End what is running and refuse what comes later; closing again is harmless."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            spares, self._spares = self._spares, deque()
        for spare in spares:
            spare.close()
        with self._changed:
            self._changed.wait_for(lambda: self._n_running == 0)

    def _run_in(
        self,
        process: JobProcess,
        job: Job,
        limits: Limits,
        on_output: OnOutput | None,
        cancelled: Cancelled | None,
    ) -> Finished | None:
        """Run a job in a process; return None if that had ended before it was given the job."""
        seen = ()
        try:
            process.begin(job, limits)
            reader = OutputReader(process.output, limits.output_bytes, on_output)
            try:
                self._replenish()
                watch = Watch(process, limits, lambda: self._unwanted(cancelled) or reader.failed is not None)
                end = watch.until_end()
                seen = watch.seen
            finally:
                output = reader.finish()
            if reader.failed is not None:
                raise reader.failed
            return None if end is None else judged(job.subject, end, process, output, limits)
        finally:
            process.close(seen)

    @contextmanager
    def _turn(self, job: Job, cancelled: Cancelled | None) -> Generator[None]:
        """Wait until fewer than `n_at_once` others run, those that came before included."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or self._n_running >= self._n_at_once:
                    self._require_wanted(job, cancelled)
                    self._changed.wait(EVERY_S)
                self._require_wanted(job, cancelled)
                self._n_running += 1
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._n_running -= 1
                self._changed.notify_all()

    def _require_wanted(self, job: Job, cancelled: Cancelled | None) -> None:
        if self._unwanted(cancelled):
            raise was_cancelled(job.subject)

    def _unwanted(self, cancelled: Cancelled | None) -> bool:
        return self._closed or (cancelled is not None and cancelled.is_set())

    def _spare(self) -> JobProcess | None:
        """Return a process that waits for a job, or None if none does."""
        while True:
            with self._changed:
                spare = self._spares.popleft() if self._spares else None
            if spare is None or not spare.ended:
                return spare
            spare.close()

    def _replenish(self) -> None:
        """Start what is missing of the spares, beside the job that took one: it is ready for the next."""
        for _ in range(self._n_spares):
            with self._changed:
                if self._closed or len(self._spares) >= self._n_spares:
                    return
            try:
                spare = JobProcess(self._surroundings)
            except VarvError:
                return  # the job that runs needs none, and the next one will say so
            with self._changed:
                fits = not self._closed and len(self._spares) < self._n_spares
                if fits:
                    self._spares.append(spare)
            if not fits:
                spare.close()


def _require(name: str, number: int, least: int, most: int) -> None:
    if not least <= number <= most:
        hint = f"choose a number from {least} to {most}"
        raise InvalidInput("executor", name, "is out of range", given=number, hint=hint)
