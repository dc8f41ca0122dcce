"""What a trace was asked and what it answered, in the few words that a list has room for.

Chats are told by their last message: of whoever asked, or of the model. What is no chat is shown as JSON, as
far as it fits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from varv.runs.traces.rules import LONGEST_PREVIEW

Role = Literal["user", "assistant"]
_LISTS = ("messages", "input", "output")
_TEXTS = ("text", "output_text")


def preview(value: Any, role: Role) -> str | None:
    """Return the beginning of what went in or came out of a trace; None if nothing is known of it.

    Parameters
    ----------
    role
        Whose last message of a chat is shown.

    Examples
    --------
    >>> preview({"messages": [{"role": "user", "content": "what?"}]}, "user")
    'what?'
    >>> preview({"x": 1}, "user")
    '{"x": 1}'
    """
    if value is None:
        return None
    said = _last(_messages(value), role)
    text = said or json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_PREVIEW else f"{text[: LONGEST_PREVIEW - 3]}..."


def _messages(value: Any) -> list[dict[str, Any]]:
    """Return the messages of a chat in one of the forms that are common; none if it is no chat."""
    if not isinstance(value, dict):
        return []
    if isinstance(request := value.get("request"), dict):
        return _messages(request)
    for name in _LISTS:
        if isinstance(several := value.get(name), list):
            return [one for one in several if _is_message(one)]
    match value.get("choices"):
        case [{"message": message}, *_] if _is_message(message):
            return [message]
    return []


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "role" in value and "content" in value


def _last(messages: Sequence[dict[str, Any]], role: Role) -> str:
    of_role = [one for one in messages if one["role"] == role]
    if not messages:
        return ""
    content = (of_role or messages)[-1]["content"]
    parts = content if isinstance(content, list) else [content]
    for part in parts:
        match part:
            case str():
                return part
            case {"type": kind, "text": str(text)} if kind in _TEXTS:
                return text
    return ""
