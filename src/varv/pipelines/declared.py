"""Pipelines as authors declare them: functions become steps, steps are bound to what they are given.

    @varv.step
    def rows(path: str) -> pl.DataFrame: ...

    @varv.step(retries=2)
    def fit(frame: pl.DataFrame, depth: int) -> bytes: ...

    flights = varv.Pipeline("flights", fit.bind(rows.bind(path="flights.csv"), depth=3))

Types are checked here, before anything runs. What comes of a declaration is a `pipelines.graph.Graph`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from varv.kernel.codec import Digest, canonical, digest, digest_of
from varv.kernel.errors import InvalidDeclaration, InvalidInput, NotFound
from varv.kernel.ids import checked_name
from varv.pipelines.closure import code_closure
from varv.pipelines.graph import Graph, Input, PipelineStep
from varv.pipelines.steps import KEY, SEED, Node, fitting


class Steps:
    """What a file declares whose steps can run: a pipeline, or what is made of one."""

    pipeline: Pipeline


class Pipeline(Steps):
    """A graph of bound steps.

    Parameters
    ----------
    name
        Of the pipeline, and of the experiment that its runs are in.
    ends
        The nodes that it is for; everything that they need belongs to it.
    seed
        Given to steps that have a parameter ``seed``.

    Raises
    ------
    InvalidDeclaration
        If there is no node, or two different ones have one name.
    """

    def __init__(self, name: str, *ends: Node, seed: int = 0) -> None:
        self.name = checked_name("pipeline", name)
        self.seed = seed
        self.pipeline = self
        if not ends or not all(isinstance(one, Node) for one in ends):
            hint = "end it with what step.bind(...) returned"
            raise InvalidDeclaration("pipeline", name, "has no step", hint=hint)
        self.nodes = tuple(_ordered(ends))
        seen: set[str] = set()
        for node in self.nodes:
            if node.name in seen:
                problem = f"has two steps named {node.name!r}"
                raise InvalidDeclaration("pipeline", name, problem, hint="call .named(...) on one of them")
            seen.add(node.name)

    def node(self, name: str) -> Node:
        """Return a node.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        hint = f"the steps are {', '.join(node.name for node in self.nodes)}"
        raise NotFound("step", name[:60], f"is not in pipeline {self.name!r}", hint=hint)

    @property
    def params(self) -> dict[str, Any]:
        """The values that steps are given, as ``step.parameter``."""
        return {f"{node.name}.{name}": value for node in self.nodes for name, value in node.params.items()}

    def with_params(self, changed: Mapping[str, Any]) -> Pipeline:
        """Return the pipeline with other values, each under ``step.parameter``.

        Raises
        ------
        NotFound
            If there is no such step.
        InvalidInput
            If a step is given no such value, or it is not of the parameter's type.
        """
        made: dict[str, Node] = {}
        for name in changed:
            of, _, param = name.partition(".")
            if param not in self.node(of).params:
                hint = f"the parameters are {', '.join(self.params) or 'none'}"
                raise InvalidInput("parameter", name[:80], "does not exist", hint=hint)
        for node in self.nodes:
            given = {
                one: made[value.name] if isinstance(value, Node) else value
                for one, value in node.given.items()
            }
            for one in node.params:
                if (name := f"{node.name}.{one}") in changed:
                    given[one] = fitting(node.step.name, one, node.step.inputs[one], changed[name])
            waits_for = tuple(made[one.name] for one in node.waits_for)
            made[node.name] = Node(node.step, node.name, given, waits_for)
        return Pipeline(self.name, *made.values(), seed=self.seed)

    def graph(self) -> Graph:
        """Return what can be run."""
        return Graph(tuple(_graph_step(node, self.seed) for node in self.nodes))

    @property
    def digest(self) -> Digest:
        """What the pipeline is: code, order, values, seed."""
        return digest_of(
            [
                [one.name, one.place, code_closure(one.run).digest, list(one.before), *_given(one)]
                for one in self.graph().steps
            ]
        )


def _given(step: PipelineStep) -> list[object]:
    return [[name, one if isinstance(one, str) else one.digest] for name, one in step.needs.items()]


def _graph_step(node: Node, seed: int) -> PipelineStep:
    of, needs = node.step, dict[str, Input | str]()
    for name in of.inputs:
        value = node.given.get(name, node.params.get(name))
        if isinstance(value, Node):
            needs[name] = value.name
        elif name in node.params:
            needs[name] = _constant(value)
        elif name == SEED:
            needs[name] = _constant(seed)
    return PipelineStep(
        name=node.name,
        run=of.function,
        produces=of.returns,
        needs=needs,
        after=tuple(one.name for one in node.waits_for),
        params={"version": of.options.version} if of.options.version else {},
        group=f"step.{of.name}",
        cached=not of.options.effect,
        vouched=bool(of.options.version),
        reports=of.reports,
        keyed=KEY if KEY in of.inputs else "",
        retries=of.options.retries,
        backoff_s=of.options.backoff_s,
    )


def _constant(value: object) -> Input:
    return Input(digest(canonical(value)), lambda: value, "parameter")


def _ordered(ends: Sequence[Node]) -> Iterator[Node]:
    """Yield nodes, each after those that it needs; nodes exist before what they are bound to, so there is no
    cycle.
    """
    seen: set[int] = set()
    waiting = list(reversed(ends))
    while waiting:
        node = waiting[-1]
        missing = [one for one in node.before if id(one) not in seen]
        if missing:
            waiting += reversed(missing)
            continue
        waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
