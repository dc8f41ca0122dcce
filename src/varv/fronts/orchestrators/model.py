"""A pipeline as other orchestrators are told of it: names, order, and the command of each step.

They put steps in order and start them. What a step is given and what comes of it stays in the home's cache,
which all of them must reach; retries and gates stay varv's own.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from varv.kernel.errors import InvalidInput
from varv.pipelines import Pipeline

SHUT = 99
"""The exit status of a step behind or at a gate that is shut."""
_FORBIDDEN = ("{{", "{%", "{#", "{$", "\n", "\r", "\0")


class OuterStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step, the steps that it waits for, and whether it is a gate."""

    name: str
    before: tuple[str, ...]
    is_gate: bool


class Outer(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline and where it is found.

    Parameters
    ----------
    place
        ``FILE`` or ``FILE:name``, as it is found where the steps run.
    home
        The home folder there.
    schedule
        When it runs, in cron's five fields; empty if it is started by hand.

    Raises
    ------
    InvalidInput
        If a path holds what templates of orchestrators would take for theirs.
    """

    name: str
    digest: str
    place: str
    home: str
    steps: tuple[OuterStep, ...]
    schedule: str = ""

    def __post_init__(self) -> None:
        for kind, text in (("place", self.place), ("home", self.home), ("schedule", self.schedule)):
            if any(sign in text for sign in _FORBIDDEN):
                hint = "move it to a path without braces and line breaks"
                raise InvalidInput(kind, text[:80], "holds signs that templates read", hint=hint)

    @property
    def command(self) -> list[str]:
        """What runs a step, but for the step's name and what names the run."""
        return ["varv", "--home", self.home, "pipeline", "step", self.place, "--expect", self.digest[:16]]

    @property
    def order(self) -> Mapping[str, list[str]]:
        """The names of the steps, and of those that each waits for."""
        return {step.name: list(step.before) for step in self.steps}

    def gates_before(self, name: str) -> list[str]:
        """Return the gates that a step comes after, near or far."""
        steps = {step.name: step for step in self.steps}
        reached, waiting = dict[str, None](), list(steps[name].before)
        while waiting:
            one = waiting.pop()
            if one not in reached:
                reached[one] = None
                waiting += steps[one].before
        return [step.name for step in self.steps if step.name in reached and step.is_gate]


def outer(pipeline: Pipeline, *, place: str, home: str, schedule: str = "") -> Outer:
    """Return a pipeline as others are told of it."""
    steps = tuple(
        OuterStep(name=step.name, before=step.before, is_gate=step.is_gate) for step in pipeline.graph().steps
    )
    return Outer(
        name=pipeline.name,
        digest=pipeline.digest,
        place=place,
        home=home,
        steps=steps,
        schedule=schedule,
    )
