"""A run made again: its source checked out, its environment found or made, its script run twice, and what
came of it compared with the run. The verdict is an entry of the ledger.

Twice, since two reruns that differ from each other say that the script is not deterministic here, and two
that agree with each other and not with the run say that something has changed.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from varv.adapters.jobs.environment import repeatable
from varv.app.scripts.checkout import checked_out, within
from varv.app.scripts.environments import made, matches
from varv.app.scripts.homes import Tracked
from varv.app.scripts.predictions import predictions_in
from varv.app.scripts.running import OUTPUTS, PARENT, Finished, Script, run
from varv.kernel.codec import Digest
from varv.kernel.errors import (
    FailedPrecondition,
    Interrupted,
    InvalidInput,
    NotFound,
    UserCodeFailed,
)
from varv.kernel.executor import Cancelled, OnOutput
from varv.kernel.machine import machine
from varv.runs.capture import CAPTURE, PATCH, TAG, Capture, bears, differences, read_capture
from varv.runs.config import HIDDEN
from varv.runs.model import Difference, Verdict
from varv.runs.reproduction import BEST_FIRST, Comparison, Outcome, Tolerance, compared, worst
from varv.runs.verbs import ReproducedRequest, RunOutcome, RunRequest

N_TIMES = 2
REPRODUCES = "varv.reproduces"
"""The tag of a rerun that names the run that it is of."""
_OWN = "varv/"


class Reproduction(msgspec.Struct, frozen=True, kw_only=True):
    """What rerunning a run has shown."""

    run: str
    verdict: Verdict
    repeats: Verdict | None = None
    """How the two reruns compare with each other; None if there were no two."""
    differing: tuple[str, ...] = ()
    components: tuple[Difference, ...] = ()
    reruns: tuple[str, ...] = ()
    because: str = ""
    """Why it could not be run."""


class Way(NamedTuple):
    """How a run is to be made again."""

    repository: Path
    """A folder in the repository that holds its commit."""
    home: Path
    environment: Literal["recorded", "present"] = "recorded"
    """Whether one is made that is equal, where the present one is not, or the present one is used."""
    tolerance: Tolerance = Tolerance()


def reproduce(
    asked: str,
    tracked: Tracked,
    way: Way,
    variables: Mapping[str, str],
    *,
    stop: Cancelled,
    on_output: OnOutput | None = None,
) -> Reproduction:
    """Run a run again, twice, put on record what that has shown, and return it.

    Raises
    ------
    NotFound
        If there is no such run.
    FailedPrecondition
        If it was not captured, or has not ended.
    Corrupt
        If its capture is not what was captured.
    Interrupted
        If `stop` was set.
    """
    before = _outcome(tracked, asked)
    if before.status in ("RUNNING", "SCHEDULED"):
        raise FailedPrecondition("run", asked, "has not ended", hint="wait for it, or stop it")
    if TAG not in before.tags:
        hint = "only what varv run or a training has captured can be made again"
        raise FailedPrecondition("run", asked, "was not captured", hint=hint)
    place = tracked.runs.place(asked)
    capture = read_capture(tracked.runs.get(place, CAPTURE), before.tags[TAG])
    patch = tracked.runs.get(place, PATCH) if capture.source.patch else b""
    again = _Again(asked, capture, patch, before, way, variables, tracked, stop, on_output)
    found = again.judged()
    fields = msgspec.structs.asdict(found)
    request = ReproducedRequest(captures=(capture.digest, *again.captures), **fields)
    tracked.ask("runs.reproduced", request)
    return found


class _Again:
    """One run being made again."""

    def __init__(
        self,
        asked: str,
        capture: Capture,
        patch: bytes,
        before: RunOutcome,
        way: Way,
        variables: Mapping[str, str],
        tracked: Tracked,
        stop: Cancelled,
        on_output: OnOutput | None,
    ) -> None:
        self._asked, self._capture, self._patch, self._before = asked, capture, patch, before
        self._way, self._variables, self._tracked = way, variables, tracked
        self._stop, self._on_output = stop, on_output
        self._reruns: list[Finished] = []

    @property
    def captures(self) -> tuple[Digest, ...]:
        """Of the reruns; one, since their environment is the same."""
        return tuple(rerun.capture for rerun in self._reruns[:1])

    def judged(self) -> Reproduction:
        because = ""
        try:
            self._rerun()
        except (FailedPrecondition, InvalidInput, NotFound, UserCodeFailed) as error:
            because = error.whole
        runs = tuple(rerun.run for rerun in self._reruns)
        components = self._components()
        if because:
            return Reproduction(
                run=self._asked, verdict="cannot run", because=because, components=components, reruns=runs
            )
        repeats, found = self._compared()
        return Reproduction(
            run=self._asked,
            verdict=worst([one.verdict for one in found]),
            repeats=repeats.verdict,
            differing=max(found, key=lambda one: BEST_FIRST.index(one.verdict)).differing,
            components=components,
            reruns=runs,
        )

    def _rerun(self) -> None:
        if any(HIDDEN in argument for argument in self._capture.arguments):
            hint = "give secrets by variables, which are not kept"
            raise FailedPrecondition("run", self._asked, "had a secret among its arguments", hint=hint)
        with tempfile.TemporaryDirectory(prefix="reproduce-") as folder:
            python: Path | None = None
            for _ in range(N_TIMES):
                # At the same path, so that paths inside of what is written are no difference of the two.
                with checked_out(
                    self._capture.source,
                    self._patch,
                    repository=self._way.repository,
                    place=Path(folder) / "source",
                    variables=self._variables,
                ) as root:
                    self._bring_data(root)
                    python = python or self._python(root, Path(folder) / "environment")
                    self._run_once(root, python)

    def _run_once(self, root: Path, python: Path | None) -> None:
        capture = self._capture
        folder = within(root, capture.source.folder)
        within(root, capture.source.folder, capture.file)
        script = Script(
            file=capture.file,
            arguments=capture.arguments,
            folder=folder,
            variables=self._variables_in(root),
            experiment=self._before.experiment,
            name=f"{self._before.name} again"[:250],
            tags={REPRODUCES: self._asked},
            parent=self._before.tags.get(PARENT, self._asked),
            data=tuple(capture.data),
            outputs=capture.outputs,
            predictions=capture.predictions,
            **({} if python is None else {"python": python}),
        )
        ended = run(script, self._tracked, stop=self._stop, on_output=self._on_output, home=self._way.home)
        if self._stop.is_set():
            raise Interrupted("run", self._asked, "was not made again", hint="start it again")
        self._reruns.append(ended)
        if ended.status != "FINISHED" and self._before.status == "FINISHED":
            error = UserCodeFailed("script", capture.file, "fails now", status=ended.exit_status)
            error.printed = ended.last_lines
            raise error

    def _python(self, root: Path, place: Path) -> Path | None:
        """Return the interpreter to run by; None for the one of this process."""
        if self._way.environment == "present" or matches(self._capture, root):
            return None
        return made(self._capture, root, place, self._variables)

    def _variables_in(self, root: Path) -> dict[str, str]:
        """Return the variables of the present, but for those that bear on numbers."""
        # A capture is an artifact, which others may have written: only what bears on numbers is taken.
        recorded = {name: value for name, value in self._capture.variables.items() if bears(name)}
        kept = {
            name: value for name, value in self._variables.items() if not bears(name) and name != "PYTHONPATH"
        }
        there = self._capture.machine.n_processors
        if there != machine(()).n_processors:
            # Libraries would start as many threads as there are processors here, and sum in another order.
            kept |= {name: n for name, n in repeatable(there).items() if name.endswith("_THREADS")}
        paths = [str(root / path) for path in self._capture.paths]
        return {**kept, **recorded, **({"PYTHONPATH": ":".join(paths)} if paths else {})}

    def _bring_data(self, root: Path) -> None:
        """Put data that is in no commit where the script looks for it, as links to where it was."""
        source = self._capture.source
        top = self._top() / source.folder
        for path in self._capture.data:
            if Path(path).is_absolute():
                continue
            wanted = within(root, source.folder, path)
            if wanted.exists():
                continue
            if not (top / path).exists():
                hint = f"put it to {top / path}"
                raise NotFound("data", path, "is not there any more", hint=hint)
            wanted.parent.mkdir(parents=True, exist_ok=True)
            wanted.symlink_to((top / path).resolve())

    def _top(self) -> Path:
        for place in (self._way.repository, *self._way.repository.parents):
            if (place / ".git").exists():
                return place
        return self._way.repository

    def _components(self) -> tuple[Difference, ...]:
        if not self._reruns:
            return ()
        rerun = self._reruns[0]
        kept = self._tracked.runs.get(self._tracked.runs.place(rerun.run), CAPTURE)
        return differences(self._capture, read_capture(kept, rerun.capture))

    def _compared(self) -> tuple[Comparison, tuple[Comparison, ...]]:
        """Return how the reruns compare with each other, and each of them with the run."""
        tolerance, path = self._way.tolerance, self._capture.predictions
        original = _whole(self._tracked, self._before, path)
        first, second = (
            _whole(self._tracked, _outcome(self._tracked, rerun.run), path) for rerun in self._reruns
        )
        with_run = tuple(compared(original, again, tolerance) for again in (first, second))
        return compared(first, second, tolerance), with_run


def _outcome(tracked: Tracked, run: str) -> RunOutcome:
    return msgspec.convert(tracked.ask("runs.outcome", RunRequest(run=run)), RunOutcome)


def _whole(tracked: Tracked, found: RunOutcome, predictions: str) -> Outcome:
    artifacts = {path: digest for path, digest in found.artifacts.items() if not path.startswith(_OWN)}
    metrics = {name: math.nan if value is None else value for name, value in found.metrics.items()}
    columns = None
    kept = f"{OUTPUTS}/{predictions}"
    if predictions and kept in artifacts:
        columns = predictions_in(tracked.runs.get(tracked.runs.place(found.run), kept), predictions)
    return Outcome(status=found.status, metrics=metrics, artifacts=artifacts, predictions=columns)
