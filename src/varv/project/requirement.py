"""What a user declares to be required of a model: a sentence, and what proves it.

Each proof is traced to something that is declared too; one that is not is an error that names the nearest.
`loop.requirements` says what a proof shows of a version.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

import msgspec

from varv.data import Dataset
from varv.kernel.errors import InvalidDeclaration
from varv.loop.requirements import (
    BEFORE_TRAFFIC,
    CONTRACT,
    GATE,
    KINDS,
    LEAKS,
    MONITOR,
    ROLLOUT,
    RequirementSpec,
)
from varv.monitoring import Monitor
from varv.monitoring.kinds import tag_of
from varv.tasks import Task
from varv.training.gates import Gate, gate_name, is_gate

LONGEST_TEXT = 1000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
Given = str | Gate | Monitor | Dataset


class Requirement:
    """Something that is required of a model, and what proves it.

    Parameters
    ----------
    id
        How it is called where it comes from: ``"AI-Act-10.2"``, ``"R7"``.
    text
        What is required, a sentence.
    kind
        ``"data"``, ``"performance"``, ``"explainability"``, ``"ethics"`` or ``"regulatory"``.
    proved_by
        One or several of: a gate, a test of behaviour or a monitor of the model, a dataset that it reads (its
        contract), or the name of one: ``"gate:at_least auc"``, ``"monitor:drift"``, ``"contract:flights"``,
        ``"report:leaks"`` (the search for features that hold what a request cannot know),
        ``"report:rollout"`` (it was promoted after it answered beside the champion). It is proved if all of
        them prove it; nothing is declared to prove it if there is none, which ``varv plan`` says.
    required
        Hold back a candidate of which it is not proved. What only shows while a version serves, monitors and
        the rollout, cannot be a proof then.

    Raises
    ------
    InvalidDeclaration
        If the id, the text or the kind cannot be. The model refuses a proof that it does not have.
    """

    def __init__(
        self,
        id: str,
        text: str,
        kind: str,
        *,
        proved_by: Given | Sequence[Given] = (),
        required: bool = False,
    ) -> None:
        if not isinstance(id, str) or not _ID.fullmatch(id):
            hint = "use letters, digits, dots, dashes and underscores, 64 at most"
            raise InvalidDeclaration("requirement", repr(id)[:80], "has an id that is not valid", hint=hint)
        if not isinstance(text, str) or not 0 < len(text.strip()) <= LONGEST_TEXT:
            hint = f"say it in 1 to {LONGEST_TEXT} characters"
            raise InvalidDeclaration("requirement", id, "says nothing, or too much", hint=hint)
        if kind not in KINDS:
            hint = f"use one of {', '.join(KINDS)}"
            raise InvalidDeclaration("requirement", id, f"is of the kind {kind!r:.40}", hint=hint)
        if not isinstance(required, bool):
            hint = "write required=True or leave it out"
            raise InvalidDeclaration("requirement", id, f"has required={required!r:.40}", hint=hint)
        self.id, self.text, self.kind, self.required = id, text.strip(), kind, required
        several = isinstance(proved_by, Sequence) and not isinstance(proved_by, str)
        self.proved_by: tuple[Given, ...] = tuple(proved_by) if several else (proved_by,)  # type: ignore[assignment]

    def spec(
        self, task: Task, gates: Sequence[Gate], monitors: Sequence[Monitor], datasets: Sequence[Dataset]
    ) -> RequirementSpec:
        """Return it as the ledger keeps it, its proofs by name.

        Raises
        ------
        InvalidDeclaration
            If a proof is none that the model has, or only shows while a version serves where it is required.
        """
        known = proofs_of(task, gates, monitors, datasets)
        proofs = tuple(dict.fromkeys(self._named(one, task, known) for one in self.proved_by))
        late = [one for one in proofs if not one.startswith(BEFORE_TRAFFIC)]
        if self.required and late:
            problem = f"is required before a version serves, and {late[0]} only shows while it does"
            hint = "prove it by a gate, or leave required out"
            raise InvalidDeclaration("requirement", self.id, problem, hint=hint)
        return msgspec.convert(
            {
                "id": self.id,
                "text": self.text,
                "kind": self.kind,
                "proofs": proofs,
                "required": self.required,
            },
            type=RequirementSpec,
        )

    def _named(self, given: object, task: Task, known: Sequence[str]) -> str:
        name = _name_of(given, task)
        if name in known:
            return name
        shown = name or repr(given)[:80]
        near = difflib.get_close_matches(shown[:120], known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"the proofs are {', '.join(known)}"
        problem = f"is proved by {shown!r}, which the model does not have"
        raise InvalidDeclaration("requirement", self.id, problem, hint=hint)


def proofs_of(
    task: Task, gates: Iterable[Gate], monitors: Iterable[Monitor], datasets: Iterable[Dataset]
) -> tuple[str, ...]:
    """Return everything that can prove something of a model, by name."""
    found = [f"{GATE}{gate_name(gate, task)}" for gate in gates]
    found += [f"{MONITOR}{tag_of(type(one))}" for one in monitors]
    found += [f"{CONTRACT}{one.name}" for one in datasets]
    return (*dict.fromkeys(found), LEAKS, ROLLOUT)


def _name_of(given: object, task: Task) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, Dataset):
        return f"{CONTRACT}{given.name}"
    if isinstance(given, Monitor):
        return f"{MONITOR}{tag_of(type(given))}"
    return f"{GATE}{gate_name(given, task)}" if is_gate(given) else ""
