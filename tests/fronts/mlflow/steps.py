"""Steps of a conversation with a tracking server, as data: what is asked, and what is kept of the answer.

Nothing here sends anything; `playing` does. Texts of a step may name what an earlier one kept, as `{run}`,
and `{u}`, which is another text each time a scene is played, so scenes can share a server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

MUST, SHOULD = "must", "should"
API = "/api/2.0/mlflow/"
EVERYTHING = "*"


@dataclass(frozen=True)
class Ours:
    """What varv answers where it deliberately differs from MLflow, and the rule that says so."""

    rule: str
    status: int
    error_code: str | None = None
    json: Any = None


@dataclass(frozen=True)
class Step:
    """One request: its keywords became the query of a GET and the JSON of any other method."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None
    sent: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    ours: Ours | None = None

    @property
    def line(self) -> str:
        """The request in a line of a transcript."""
        return f"{self.method} {self.path}"

    def keep(self, **kept: str) -> Step:
        """Remember a value of the answer by a name, found by a path as `run.info.run_id` or `runs.0.info`."""
        return replace(self, kept=kept)

    def sending(self, **sent: str) -> Step:
        """Send headers, their names written with underscores."""
        return replace(self, sent={name.replace("_", "-"): value for name, value in sent.items()})

    def showing(self, *names: str) -> Step:
        """Compare these headers of the answer too."""
        return replace(self, shown=names)

    def saying(self, *words: str) -> Step:
        """Ask that the answer contains these words, which clients look for."""
        return replace(self, words=words)

    def but(self, *fields: str) -> Step:
        """Leave fields of this name out of the comparison, wherever they stand."""
        return replace(self, unread=fields)

    def stricter(self, rule: str, status: int = 400, code: str | None = "INVALID_PARAMETER_VALUE") -> Step:
        """Expect this refusal of varv, whatever MLflow answered."""
        return replace(self, ours=Ours(rule, status, code))

    def instead(self, rule: str, json: Any = None, status: int = 200) -> Step:
        """Expect this answer of varv, whatever MLflow answered."""
        return replace(self, ours=Ours(rule, status, None, {} if json is None else json))


def given(*steps: Step) -> tuple[Step, ...]:
    """Return steps that only prepare others: what they answer beside their status is compared elsewhere."""
    return tuple(replace(step, unread=(EVERYTHING,)) for step in steps)


@dataclass(frozen=True)
class Scene:
    """Steps that depend on each other and on nothing else."""

    title: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Area:
    """The scenes of one part of the protocol: what a client needs every day (MUST), or less (SHOULD)."""

    name: str
    level: str
    scenes: tuple[Scene, ...]

    @property
    def n_steps(self) -> int:
        return sum(len(scene.steps) for scene in self.scenes)


def scene(title: str, *steps: Step | tuple[Step, ...]) -> Scene:
    flat = [step for given in steps for step in (given if isinstance(given, tuple) else (given,))]
    return Scene(title, tuple(flat))


def get(path: str, query: Mapping[str, Any] | None = None, /, **more: Any) -> Step:
    return Step("GET", path, query={**(query or {}), **more})


def _writing(method: str) -> Any:
    def step(path: str, json: Any = None, /, **more: Any) -> Step:
        return Step(method, path, json=more if json is None else {**json, **more} if more else json)

    return step


post, patch, delete = _writing("POST"), _writing("PATCH"), _writing("DELETE")


def raw(method: str, path: str, content: str | bytes, content_type: str | None = "application/json") -> Step:
    """Send these bytes as they are."""
    body = content.encode() if isinstance(content, str) else content
    sent = {} if content_type is None else {"content-type": content_type}
    return Step(method, path, content=body, sent=sent)


# Rules of varv's own, each of which several areas hold it to.
SPOILT = "a field that cannot be read is refused; MLflow drops it in silence, and what comes after it"
ATOMIC = "a batch is all or nothing"
NO_SQL = "an error does not show the statements of a database"
NO_PATH = "an artifact is found below its run; a client chooses no path and no address"
NO_JSON = "a body that is no JSON object is refused"

# What most scenes begin with.
EXPERIMENT = post("experiments/create", name="e-{u}").keep(e="experiment_id")
RUN = post("runs/create", experiment_id="{e}", start_time=1000, run_name="first").keep(run="run.info.run_id")
STARTED = given(EXPERIMENT, RUN)
