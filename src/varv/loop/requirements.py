"""What is required of a model, and what proves it: gates, monitors, contracts of data, and reports.

A requirement is a sentence with proofs, each named as ``kind:name``. A proof that is known before traffic can
hold a candidate back; the others come while a version serves. Nothing here reads a ledger: `loop.proving` and
`home.requirements` gather what is on record, and `project.requirement` checks what is declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import msgspec

from varv.training.gates import GateResult

Kind = Literal["data", "performance", "explainability", "ethics", "regulatory"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ProofState = Literal["proved", "not proved", "failed", "not yet"]
GATE, MONITOR, CONTRACT, REPORT = "gate:", "monitor:", "contract:", "report:"
LEAKS, ROLLOUT = f"{REPORT}leaks", f"{REPORT}rollout"
BEFORE_TRAFFIC = (GATE, CONTRACT, LEAKS)
"""What is known of a candidate before it meets traffic."""
_PROVED = frozenset({"better", "within bounds", "passed"})
_REFUTED = frozenset({"worse", "beyond bounds", "failed"})
_WORST_FIRST: tuple[ProofState, ...] = ("failed", "not proved", "not yet")


class RequirementSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A requirement as the ledger keeps it."""

    id: str
    text: str
    kind: Kind
    proofs: tuple[str, ...] = ()
    required: bool = False
    """Whether a candidate that it is not proved of never meets traffic."""

    def line(self) -> str:
        """Return it in words."""
        proved = ", ".join(self.proofs) or "nothing"
        return f"{self.id} ({self.kind}{', required' if self.required else ''}) proved by {proved}"


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """One proof of a requirement: what it says of a version, and the entry of the ledger that says so."""

    reference: str
    state: ProofState
    why: str
    seq: int | None = None


class Required(msgspec.Struct, frozen=True, kw_only=True):
    """A requirement of one version: what is proved, and by what."""

    id: str
    text: str
    kind: Kind
    required: bool
    state: ProofState
    proofs: tuple[Proof, ...]


def required_of(spec: RequirementSpec, proofs: Iterable[Proof]) -> Required:
    """Return a requirement with its proofs: it is proved if each of them is, and it has one.

    Examples
    --------
    >>> spec = RequirementSpec(id="R1", text="Nobody is worse off.", kind="ethics")
    >>> required_of(spec, []).state
    'not proved'
    """
    found = tuple(proofs)
    states = {proof.state for proof in found}
    state: ProofState = "proved" if found else "not proved"
    state = next((one for one in _WORST_FIRST if one in states), state)
    return Required(
        id=spec.id, text=spec.text, kind=spec.kind, required=spec.required, state=state, proofs=found
    )


def gate_proof(reference: str, results: Sequence[GateResult], seq: int | None = None) -> Proof:
    """Return what the verdicts on a version say of a gate; none if it was not judged yet.

    A gate that refuses only what is shown to be worse proves nothing where nothing was shown.
    """
    name = reference.removeprefix(GATE)
    result = next((one for one in results if one.gate == name), None)
    if result is None:
        why = "it was judged without this gate" if results else "it has not been judged"
        return Proof(reference=reference, state="not proved" if results else "not yet", why=why, seq=seq)
    state: ProofState = "not proved"
    if result.verdict in _PROVED and result.passed:
        state = "proved"
    elif result.verdict in _REFUTED:
        state = "failed"
    return Proof(reference=reference, state=state, why=f"{result.verdict}: {result.line()}", seq=seq)


def contract_proof(reference: str, inferred: Mapping[tuple[str, str], int]) -> Proof:
    """Return what a dataset's contract says of the rows that a version was trained on.

    Parameters
    ----------
    inferred
        By dataset and part, the entry in which its contract was inferred last.
    """
    dataset = reference.removeprefix(CONTRACT)
    seqs = [seq for (name, _), seq in inferred.items() if name == dataset]
    if not seqs:
        return Proof(reference=reference, state="not yet", why="no contract has been inferred")
    why = "rows that break its contract are put aside before anything is trained on them"
    return Proof(reference=reference, state="proved", why=why, seq=max(seqs))


def leaks_proof(examined: Iterable[str], findings: Sequence[str], seq: int | None) -> Proof:
    """Return what the search for leaks says: whether a feature holds what a request cannot know."""
    if seq is None:
        return Proof(reference=LEAKS, state="not yet", why="the features have not been examined")
    if findings:
        return Proof(reference=LEAKS, state="failed", why=findings[0], seq=seq)
    n = len(frozenset(examined))
    return Proof(reference=LEAKS, state="proved", why=f"nothing speaks for a leak in {n} features", seq=seq)


def verdict_on(one: Required) -> GateResult:
    """Return whether a requirement lets a candidate meet traffic, as a gate says it."""
    passed = one.state == "proved"
    missing = [f"{proof.reference} {proof.state}" for proof in one.proofs if proof.state != "proved"]
    answer = "It is." if passed else f"It is not: {'; '.join(missing) or 'nothing is declared to prove it'}."
    evidence: dict[str, float | None] = {
        "n_proofs": float(len(one.proofs)),
        "n_missing": float(len(missing)),
    }
    question = f"Is it proved that: {one.text}"
    return GateResult(
        f"requirement {one.id}", passed, "passed" if passed else "failed", evidence, question, answer
    )
