"""Graphs of steps whose results are found by their content.

The key of a step is made of its code closure, the digests of its inputs, its parameters, the environment and
the seed. A result that is there is a hit and the step does not run; after a crash the graph is run again and
everything finished is a hit. That is the whole of durable execution here: no replay, no rules for the author.
A miss says what changed. `pipelines.running` runs graphs; trainings of the loop and the pipelines that
authors declare (`pipelines.declared`) are both such graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal

import msgspec

from varv.kernel.codec import Digest, canonical, digest, digest_of
from varv.kernel.environment import environment
from varv.kernel.errors import InvalidInput
from varv.kernel.ids import checked_name
from varv.pipelines import values
from varv.pipelines.cache import StepCache
from varv.pipelines.closure import code_closure

_SCHEMA = 1


class Input(msgspec.Struct, frozen=True):
    """A value that a step needs: what it is, and how to get it if the step must run."""

    digest: Digest
    load: Callable[[], Any]
    label: Literal["input", "parameter"] = "input"
    """What a miss calls it."""


class PipelineStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step: a function of named inputs that returns a value of a type.

    Parameters
    ----------
    name
        Unique in its graph.
    run
        Called with the inputs as keyword arguments.
    produces
        ``bytes``, or another type that `pipelines.values` carries.
    needs
        Parameter name to an `Input`, or to the name of an earlier step.
    after
        Earlier steps that it waits for without taking anything of them.
    code
        Functions beside `run` whose code the result depends on, such as the author's own.
    params
        Further values of the key, as JSON.
    group
        Steps of one group share results, since they are of one function; the name unless said otherwise.
    cached
        Whether a result that is there is taken; a step that has effects always runs.
    vouched
        Whether names that its code reaches and nobody can follow are taken to mean what they meant before.
    keyed
        The parameter that is given the step's key, if one is.
    reports
        The parameter that is given a `pipelines.reporting.Report`, if one is.
    retries, backoff_s
        How often it runs again once it has failed, and how many seconds it waits before the first time; each
        wait is twice as long as the one before.
    """

    name: str
    run: Callable[..., Any]
    produces: Any = bytes
    needs: Mapping[str, Input | str] = {}
    after: tuple[str, ...] = ()
    code: tuple[Callable[..., Any], ...] = ()
    params: Mapping[str, Any] = {}
    seed: int = 0
    group: str = ""
    cached: bool = True
    vouched: bool = True
    keyed: str = ""
    reports: str = ""
    retries: int = 0
    backoff_s: float = 1.0

    @property
    def place(self) -> str:
        """The folder of the cache that its results are in."""
        return self.group or self.name

    @property
    def is_gate(self) -> bool:
        """Whether it may stop what comes after it."""
        return Stop in values.classes_in(self.produces)

    @property
    def before(self) -> tuple[str, ...]:
        """The steps that must have ended."""
        needed = [need for need in self.needs.values() if isinstance(need, str)]
        return tuple(dict.fromkeys([*needed, *self.after]))


class Stop(msgspec.Struct, frozen=True):
    """What a step returns so that no step that comes after it runs: the gate is shut.

    Parameters
    ----------
    reason
        Why, as people will read it.
    """

    reason: str


