"""The executor: the port behind which the author's code runs, and what goes to it and comes back.

Who trains, judges or explains describes the work as a `Job` and hands it to an `Executor`. Only bytes go in
and come out, so that a job can run in another process or on another machine; nothing is pickled. The adapter
`InProcess` runs a job where it is asked; `adapters.processes` gives every job a process of its own. What the
ends of a job are called as errors is in `kernel.job_ends`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, Protocol, Self

import msgspec

from varv.kernel.clock import cpu_seconds, wall_seconds
from varv.kernel.errors import InvalidInput, UserCodeFailed
from varv.kernel.job_ends import Output, Subject, was_cancelled
from varv.kernel.user_code import UserCode

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

Ability = Literal["output", "limits", "isolation", "cancel"]
"""What not every executor can do: keep what a job prints; end a job that breaks a limit; go on whatever a
job does to its process, and leave nothing of it behind; end a running job when it is asked to.
"""

OnOutput = Callable[[bytes], None]


class Job(Protocol):
    """Work for an executor: a frozen struct that can be written as bytes and read back elsewhere."""

    entry: ClassVar[str]
    """Where the class is found, as ``"package.module:Class"``; it must be importable where it runs."""

    @property
    def subject(self) -> Subject:
        """Kind and name of what runs, as errors will name it, such as ``("function", "fit")``."""
        ...

    def encode(self) -> bytes:
        """Return all that the job needs to run."""
        ...

    @classmethod
    def decode(cls, data: bytes, /) -> Self:
        """Return the job that `encode` wrote."""
        ...

    def run(self) -> bytes:
        """Do the work and return its result; may raise anything."""
        ...


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one job may take.

    Raises
    ------
    InvalidInput
        If a limit is not positive.
    """

    time_s: float = 3600.0
    """Seconds from the moment the job's code is called. An hour: a fit of millions of rows takes minutes, and
    one that hangs should not take the day."""
    memory_bytes: int = 4 * GIB
    """Memory of all its processes together. Four gibibytes: half of a small machine, since others serve on
    it."""
    n_processes: int = 512
    """Processes that it may have at once; libraries start one for each processor."""
    output_bytes: int = 256 * KIB
    """What is kept of all that it prints: half from the beginning, half from the end."""
    result_bytes: int = 512 * MIB
    """The size of its result; that of the largest package that is opened."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise InvalidInput("limit", name, "is not positive", given=getattr(self, name))


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A job that returned, and what it took."""

    value: bytes
    """What it returned."""
    output: Output
    """What it printed; empty where the executor does not keep it."""
    cpu_s: float
    """Processor seconds of all its processes, their children included."""
    peak_bytes: int
    """The most memory that was seen in use by all its processes together; 0 where nobody looked."""
    wall_s: float
    """Seconds from the call of its code to its end."""


class Cancelled(Protocol):
    """What says that a job is not wanted any more; a `threading.Event` does."""

    def is_set(self) -> bool:
        """Return whether the job is to end."""
        ...


class Executor(Protocol):
    """Runs jobs, each to one end; may be called from several threads."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """What it can do beyond running jobs."""
        ...

    def run(
        self,
        job: Job,
        *,
        limits: Limits,
        on_output: OnOutput | None = None,
        cancelled: Cancelled | None = None,
    ) -> Finished:
        """Run a job to its end, wherever that is, and return what it returned.

        Parameters
        ----------
        job
            What to do.
        limits
            What it may take; enforced by an executor that has the ability.
        on_output
            Called with what the job prints, standard output and error together, as it comes, from another
            thread. If it is slow it is told how much it missed; what it raises ends the job and is raised.
        cancelled
            Ends the job, or its wait for its turn, once set.

        Raises
        ------
        UserCodeFailed
            If the job's code raised, broke a limit, or ended its process.
        Interrupted
            If the job was cancelled.
        Unavailable
            If no place could be made for it to run.
        VarvError
            Any other that the job raised, with the same code, subject, problem, hint and facts.
        """
        ...

    def close(self) -> None:
        """End what is running and refuse what comes later; closing again is harmless."""
        ...


class InProcess:
    """Runs each job where it is asked, in the thread that asks: for replays and tests.

    It enforces no limit: a job that hangs, leaks or ends the process does so to its caller. What a job prints
    goes where the caller's output goes, and once it runs nothing cancels it.
    """

    @property
    def abilities(self) -> frozenset[Ability]:
        """None."""
        return frozenset()

    def run(
        self,
        job: Job,
        *,
        limits: Limits,
        on_output: OnOutput | None = None,
        cancelled: Cancelled | None = None,
    ) -> Finished:
        """Run a job and return what it returned, as `Executor.run` says; `limits` are not enforced."""
        if cancelled is not None and cancelled.is_set():
            raise was_cancelled(job.subject)
        wall, cpu = wall_seconds(), cpu_seconds()
        value = result_of(job)
        return Finished(
            value=value,
            output=Output(),
            cpu_s=cpu_seconds() - cpu,
            peak_bytes=0,
            wall_s=wall_seconds() - wall,
        )

    def close(self) -> None:
        """Do nothing: nothing runs on."""


def result_of(job: Job) -> bytes:
    """Run a job here and return its result.

    Raises
    ------
    UserCodeFailed
        If its code raised, or returned something else than bytes.
    """
    kind, name = job.subject
    with UserCode(kind, name):
        value = job.run()
    if not isinstance(value, bytes):
        hint = "return bytes"
        raise UserCodeFailed(kind, name, f"returned {type(value).__name__}, not bytes", hint=hint)
    return value
