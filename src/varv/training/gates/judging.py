"""Judging: every gate is asked, whatever the others said; and what a declaration may call a gate.

Gates are classes of the entry point group ``varv.gates``. Ours are declared there too, and listed here once
more, since a source checkout may be used without being installed; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import msgspec

from varv.kernel.codec import canonical
from varv.kernel.errors import InvalidDeclaration, InvalidInput, UserCodeFailed
from varv.kernel.plugins import Plugins
from varv.kernel.user_code import UserCode
from varv.pipelines.closure import code_closure
from varv.tasks import Task
from varv.training.gates.judgement import Judgement
from varv.training.gates.model import Gate, GateResult, NamesItself

GROUP = "varv.gates"
OURS = {
    "beats_champion": "varv.training.gates.comparison:BeatsChampion",
    "bound": "varv.training.gates.bounds:Bound",
    "calibrated": "varv.training.gates.calibration:Calibrated",
    "check": "varv.training.gates.checks:Check",
    "direction": "varv.training.gates.behaviours:Direction",
    "invariant": "varv.training.gates.behaviours:Invariant",
    "latency": "varv.training.gates.costs:Latency",
    "minimum": "varv.training.gates.behaviours:Minimum",
    "size": "varv.training.gates.costs:Size",
}


def installed_gates() -> Plugins[type[Any]]:
    """Return every gate there is by name, ours and others', as classes."""
    return Plugins(GROUP, "gate", OURS, _is_gate_class)


def is_gate(thing: object) -> TypeGuard[Gate]:
    """Return whether something can be declared as a gate: a frozen struct that can judge."""
    return not isinstance(thing, type) and _is_gate_class(type(thing))


def gate_name(gate: Gate, task: Task) -> str:
    """Return what the results of a gate are called; of one that does not say so, the name of its class."""
    return gate.named(task) if isinstance(gate, NamesItself) else type(gate).__qualname__


def identity_of(gate: Gate) -> list[object]:
    """Return what identifies a gate, as JSON can hold it: its class, its arguments, and of functions the
    code.

    Raises
    ------
    InvalidDeclaration
        If an argument can be neither written nor followed.
    """
    name = f"{type(gate).__module__}:{type(gate).__qualname__}"
    try:
        arguments = msgspec.to_builtins(gate, enc_hook=_code_of)
        canonical(arguments)
    except (TypeError, ValueError, NotImplementedError, InvalidInput) as error:
        hint = "give it numbers, texts, lists, structs and functions"
        problem = "has an argument that cannot be written as JSON"
        raise InvalidDeclaration(
            "gate", type(gate).__qualname__, problem, why=str(error)[:200], hint=hint
        ) from None
    return [name, arguments]


def judge(gates: Sequence[Gate], judgement: Judgement) -> tuple[GateResult, ...]:
    """Return the result of every gate.

    Raises
    ------
    UserCodeFailed
        If a gate, or a function that it asks, raised, or its result is none that a ledger can hold.
    """
    return tuple(_judged(gate, judgement) for gate in gates)


def _judged(gate: Gate, judgement: Judgement) -> GateResult:
    name = type(gate).__qualname__
    with UserCode("gate", name):
        said = gate.judge(judgement)
    try:
        # What is decided now must be what the ledger will say was decided.
        result = msgspec.json.decode(canonical(said), type=GateResult)
    except (InvalidInput, msgspec.MsgspecError) as error:
        hint = "return a varv.training.gates.GateResult of finite numbers"
        raise UserCodeFailed(
            "gate", name, "returned no result that can be kept", why=str(error)[:200], hint=hint
        ) from None
    return result


def _is_gate_class(found: object) -> bool:
    return (
        isinstance(found, type)
        and issubclass(found, msgspec.Struct)
        and found.__struct_config__.frozen
        and callable(getattr(found, "judge", None))
    )


def _code_of(value: object) -> object:
    if not callable(value):
        raise NotImplementedError(f"{type(value).__name__} cannot be written")
    function: Callable[..., object] = value
    return code_closure(function).digest
