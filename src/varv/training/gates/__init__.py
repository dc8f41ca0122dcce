"""Gates: what a candidate must not show on held-out rows, or it never meets traffic.

Declared as values (`training.gate`, `training.behaviour`), judged by pure functions of a `Judgement`. A gate
refuses what is shown to be worse and passes the rest to the rollout, which has live requests to judge by;
each result names its question and says which of the two it was. Every gate is judged even if another fails,
and each result carries its numbers, so that a rejection explains itself.
"""

from varv.training.gates.judgement import Judgement, Served
from varv.training.gates.judging import gate_name, identity_of, installed_gates, is_gate, judge
from varv.training.gates.model import Gate, GateResult, NamesItself, NeedsFeatures, NeedsTask, Verdict

__all__ = [
    "Gate",
    "GateResult",
    "Judgement",
    "NamesItself",
    "NeedsFeatures",
    "NeedsTask",
    "Served",
    "Verdict",
    "gate_name",
    "identity_of",
    "installed_gates",
    "is_gate",
    "judge",
]
