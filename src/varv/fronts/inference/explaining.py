"""Explanations in a model's own form, and in KServe's: what each feature contributed to each prediction."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from varv.fronts.inference import oip, scoring, typed
from varv.fronts.inference.forms import Reply
from varv.fronts.inference.served import Inference
from varv.fronts.inference.timing import Visit, admit
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import InvalidInput
from varv.serving import Answering
from varv.serving.explaining import Explanation
from varv.tasks import Task

Schema = dict[str, Any]
EXACT, SAMPLED = "exact", "sampled"


def explain_typed(
    inference: Inference, answering: Answering, visit: Visit, body: bytes, version: str
) -> Reply:
    """Return the explanation of a request in a model's own form; it raises as `Questions.explain` does.

    Parameters
    ----------
    version
        The number of the version that is asked, as a text; empty for the champion.
    """
    asked = typed.read(body, answering)
    admit(inference.door, visit, answering.model, asked, wall_seconds())
    found = answering.questions.explain(asked.columns, asked.id, _number(version))
    is_exact = all(one.is_exact for one in found.contributions)
    told = {
        "id": asked.id,
        "model": answering.model,
        "version": found.version,
        "method": EXACT if is_exact else SAMPLED,
        "rows": rows_of(answering.task, found),
    }
    return Reply(msgspec.json.encode(told))


def explain_instances(
    inference: Inference, answering: Answering, visit: Visit, body: bytes, version: str
) -> Reply:
    """Return the explanation of a request of KServe's first protocol; it raises as `Questions.explain`."""
    asked = oip.Asked(scoring.read_predict(body, answering), oip.id_of(""), ())
    admit(inference.door, visit, answering.model, asked, wall_seconds())
    found = answering.questions.explain(asked.columns, asked.id, _number(version))
    return Reply(msgspec.json.encode({"explanations": rows_of(answering.task, found)}))


def rows_of(task: Task, one: Explanation) -> list[dict[str, Any]]:
    """Return one object a row: its key, what was predicted, what the mean of the background is, and the
    contributions, the largest first.
    """
    predicted = task.plain(one.scores)
    return [
        {
            "key": key,
            "prediction": predicted[place],
            "base": _numbers(task, one.contributions[place].base),
            "contributions": _contributions(task, one, place),
        }
        for place, key in enumerate(one.keys)
    ]


def answer_schema(task: Task) -> Schema:
    """Return the JSON Schema of explanations."""
    number: Schema = {"type": "number"}
    if task.width > 1:
        names = dict.fromkeys(task.outputs, number)
        number = {"type": "object", "properties": names, "required": list(names)}
    one = {
        "type": "object",
        "required": ["feature", "contribution", "error"],
        "properties": {
            "feature": {"type": "string"},
            "contribution": {**number, "description": "In the unit of the prediction."},
            "error": {**number, "description": "Standard error of the contribution; 0 where it is exact."},
        },
    }
    row = {
        "type": "object",
        "required": ["key", "prediction", "base", "contributions"],
        "properties": {
            "key": {"type": "string"},
            "prediction": {},
            "base": {**number, "description": "The mean prediction of the rows that it is compared with."},
            "contributions": {"type": "array", "items": one},
        },
    }
    told = {
        "id": {"type": "string"},
        "model": {"type": "string"},
        "version": {"type": "integer"},
        "method": {"type": "string", "enum": [EXACT, SAMPLED]},
        "rows": {"type": "array", "items": row},
    }
    return {"type": "object", "required": list(told), "properties": told}


def _contributions(task: Task, one: Explanation, place: int) -> list[dict[str, Any]]:
    found = one.contributions[place]
    order = np.argsort(-np.abs(found.values).max(axis=1), kind="stable")
    return [
        {
            "feature": one.features[number],
            "contribution": _numbers(task, found.values[number]),
            "error": _numbers(task, found.errors[number]),
        }
        for number in order.tolist()
    ]


def _numbers(task: Task, values: Any) -> Any:
    """Return the numbers of one prediction: by their names, where there are several."""
    if task.width == 1:
        return float(values[0])
    return dict(zip(task.outputs, map(float, values), strict=True))


def _number(version: str) -> int | None:
    if version and not (version.isascii() and version.isdecimal() and len(version) < 10):
        hint = "give a whole number, or leave it out"
        raise InvalidInput("version", version[:80], "is no number of a version", hint=hint)
    return int(version) if version else None
