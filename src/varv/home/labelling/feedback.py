"""What users say of predictions: outcomes with a source and a weight."""

from __future__ import annotations

import msgspec

from varv.home.labelling.desk import Labelling
from varv.home.labelling.verbs import labeller
from varv.kernel.clock import iso
from varv.kernel.errors import InvalidInput
from varv.kernel.verbs import WRITE, verb
from varv.labels.model import FeedbackGiven, Remark, Value

MOST_REMARKS = 1000
"""Of one request."""
MOST_WEIGHT = 1000.0


class RemarkGiven(msgspec.Struct, frozen=True, kw_only=True):
    """Says of a prediction, by its key, what its outcome was, and what that counts for beside others."""

    key: str
    value: Value
    weight: float = 1.0


class FeedbackRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Says what predictions should have been, and who says so."""

    model: str = ""
    source: str
    remarks: list[RemarkGiven]


class FeedbackTaken(msgspec.Struct, frozen=True, kw_only=True):
    """How many outcomes were taken in, known at which instant, and whether they replace what stood before.

    Where revisions are not declared, the first outcome of a key stands, whoever it is from.
    """

    model: str
    n: int
    known_at: str
    revised: bool


@verb("feedback.give", needs=WRITE)
def give_feedback(labelling: Labelling, asked: FeedbackRequest) -> FeedbackTaken:
    """Take in what users say of predictions, as outcomes with a source and a weight.

    Raises
    ------
    InvalidInput
        If there is no remark or too many, a key is there twice, or a value cannot be an outcome.
    Unavailable
        If no server runs.
    """
    of, source = labelling.model(asked.model), labeller(asked.source)
    keys = {one.key for one in asked.remarks}
    if not 1 <= len(asked.remarks) <= MOST_REMARKS or len(keys) < len(asked.remarks):
        hint = f"send 1 to {MOST_REMARKS}, each of another key"
        raise InvalidInput("request", "remarks", "are none, too many, or of one key", hint=hint)
    for one in asked.remarks:
        if not 0 < one.weight <= MOST_WEIGHT:
            hint = f"give a weight above 0, {MOST_WEIGHT:g} at most"
            raise InvalidInput("field", "weight", "is not allowed", given=one.weight, hint=hint)
    remarks = tuple(
        Remark(key=one.key, value=labelling.stored(of, one.value), weight=one.weight) for one in asked.remarks
    )
    now = labelling.clock.now()
    revised = labelling.make_outcomes(of, [(one.key, one.value) for one in remarks], now)
    event = FeedbackGiven(model=of.name, source=source, known_at=now, remarks=remarks, revised=revised)
    labelling.record(of.name, lambda: [event])
    return FeedbackTaken(model=of.name, n=len(remarks), known_at=iso(now), revised=revised)
