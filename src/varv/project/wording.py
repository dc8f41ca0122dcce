"""What is declared of a model beside its features, in words: kept in the ledger, so that the next declaration
can be compared with it and a reader sees what was and what will be.

Names and values follow the plans' own fields, so that a field that is added to one is compared too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_type_hints

import msgspec

from varv.kernel.clock import Duration, Instant, spoken
from varv.loop.model import LoopPolicy
from varv.pipelines import code_closure
from varv.project.plan import ModelPlan
from varv.serving.policy import ServingPolicy, policy_words
from varv.training import InversePropensity
from varv.training.gates import Gate, identity_of

_ELSEWHERE = ("model", "plan", "first training", "seed", "maturity")
"""Fields of a policy that are no setting of their own, or are told under another name."""


_FOR_EVER = "for ever"
LATER_SETTINGS = {
    **{"retention": _FOR_EVER, "requirements": "none", "labelling": "none", "freshness": "none"},
    **policy_words(ServingPolicy()),
}
"""Settings that homes of before do not have on record, as they were then."""


def settings_of(plan: ModelPlan) -> dict[str, str]:
    """Return the settings of a model in words, by what they are about.

    Notes
    -----
    Functions are told by the first twelve letters of the digest of their code.
    """
    loop = plan.loop
    train = loop.train
    found = policy_settings(loop.policy(Instant(0), 0))
    if loop.outcome.no_outcome is not None:
        found["no outcome"] = f"{loop.outcome.no_outcome} after {spoken(loop.outcome.mature)}"
    found["unit"] = plan.schema.unit or "the key"
    found |= policy_words(plan.schema.serving)
    found["retention"] = _FOR_EVER if plan.retention is None else spoken(plan.retention)
    found["gates"] = "; ".join(map(_gate, loop.gates)) or "none"
    found["monitors"] = "; ".join(map(_monitor, loop.monitors.declared)) or "none"
    found["labelling"] = "none" if plan.labelling is None else plan.labelling.line
    found["requirements"] = "; ".join(one.line() for one in loop.requirements) or "none"
    fresh = freshness_of(plan).items()
    found["freshness"] = "; ".join(f"{view} {spoken(age)}" for view, age in fresh) or "none"
    found["train code"] = ", ".join(code_closure(function).digest[:12] for function in train.code)
    spans = {"window": train.window, "validate": train.validate}
    found |= {f"train {name}": "all" if span is None else spoken(span) for name, span in spans.items()}
    plain = {
        "origins": train.origins,
        "refit": train.refit,
        "min rows": train.min_rows,
        "warm start": train.warm_start,
        "strategy": "incremental" if train.strategy is not None else "full",
        "weights": train.weights if isinstance(train.weights, str) else _chance(train.weights),
        "params": _value(train.params),
        "search": "" if train.search is None else _value(msgspec.to_builtins(train.search, enc_hook=str)),
    }
    return found | {f"train {name}": str(value) for name, value in plain.items() if value != ""}


def _chance(weights: object) -> str:
    if not isinstance(weights, InversePropensity):
        return ""
    return f"inverse propensity, {weights.clip:g} at most"


def freshness_of(plan: ModelPlan) -> dict[str, Duration]:
    """Return how long values of a view may be out of date, by the view, where that is declared."""
    views = plan.loop.features.views
    return {view.name: view.fresh for view in views if view.fresh is not None}


def policy_settings(policy: LoopPolicy) -> dict[str, str]:
    """Return the settings of a policy in words: all that a home of before has on record."""
    found = {"mature": spoken(policy.maturity)}
    found |= {f"retrain {name}": text for name, text in _fields(policy).items() if name not in _ELSEWHERE}
    return found | {f"rollout {name}": text for name, text in _fields(policy.plan).items()}


def _fields(struct: msgspec.Struct) -> dict[str, str]:
    """Return the fields of a struct in words, durations as people write them."""
    hints = get_type_hints(type(struct))
    told: dict[str, str] = {}
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        spans = hints[field.name] is Duration or Duration in get_args(hints[field.name])
        plain = value if isinstance(value, int | float | str | type(None)) else msgspec.to_builtins(value)
        told[field.name.replace("_", " ")] = spoken(value) if spans and value is not None else _value(plain)
    return told


def _gate(gate: Gate) -> str:
    name, arguments = identity_of(gate)
    called = str(name).rpartition(":")[2]
    if not isinstance(arguments, Mapping):
        return called
    given = ", ".join(f"{key}={_value(value)}" for key, value in arguments.items() if key != "type")
    return f"{called}({given})"


def _monitor(monitor: msgspec.Struct) -> str:
    given = ", ".join(f"{key}={text}" for key, text in _fields(monitor).items())
    return f"{type(monitor).__name__.removesuffix('Monitor').lower()}({given})"


def _value(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(
            f"{key}={_value(one)}" for key, one in value.items() if one not in (None, "", [], {})
        )
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_value, value))
    return str(value)
