"""How a model is served, as it is declared and as ledgers keep it: what is checked of a request before it is
answered, what is answered when the model cannot, and when its answer is held back.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from varv.kernel.clock import Duration, spoken
from varv.serving.transforms import Transform

Value = str | float | bool
Mark = Literal["fallback", "cached", "default", "abstained"]
"""How a request was answered other than by the version whose turn it was."""
MARKS: tuple[Mark, ...] = ("fallback", "cached", "default", "abstained")


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is demanded of one column of a request, and what becomes of a request that breaks it."""

    column: str
    low: float | None = None
    high: float | None = None
    one_of: tuple[Value, ...] = ()
    required: bool = False
    """Whether a value that is null or not there breaks it too."""
    otherwise: Literal["reject", "default", "flag"] = "reject"
    default: Value | None = None
    """What takes the place of a value, if so declared."""

    @property
    def line(self) -> str:
        """What it demands, in words."""
        parts = []
        parts += [] if self.low is None else [f"at least {self.low:g}"]
        parts += [] if self.high is None else [f"at most {self.high:g}"]
        if self.one_of:
            parts.append(f"one of {', '.join(map(str, self.one_of[:8]))}")
        if self.required:
            parts.append("not null")
        instead = f"default {self.default}" if self.otherwise == "default" else self.otherwise
        return f"{self.column} {' and '.join(parts)}, else {instead}"


class FormerStep(msgspec.Struct, frozen=True, tag="former"):
    """Let the champion before answer."""

    @property
    def line(self) -> str:
        """What it does, in words."""
        return "the champion before"


class CachedStep(msgspec.Struct, frozen=True, tag="cached"):
    """Answer what the same version said of the same inputs before."""

    max_age: Duration

    @property
    def line(self) -> str:
        """What it does, in words."""
        return f"what was answered to the same within {spoken(self.max_age)}"


class DefaultStep(msgspec.Struct, frozen=True, tag="default", omit_defaults=True):
    """Answer a declared prediction."""

    prediction: tuple[float, ...]
    names: tuple[str, ...] = ()
    """Of its numbers, where it was declared by them; a policy has it in the task's order."""

    @property
    def line(self) -> str:
        """What it does, in words."""
        return f"the default {', '.join(f'{value:g}' for value in self.prediction)}"


Step = FormerStep | CachedStep | DefaultStep


class LogPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of the requests that a model answers is kept, and in which form; all as it came by default."""

    share: float = 1.0
    """Of the units of randomisation, chosen by their hash; of a unit all requests are kept, or none."""
    redact: tuple[str, ...] = ()
    """Columns of which nothing is kept."""
    pseudonymise: tuple[str, ...] = ()
    """Columns of which a keyed digest is kept, the same for the same text."""

    @property
    def line(self) -> str:
        """What it says, in words."""
        parts = [] if self.share == 1.0 else [f"a share of {self.share:g}"]
        parts += [f"without {', '.join(self.redact)}"] if self.redact else []
        parts += [f"{', '.join(self.pseudonymise)} as digests"] if self.pseudonymise else []
        return ", ".join(parts) or "all as it comes"


ObservedPart = Literal["all", "request", "response"]


class Observer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who is sent what was asked and answered, as CloudEvents over HTTP."""

    url: str
    mode: ObservedPart = "all"
    share: float = 1.0
    """Of requests, chosen by chance."""
    token_variable: str = ""
    """The variable of the environment that holds a bearer token."""

    @property
    def line(self) -> str:
        """What is sent where, in words."""
        what = {"all": "requests and answers", "request": "requests", "response": "answers"}[self.mode]
        return f"{what} to {self.url}" + ("" if self.share == 1.0 else f", a share of {self.share:g}")


class ServingPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a model is served; nothing of it by default."""

    checks: tuple[Check, ...] = ()
    fallback: tuple[Step, ...] = ()
    """What is tried in turn when the champion cannot answer."""
    abstain_below: float | None = None
    """Confidence below which an answer is held back."""
    cache: Duration | None = None
    """How long what a version said of some inputs is answered again without asking it."""
    log: LogPolicy = LogPolicy()
    review: tuple[Mark, ...] = ()
    """How requests were answered that a person is to decide."""
    before: Transform | None = None
    """What is done to a request before the model reads it."""
    after: Transform | None = None
    """What is done to an answer before it is shown; what is captured stays what the version said."""
    instances: int = 1
    """Calls of a model that run at a time, where another process or machine answers."""
    cost: int = 1
    """How many rows of a client's rate a row of this model takes."""
    observer: Observer | None = None
    """Who is sent what was asked and answered."""

    @property
    def remembers(self) -> Duration | None:
        """How long what versions said has to be remembered; None if not at all."""
        ages = [step.max_age for step in self.fallback if isinstance(step, CachedStep)]
        ages += [] if self.cache is None else [self.cache]
        return max(ages, default=None)

    @property
    def keeps_former(self) -> bool:
        """Whether the champion before stays in memory."""
        return any(isinstance(step, FormerStep) for step in self.fallback)


def policy_words(policy: ServingPolicy) -> dict[str, str]:
    """Return what is declared in words, by what it is about."""
    below = policy.abstain_below
    return {
        "serving checks": "; ".join(check.line for check in policy.checks) or "none",
        "serving fallback": ", then ".join(step.line for step in policy.fallback) or "none",
        "serving abstain below": "none" if below is None else f"{below:g}",
        "serving cache": "none" if policy.cache is None else spoken(policy.cache),
        "serving log": policy.log.line,
        "serving review": ", ".join(policy.review) or "none",
        "serving before": "none" if policy.before is None else policy.before.line,
        "serving instances": f"{policy.instances}",
        "serving cost": f"{policy.cost}",
        "serving observer": "none" if policy.observer is None else policy.observer.line,
        "serving after": "none" if policy.after is None else policy.after.line,
    }
