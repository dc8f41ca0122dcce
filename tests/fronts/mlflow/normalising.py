"""Answers without what differs from server to server: ids, times, names made up, hosts, tokens.

An id becomes a placeholder the first time that it is seen, so two answers are equal only if the same ids
stand in the same places. What a scene gave itself (a start time of 1000, a name) stays as it is.
"""

from __future__ import annotations

import json
import re
from typing import Any

from varv.kernel.stated_tags import STATED

KINDS = {
    "run_id": "run",
    "run_uuid": "run",
    "source_run_id": "run",
    "experiment_id": "experiment",
    "source_experiment_id": "experiment",
    "model_id": "model",
    "source_id": "source",
    "destination_id": "destination",
    "trace_id": "trace",
    "request_id": "trace",
    "assessment_id": "assessment",
    "webhook_id": "webhook",
    "upload_id": "upload",
    "dataset_id": "dataset",
    "registered_model_id": "registered model",
}
TOKENS = {"next_page_token", "page_token"}
MADE_UP = re.compile(r"[a-z]+-[a-z]+-\d{1,5}")
RECENT_TIME = re.compile(r"20(2[5-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?")
# Milliseconds of this era; the times that scenes give lie before it.
ERA_MS = (1_600_000_000_000, 4_000_000_000_000)
# Lists that have no order, whatever is in them.
SETS = {"aliases", "dataset_inputs", "dataset_summaries", "model_inputs", "model_outputs"}
LONGEST_TEXT = 300
SHORTEST_ID = 6


class Names:
    """The placeholders of one scene, in order of appearance."""

    def __init__(self, server: str, unique: str) -> None:
        self._of = {server: "<server>", unique: "<u>"}
        self._experiments: dict[str, str] = {}
        self._counted: dict[str, int] = {}

    def remember(self, name: str, value: str, key: str) -> None:
        """Name a value that the scene keeps and that stands under `key`."""
        if value not in self._of and not key.isdigit():
            self._of[value] = f"<{name}>"
            if KINDS.get(key) == "experiment":
                self._experiments[value] = f"<{name}>"

    def meet(self, document: Any) -> None:
        """Name the ids of an answer that have no name yet."""
        if isinstance(document, list):
            for part in document:
                self.meet(part)
        elif isinstance(document, dict):
            for key in sorted(document):
                kind, value = KINDS.get(key), document[key]
                if kind is None or not isinstance(value, str):
                    self.meet(value)
                elif value not in ("", "0") and value not in self._of:
                    self._counted[kind] = self._counted.get(kind, 0) + 1
                    self.remember(f"{kind} {self._counted[kind]}", value, key)

    def id(self, value: str) -> str:
        """Return the name of an id, whatever its length."""
        return self._of.get(value, value) if value else value

    def message(self, text: str) -> str:
        """Return a message of an error with what has a name replaced by it, short ids too."""
        for value, name in self._experiments.items():
            text = re.sub(rf"\b{re.escape(value)}\b", name, text)
        return self.text(text)

    def text(self, text: str) -> str:
        """Return a text with what has a name replaced by it."""
        if text.startswith("mlflow-artifacts:"):
            # Ids of experiments may be as short as a digit, so they are looked for here alone.
            for value, name in self._experiments.items():
                text = re.sub(rf"(?<=/){re.escape(value)}(?=/|$)", name, text)
        for value, name in self._of.items():
            if len(value) >= SHORTEST_ID:
                text = text.replace(value, name)
        text = RECENT_TIME.sub("<time>", text)
        return text if len(text) <= LONGEST_TEXT else f"{text[:40]}… {len(text)} characters"


def normal(document: Any, names: Names, unread: tuple[str, ...] = (), key: str = "") -> Any:
    """Return a document as a transcript holds it: placeholders for ids, and lists without an order in one."""
    match document:
        case dict():
            kept = {name: value for name, value in sorted(document.items()) if name not in unread}
            given = {name: normal(value, names, unread, name) for name, value in kept.items()}
            if kept.get("tags") and given["tags"] == []:
                del given["tags"]  # where there are none, there is no list
            if kept.get("key") == "mlflow.runName" and "value" in given:
                given["value"] = _made_up(given["value"])
            return given
        case list():
            # What we state of files comes when they were looked at, and MLflow states nothing.
            parts = [normal(part, names, unread) for part in document if not _is_stated(part)]
            return sorted(parts, key=_place) if key in SETS or _pairs(parts) else parts
        case str() if key in TOKENS:
            return "<token>" if document else ""
        case str():
            text = names.id(document) if key in KINDS else names.text(document)
            return _made_up(text) if key in ("run_name", "name", "mlflow.runName") else text
        case bool():
            return document
        case int() if ERA_MS[0] < document < ERA_MS[1]:
            return "<time>"
    return document


def _is_stated(part: Any) -> bool:
    return isinstance(part, dict) and part.get("key") in STATED


def _made_up(text: str) -> str:
    return "<made-up name>" if MADE_UP.fullmatch(text) else text


def _pairs(parts: list[Any]) -> bool:
    """Say whether a list is of pairs with distinct keys, or of one model's metrics of several datasets."""
    keys = [part.get("key") if isinstance(part, dict) else None for part in parts]
    of_models = [isinstance(part, dict) and "model_id" in part and "key" in part for part in parts]
    return (None not in keys and len(set(keys)) == len(keys)) or (bool(parts) and all(of_models))


def _place(part: Any) -> str:
    return json.dumps(part, sort_keys=True)
