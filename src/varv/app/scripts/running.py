"""One script as one run: captured, started, watched, and ended with its status on record.

The script logs into its run by any client of MLflow, which finds where in its variables. What it was
configured with it leaves in a file that `app.client.configuring` writes; nothing else is asked of it.
"""

from __future__ import annotations

import re
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from varv.adapters.machine_metrics import MachineMetrics
from varv.adapters.scripts import Ended, run_script
from varv.app.client.configuring import HANDOVER, Handover
from varv.app.scripts.homes import Tracked
from varv.app.scripts.predictions import require_format
from varv.fronts.mlflow.client import Begun
from varv.kernel.clock import SystemClock, wall_seconds
from varv.kernel.codec import Digest
from varv.kernel.errors import InvalidInput, Unavailable, VarvError
from varv.kernel.executor import Cancelled, OnOutput
from varv.runs.artifacts import require_path
from varv.runs.capture import CONFIG, OUTPUT, Captured, captured, user
from varv.runs.config import without_secrets
from varv.runs.left_behind import process_tag
from varv.runs.model import Status
from varv.runs.verbs import STOP

PARENT = "mlflow.parentRunId"
EXIT_STATUS, LAST_LINES, NOT_WRITTEN = "varv.exit_status", "varv.last_lines", "varv.not_written"
OUTPUTS = "outputs"
"""The folder of a run's artifacts that what it wrote is in."""
_LOOKS_EVERY_S = 1.0
_MEASURES_EVERY_S = 10.0
"""As often as MLflow does."""
_MOST_OUTPUT_FILES = 1000
_PATIENCE_S = 60.0
_ASSIGNED = re.compile(r"(?:--)?([A-Za-z_][\w.-]*)=(.*)", re.DOTALL | re.ASCII)


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """A script to be run.

    Raises
    ------
    InvalidInput
        If a path leads out of the working folder, there is no such file, or predictions have a format that
        is not read.
    """

    file: str
    """From the working folder."""
    arguments: tuple[str, ...] = ()
    folder: Path
    """The working folder."""
    variables: dict[str, str]
    """Its environment."""
    python: Path = Path(sys.executable)
    experiment: str = "Default"
    name: str = ""
    tags: dict[str, str] = {}
    parent: str = ""
    """The run that it is part of."""
    data: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    predictions: str = ""

    def __post_init__(self) -> None:
        for path in (*self.outputs, *filter(None, (self.predictions,))):
            require_path(path)
        if self.predictions:
            require_format(self.predictions)
        if not (self.folder / self.file).is_file():
            hint = "give a file of Python, from the present folder"
            raise InvalidInput("script", self.file, "is not there", hint=hint)

    @property
    def written(self) -> tuple[str, ...]:
        """All that it is declared to write."""
        return tuple(dict.fromkeys((*self.outputs, *filter(None, (self.predictions,)))))


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has ended."""

    run: str
    name: str
    status: Status
    exit_status: int
    """Of the script; negative is the signal that ended it."""
    wall_s: float
    last_lines: tuple[str, ...]
    capture: Digest
    not_written: tuple[str, ...] = ()
    """Outputs that were declared, and that the script did not write."""


def run(
    script: Script,
    tracked: Tracked,
    *,
    stop: Cancelled,
    on_output: OnOutput | None = None,
    home: Path | None = None,
) -> Finished:
    """Run a script to its end as a run.

    Parameters
    ----------
    stop
        Ends it, once set.
    on_output
        Called with what it prints.
    home
        The folder of the home, which is no source.

    Raises
    ------
    InvalidInput
        If a file that it needs is not there.
    Unavailable
        If the server cannot be reached, or the script not be started.
    """
    variables = {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1", **script.variables, **tracked.variables}
    taken = captured(
        script.folder,
        script.file,
        without_secrets(script.arguments),
        variables,
        python=None if script.python == Path(sys.executable) else script.python,
        home=home,
        data=script.data,
        outputs=script.outputs,
        predictions=script.predictions,
    )
    made = _begin(script, tracked, taken)
    try:
        _keep_capture(made, tracked, taken)
        return _run(script, made, tracked, taken, variables, stop, on_output)
    except BaseException:
        # Whatever it was, the run is not under way any more.
        with suppress(VarvError):
            tracked.runs.end(made.run, "FAILED", _now_ms())
        raise


def _run(
    script: Script,
    made: Begun,
    tracked: Tracked,
    taken: Captured,
    variables: Mapping[str, str],
    stop: Cancelled,
    on_output: OnOutput | None,
) -> Finished:
    with tempfile.TemporaryDirectory(prefix="run-") as folder:
        watch = _Watch(made, tracked, Path(folder) / "config.json", stop)
        own = {
            "MLFLOW_RUN_ID": made.run,
            "MLFLOW_EXPERIMENT_ID": made.experiment,
            HANDOVER: str(watch.handover),
        }
        before = {path: _stamp(script.folder / path) for path in script.written}
        command = (str(script.python), script.file, *script.arguments)
        there = {**variables, **own}
        ended = run_script(command, script.folder, there, stop=watch, look=watch.look, on_output=on_output)
        _patiently(watch.take_config)
    params = _assigned(script.arguments) if watch.params is None else watch.params
    _patiently(lambda: _log_params(made, tracked, params))
    missing = _keep_outputs(script, made, tracked, before)
    return _end(made, tracked, ended, missing, taken)


def _begin(script: Script, tracked: Tracked, taken: Captured) -> Begun:
    experiment = tracked.runs.experiment(script.experiment)
    tags = {
        **taken.tags(),
        **process_tag(),
        **({PARENT: script.parent} if script.parent else {}),
        **script.tags,
    }
    return tracked.runs.begin(experiment, name=script.name, user=user(), at_ms=_now_ms(), tags=tags)


def _keep_capture(made: Begun, tracked: Tracked, taken: Captured) -> None:
    for path, content in taken.artifacts().items():
        tracked.runs.put(made.place, path, content)
    tracked.runs.link(made.run, taken.capture.data)


class _Watch:
    """Looks after a run while its script runs; whether it is to end is what `is_set` says.

    A server that cannot be reached meanwhile ends no script: it is asked again with the next look.
    """

    def __init__(self, made: Begun, tracked: Tracked, handover: Path, stop: Cancelled) -> None:
        self.handover = handover
        self._made, self._tracked, self._stop = made, tracked, stop
        self._metrics = MachineMetrics(Path.cwd())
        self._n_read = 0
        self._looked = self._measured = wall_seconds()
        self._asked = False
        self.params: Mapping[str, str] | None = None
        """What the script was configured with, once it has said so."""

    def is_set(self) -> bool:
        return self._asked or self._stop.is_set()

    def look(self) -> None:
        now = wall_seconds()
        if now - self._looked < _LOOKS_EVERY_S:
            return
        self._looked = now
        with suppress(VarvError):
            self.take_config()
            self._asked = self._asked or STOP in self._tracked.runs.words(self._made.run).tags
            if now - self._measured >= _MEASURES_EVERY_S:
                self._measured = now
                metrics = self._metrics.read()
                self._tracked.runs.log(self._made.run, metrics=metrics, step=self._n_read, at_ms=_now_ms())
                self._n_read += 1

    def take_config(self) -> None:
        """Keep what the script was configured with, once it has said so."""
        if self.params is None and self.handover.exists():
            kept = self.handover.read_bytes()
            self._tracked.runs.put(self._made.place, CONFIG, kept)
            self.params = msgspec.json.decode(kept, type=Handover).plain


def _log_params(made: Begun, tracked: Tracked, params: Mapping[str, str]) -> None:
    """Log parameters but for those that the script has logged itself, in words of its own.

    Done once it has ended: what is logged before would make its own logging of the same fail.
    """
    known = tracked.runs.words(made.run).params
    tracked.runs.log(made.run, params={name: value for name, value in params.items() if name not in known})


def _assigned(arguments: Sequence[str]) -> dict[str, str]:
    """Return the arguments that give a name a value, as parameters."""
    found = filter(None, map(_ASSIGNED.fullmatch, without_secrets(arguments)))
    return {one[1]: one[2] for one in found}


def _keep_outputs(
    script: Script, made: Begun, tracked: Tracked, before: Mapping[str, tuple[int, int] | None]
) -> tuple[str, ...]:
    """Keep what the script was declared to write, and return what it did not, or what cannot be kept."""
    missing = []
    for path in script.written:
        place = script.folder / path
        if _stamp(place) in (None, before[path]):
            missing.append(path)
            continue
        for file in _files_at(place):
            name = file.relative_to(script.folder).as_posix()
            try:
                _patiently(
                    lambda name=name, file=file: tracked.runs.put(made.place, f"{OUTPUTS}/{name}", file)
                )
            except (InvalidInput, OSError):  # a name that no artifact may have, or nobody may read it
                missing.append(name)
    return tuple(missing)


def _end(
    made: Begun,
    tracked: Tracked,
    ended: Ended,
    missing: Sequence[str],
    taken: Captured,
) -> Finished:
    status: Status = "FINISHED" if ended.status == 0 else "FAILED"
    if ended.stopped or ended.status < 0:
        status = "KILLED"
    last_lines = ended.output.last_lines() if status != "FINISHED" else ()
    told = {
        EXIT_STATUS: str(ended.status),
        LAST_LINES: "\n".join(last_lines),
        NOT_WRITTEN: ", ".join(missing),
    }
    tags = {name: value for name, value in told.items() if value}
    _patiently(lambda: tracked.runs.put(made.place, OUTPUT, ended.output.text.encode()))
    _patiently(lambda: tracked.runs.log(made.run, tags=tags))
    _patiently(lambda: tracked.runs.end(made.run, status, _now_ms()))
    return Finished(
        run=made.run,
        name=made.name,
        status=status,
        exit_status=ended.status,
        wall_s=ended.wall_s,
        last_lines=last_lines,
        capture=taken.capture.digest,
        not_written=tuple(missing),
    )


def _patiently(tell: Callable[[], None]) -> None:
    """Tell a server something once more while it cannot be reached: what took hours is not to be lost
    because it was just started anew.
    """
    until = wall_seconds() + _PATIENCE_S
    while True:
        try:
            tell()
            return
        except Unavailable:
            if wall_seconds() > until:
                raise
        threading.Event().wait(1.0)


def _files_at(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    found = sorted(file for file in place.rglob("*") if file.is_file() and not file.is_symlink())
    return found[:_MOST_OUTPUT_FILES]


def _stamp(place: Path) -> tuple[int, int] | None:
    """Return what changes when a file is written anew, or a file in a folder; None if there is none."""
    try:
        stats = [file.stat() for file in _files_at(place)]
        return max(one.st_mtime_ns for one in stats), sum(one.st_size for one in stats)
    except (OSError, ValueError):
        return None


def _now_ms() -> int:
    return SystemClock().now() // 1000
