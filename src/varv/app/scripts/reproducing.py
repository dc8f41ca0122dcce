"""A run made again: its source checked out, its environment found or made, its script run twice, and what
came of it compared with the run. The verdict is an entry of the ledger.

Twice, since two reruns that differ from each other say that the script is not deterministic here, and two
that agree with each other and not with the run say that something has changed.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
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
from varv.kernel.machine import n_processors
from varv.runs.capture import CAPTURE, PATCH, TAG, Capture, bears, differences, read_capture
from varv.runs.config import HIDDEN
from varv.runs.model import Difference, Verdict
from varv.runs.reproduction import BEST_FIRST, Comparison, Outcome, Tolerance, compared
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


@dataclass
class _Again:
    """One run being made again."""

    asked: str
    capture: Capture
    patch: bytes
    before: RunOutcome
    way: Way
    variables: Mapping[str, str]
    tracked: Tracked
    stop: Cancelled
    on_output: OnOutput | None
    reruns: list[Finished] = field(default_factory=list)

    @property
    def captures(self) -> tuple[Digest, ...]:
        """Of the reruns; one, since their environment is the same."""
        return tuple(rerun.capture for rerun in self.reruns[:1])

    def judged(self) -> Reproduction:
        try:
            self._rerun()
            repeats, with_run = self._compared()
            because, verdict = "", with_run.verdict
        except (FailedPrecondition, InvalidInput, NotFound, UserCodeFailed) as error:
            repeats, with_run = None, None
            because, verdict = error.whole, "cannot run"
        return Reproduction(
            run=self.asked,
            verdict=verdict,
            repeats=repeats.verdict if repeats else None,
            differing=with_run.differing if with_run else (),
            components=self._components(),
            reruns=tuple(rerun.run for rerun in self.reruns),
            because=because,
        )

    def _rerun(self) -> None:
        if any(HIDDEN in argument for argument in self.capture.arguments):
            hint = "give secrets by variables, which are not kept"
            raise FailedPrecondition("run", self.asked, "had a secret among its arguments", hint=hint)
        with tempfile.TemporaryDirectory(prefix="reproduce-") as folder:
            python: Path | None = None
            for _ in range(N_TIMES):
                # At the same path, so that paths inside of what is written are no difference of the two.
                with checked_out(
                    self.capture.source,
                    self.patch,
                    repository=self.way.repository,
                    place=Path(folder) / "source",
                    variables=self.variables,
                ) as root:
                    self._bring_data(root)
                    python = python or self._python(root, Path(folder) / "environment")
                    self._run_once(root, python)

    def _run_once(self, root: Path, python: Path | None) -> None:
        capture = self.capture
        folder = within(root, capture.source.folder)
        within(root, capture.source.folder, capture.file)
        script = Script(
            file=capture.file,
            arguments=capture.arguments,
            folder=folder,
            variables=self._variables_in(root),
            experiment=self.before.experiment,
            name=f"{self.before.name} again"[:250],
            tags={REPRODUCES: self.asked},
            parent=self.before.tags.get(PARENT, self.asked),
            data=tuple(capture.data),
            outputs=capture.outputs,
            predictions=capture.predictions,
            **({} if python is None else {"python": python}),
        )
        ended = run(script, self.tracked, stop=self.stop, on_output=self.on_output, home=self.way.home)
        if self.stop.is_set():
            raise Interrupted("run", self.asked, "was not made again", hint="start it again")
        self.reruns.append(ended)
        if ended.status != "FINISHED" and self.before.status == "FINISHED":
            error = UserCodeFailed("script", capture.file, "fails now", status=ended.exit_status)
            error.printed = ended.last_lines
            raise error

    def _python(self, root: Path, place: Path) -> Path | None:
        """Return the interpreter to run by; None for the one of this process."""
        if self.way.environment == "present" or matches(self.capture, root):
            return None
        return made(self.capture, root, place, self.variables)

    def _variables_in(self, root: Path) -> dict[str, str]:
        """Return the variables of the present, but for those that bear on numbers."""
        # A capture is an artifact, which others may have written: only what bears on numbers is taken.
        recorded = {name: value for name, value in self.capture.variables.items() if bears(name)}
        kept = {
            name: value for name, value in self.variables.items() if not bears(name) and name != "PYTHONPATH"
        }
        there = self.capture.machine.n_processors
        if there != n_processors():
            # Libraries would start as many threads as there are processors here, and sum in another order.
            kept |= {name: n for name, n in repeatable(there).items() if name.endswith("_THREADS")}
        paths = [str(root / path) for path in self.capture.paths]
        return {**kept, **recorded, **({"PYTHONPATH": ":".join(paths)} if paths else {})}

    def _bring_data(self, root: Path) -> None:
        """Put data that is in no commit where the script looks for it, as links to where it was."""
        source = self.capture.source
        top = self._top() / source.folder
        for path in self.capture.data:
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
        for place in (self.way.repository, *self.way.repository.parents):
            if (place / ".git").exists():
                return place
        return self.way.repository

    def _components(self) -> tuple[Difference, ...]:
        if not self.reruns:
            return ()
        rerun = self.reruns[0]
        kept = self.tracked.runs.get(self.tracked.runs.place(rerun.run), CAPTURE)
        return differences(self.capture, read_capture(kept, rerun.capture))

    def _compared(self) -> tuple[Comparison, Comparison]:
        """Return how the reruns compare with each other, and the worse of them with the run."""
        tolerance, path = self.way.tolerance, self.capture.predictions
        original = _whole(self.tracked, self.before, path)
        first, second = (
            _whole(self.tracked, _outcome(self.tracked, rerun.run), path) for rerun in self.reruns
        )
        with_run = (compared(original, again, tolerance) for again in (first, second))
        worse = max(with_run, key=lambda one: BEST_FIRST.index(one.verdict))
        return compared(first, second, tolerance), worse


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
