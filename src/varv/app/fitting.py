"""Fits in processes of their own: the job that fits one model, the job that reads one that was trained
elsewhere, and the fitter that hands them to an executor.

The job loads the project anew where it runs, so that only data goes there: rows, parameters, the package to
go on from. `varv up` fits like this; replays and homes without a file fit in their own process
(`training.ports.DirectFits`). The same input gives the same package in both.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import ClassVar, Self

import msgspec

from varv.adapters.runtimes import installed_runtimes
from varv.kernel.codec import Digest, digest_of
from varv.kernel.errors import Corrupt, FailedPrecondition, UserCodeFailed
from varv.kernel.executor import Executor, Job, Limits
from varv.kernel.ids import ModelName, Version
from varv.pipelines import code_closure
from varv.project import load_project
from varv.registry import Package, Runtimes, open_package
from varv.registry.endpoint import is_endpoint
from varv.tasks import Task, TaskSpec, task_of
from varv.training import FitInput, FitOf, ImportInput, Train, fit_package
from varv.training.imported import import_model
from varv.training.output_log import OutputLog, output_path
from varv.training.recipe import name_of

_LENGTH_BYTES = 8
_FIT_HINT = "return the fitted estimator, and leave varv's own modules as they are"


class _About(msgspec.Struct, frozen=True):
    place: str
    model: ModelName
    function: str
    code: str


class FitJob(msgspec.Struct, frozen=True):
    """One fit of a model's training function."""

    entry: ClassVar[str] = "varv.app.fitting:FitJob"

    place: str
    """The project: a file or a folder, as a whole path, or ``FILE:name``."""
    model: ModelName
    function: str
    """What the function is called."""
    code: str
    """Digest of the code that it reaches, as the owner has loaded it."""
    given: FitInput

    @property
    def subject(self) -> tuple[str, str]:
        """The author's function."""
        return "function", self.function

    def encode(self) -> bytes:
        """Return the job as bytes: what it is, and its input as columns."""
        about = msgspec.msgpack.encode(_About(self.place, self.model, self.function, self.code))
        # As large as it will be: a buffer that grows is copied as often as it does.
        stream = io.BytesIO(bytes(len(about) + self.given.most_bytes))
        stream.write(len(about).to_bytes(_LENGTH_BYTES, "big") + about)
        self.given.write(stream)
        stream.truncate()
        return stream.getvalue()

    @classmethod
    def decode(cls, data: bytes, /) -> Self:
        """Return the job that `encode` wrote.

        Raises
        ------
        Corrupt
            If it is not what was written.
        """
        stream = io.BytesIO(data)
        n_about = int.from_bytes(stream.read(_LENGTH_BYTES), "big")
        try:
            about = msgspec.msgpack.decode(stream.read(n_about), type=_About)
        except msgspec.MsgspecError as error:
            raise Corrupt("job", "fit", "cannot be read", why=str(error)) from None
        return cls(about.place, about.model, about.function, about.code, FitInput.read(stream))

    def run(self) -> bytes:
        """Load the project, fit, and return the package.

        Raises
        ------
        FailedPrecondition
            If the function has another code than its owner has loaded: what it makes would be recorded as
            made by that.
        """
        [model] = load_project(self.place).only(self.model).models
        if _code_of(model.train) != self.code:
            problem = "has changed since varv up loaded it"
            hint = "run varv apply, or start varv up again"
            raise FailedPrecondition("function", self.function, problem, hint=hint)
        return fit_package(model.train, model.task, self.given, installed_runtimes())


class ImportJob(msgspec.Struct, frozen=True):
    """Making a package of a model that was trained elsewhere: a library reads a file that it did not write,
    which may end the process.
    """

    entry: ClassVar[str] = "varv.app.fitting:ImportJob"

    task: TaskSpec
    given: ImportInput

    @property
    def subject(self) -> tuple[str, str]:
        """The file."""
        return "file", self.given.foreign.name

    def encode(self) -> bytes:
        """Return the job as bytes."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes, /) -> Self:
        """Return the job that `encode` wrote.

        Raises
        ------
        Corrupt
            If it is not what was written.
        """
        try:
            return msgspec.msgpack.decode(data, type=cls)
        except msgspec.MsgspecError as error:
            raise Corrupt("job", "import", "cannot be read", why=str(error)) from None

    def run(self) -> bytes:
        """Return the package, once it is found to fit and to answer."""
        return import_model(self.given, task=task_of(self.task), runtimes=installed_runtimes())


class ProcessFits:
    """Fits each model in a process of its own, and keeps what is printed.

    Parameters
    ----------
    executor
        Runs the jobs.
    place
        The project, as `load_project` takes it.
    home
        What is printed is kept in its folder ``output``.
    limits
        What one fit may take, unless its ``Train`` says otherwise.
    runtimes
        Ask endpoints that become versions; those that are installed by default.
    """

    def __init__(
        self, executor: Executor, place: str, home: Path, limits: Limits, runtimes: Runtimes | None = None
    ) -> None:
        self._executor = executor
        self._place = place
        self._home = home
        self._limits = limits
        self._runtimes = runtimes or installed_runtimes()

    def fit(self, which: FitOf, train: Train, task: Task, given: FitInput) -> bytes:
        """Return the package, as `Fitter.fit` says.

        Raises
        ------
        UserCodeFailed
            Also if what came back is no package of these rows.
        """
        job = FitJob(self._place, which.model, name_of(train.fit), _code_of(train), given)
        made = self._run(job, which, self._limits_of(train))
        package = _package(made, job.subject, _FIT_HINT)
        if (package.n_rows, package.seed) != (given.n_taken(task), given.seed):
            raise UserCodeFailed(*job.subject, "led to the package of another fit", hint=_FIT_HINT)
        return made

    def take_in(self, which: FitOf, task: Task, given: ImportInput) -> bytes:
        """Return the package, as `Fitter.take_in` says."""
        if is_endpoint(given.foreign.data):
            # No library reads it, and a job is not told tokens.
            return import_model(given, task=task, runtimes=self._runtimes)
        job = ImportJob(task.spec, given)
        made = self._run(job, which, self._limits)
        _package(made, job.subject, "build it again where it was trained")
        return made

    def _run(self, job: Job, which: FitOf, limits: Limits) -> bytes:
        log = OutputLog(output_path(self._home, which.model, which.version), self._limits.output_bytes)
        log.begin(which.step)
        try:
            return self._executor.run(
                job, limits=limits, on_output=log.write, cancelled=which.cancelled
            ).value
        finally:
            log.finish()

    def printed(self, model: ModelName, version: Version) -> bytes:
        """Return what is kept of what the fits of a version printed."""
        try:
            return output_path(self._home, model, version).read_bytes()
        except OSError:
            return b""

    def _limits_of(self, train: Train) -> Limits:
        declared = {"time_s": train.time_s, "memory_bytes": train.memory_bytes}
        given = {name: value for name, value in declared.items() if value is not None}
        return msgspec.structs.replace(self._limits, **given)


def _code_of(train: Train) -> Digest:
    return digest_of([code_closure(function).digest for function in train.code])


def _package(made: bytes, subject: tuple[str, str], hint: str) -> Package:
    """Return what a process made in which the author's code ran.

    Raises
    ------
    UserCodeFailed
        If it is no package.
    """
    try:
        return open_package(made)
    except Corrupt as error:
        raise UserCodeFailed(*subject, "led to no package", why=str(error), hint=hint) from None