class Took(msgspec.Struct, frozen=True):
    """What running a step has taken."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    attempts: int = 0


class StepResult(msgspec.Struct, frozen=True, dict=True):
    """What a step produced and where it came from."""

    step: PipelineStep
    data: bytes
    digest: Digest
    key: Digest
    hit: bool
    missed_for: tuple[str, ...] = ()
    """Parts of the key that no earlier result of this step had, such as ``"code fit"``."""
    took: Took = Took()
    output: str = ""
    """What it printed, where that is kept."""

    @cached_property
    def value(self) -> Any:
        """What was produced, as every later hit hands it on too."""
        return values.decode(self.step.name, self.data, self.step.produces)


PipelineResult = dict[str, StepResult]


class Outlook(msgspec.Struct, frozen=True):
    """What would become of a step if its graph ran now."""

    hit: bool
    missed_for: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    """Steps that would run before it, so that its key is not determined yet."""


class Graph:
    """Steps in an order in which each one's inputs come before it.

    Raises
    ------
    InvalidInput
        If two steps share a name, or a step needs one that is not there before it.
    """

    def __init__(self, steps: tuple[PipelineStep, ...]) -> None:
        seen: set[str] = set()
        for step in steps:
            missing = [need for need in step.before if need not in seen]
            if missing:
                problem = f"needs {missing[0]!r}, which does not come before it"
                raise InvalidInput("step", step.name, problem, hint="put steps in order")
            if step.name in seen:
                raise InvalidInput("step", step.name, "is there twice", hint="name each step once")
            seen.add(checked_name("step", step.name))
        self.steps = steps

    def up_to(self, name: str) -> Graph:
        """Return the graph of one step and of all that comes before it.

        Raises
        ------
        InvalidInput
            If there is no such step.
        """
        names = [step.name for step in self.steps]
        if name not in names:
            hint = f"the steps are {', '.join(names)}"
            raise InvalidInput("step", name[:60], "is not in the pipeline", hint=hint)
        needed = {name}
        for step in reversed(self.steps):
            if step.name in needed:
                needed.update(step.before)
        return Graph(tuple(step for step in self.steps if step.name in needed))

    def outlook(self, cache: StepCache) -> dict[str, Outlook]:
        """Return what would become of each step if the graph ran now; nothing runs."""
        digests: dict[str, Digest] = {}
        known: dict[str, Outlook] = {}
        for step in self.steps:
            waits = tuple(
                need for need in step.needs.values() if isinstance(need, str) and need not in digests
            )
            if waits:
                known[step.name] = Outlook(False, waits_for=waits)
                continue
            parts = key_parts(step, digests)
            found = cache.find(step.place, digest_of(parts)) if is_cached(step) else None
            if found is not None:
                digests[step.name] = found[0]
                known[step.name] = Outlook(True)
            else:
                known[step.name] = Outlook(False, why_missed(step, cache, parts))
        return known


def within_run(graph: Graph, run: str) -> Graph:
    """Return a graph whose steps are all cached, those that never are within one run alone: whoever runs each
    step by itself finds what the steps before it have made.
    """

    def within(step: PipelineStep) -> PipelineStep:
        if is_cached(step):
            return step
        params = {**step.params, "run": run}
        return msgspec.structs.replace(step, cached=True, vouched=True, params=params)

    return Graph(tuple(map(within, graph.steps)))


def key_parts(step: PipelineStep, digests: Mapping[str, Digest]) -> dict[str, str]:
    """Return everything that the key of `step` depends on, each part named so that a miss can say what
    changed.
    """
    reached = (step.run, *step.code, *values.classes_in(step.produces))
    closures = [code_closure(one) for one in reached]
    libraries = sorted({library for closure in closures for library in closure.libraries})
    here = environment(libraries)
    parts = {f"code {name}": part for closure in closures for name, part in closure.parts.items()}
    parts |= {f"library {name}": version for name, version in here.libraries.items()}
    for name, need in step.needs.items():
        if isinstance(need, Input):
            parts[f"{need.label} {name}"] = need.digest
        else:
            parts[f"input {name}"] = digests[need]
    parts |= {f"parameter {name}": digest(canonical(value)) for name, value in step.params.items()}
    return parts | {
        "python": here.python,
        "platform": here.platform,
        "seed": str(step.seed),
        "schema": str(_SCHEMA),
    }


def is_cached(step: PipelineStep) -> bool:
    """Return whether a result that is there is taken."""
    return step.cached and (step.vouched or not _unknown(step))


def why_missed(step: PipelineStep, cache: StepCache, parts: Mapping[str, str]) -> tuple[str, ...]:
    """Return why no result is taken: what changed, or what is in the way of taking any."""
    if not step.cached:
        return ("has effects",)
    if not step.vouched and (unknown := _unknown(step)):
        return tuple(f"cannot follow {name}" for name in unknown)
    return cache.why_missed(step.place, parts)


def _unknown(step: PipelineStep) -> tuple[str, ...]:
    return tuple(sorted({name for one in (step.run, *step.code) for name in code_closure(one).unknown}))
