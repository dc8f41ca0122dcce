"""A scene played against any tracking server, and its answers compared with those on record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from .normalising import Names, normal
from .steps import API, EVERYTHING, Ours, Scene, Step

LONGEST_ERROR = 160
# Instead of a status, where a server ends the connection.
NO_ANSWER = 599
NOT_IMPLEMENTED = 501
VERSION = re.compile(r"3\.\d+\.\d+")
LEAKS = ("[SQL:", "sqlite3.", "Traceback (most", "/site-packages/")


@dataclass(frozen=True)
class Answer:
    """What a server answered, normalised, and its text as it came."""

    status: int
    headers: dict[str, str]
    body: Any
    raw: str

    def transcript(self, step: Step) -> dict[str, Any]:
        """The answer as a transcript holds it."""
        shown = {"headers": self.headers} if self.headers else {}
        body = {} if EVERYTHING in step.unread and self.status < 400 else {"body": self.body}
        return {"step": step.line, "status": self.status, **shown, **body}


def play(scene: Scene, client: httpx.Client, unique: str) -> list[Answer]:
    """Ask all steps of a scene in turn; a step that an answer leaves without an id is asked all the same."""
    names = Names(str(client.base_url).rstrip("/"), unique)
    known = {"u": unique}
    return [_ask(step, client, known, names) for step in scene.steps]


def _ask(step: Step, client: httpx.Client, known: dict[str, str], names: Names) -> Answer:
    path = _filled(step.path, known)
    given = {"json": _filled(step.json, known)} if step.content is None and step.json is not None else {}
    if step.content is not None:
        given["content"] = _filled(step.content.decode("latin-1"), known).encode("latin-1")
    try:
        response = client.request(
            step.method,
            path if path.startswith("/") else API + path,
            params=_filled(dict(step.query), known) or None,
            headers=_filled(dict(step.sent), known),
            **given,
        )
    except httpx.TransportError as error:
        return Answer(NO_ANSWER, {}, "no answer", repr(error))
    document = _document(response)
    for name, where in step.kept.items():
        known[name] = str(_at(document, where))
        names.remember(name, known[name], where.split(".")[-1])
    names.meet(document)
    headers = {name: _shown(response.headers.get(name, "")) for name in step.shown}
    return Answer(response.status_code, headers, _body(document, response, names, step), response.text)


def _shown(value: str) -> str:
    """Return a header without its parameters, which may be written in several ways."""
    return value.split(";")[0].strip()


def _document(response: httpx.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        return response.text


def _body(document: Any, response: httpx.Response, names: Names, step: Step) -> Any:
    if response.status_code < 400:
        version = isinstance(document, str) and VERSION.fullmatch(document)
        return "<version>" if version else normal(document, names, step.unread)
    if not isinstance(document, dict) or "error_code" not in document:
        return "an error that is not MLflow's"
    message = names.message(str(document.get("message", "")))
    # MLflow's errors of its database go on for pages.
    return {"error_code": document["error_code"], "message": message[:LONGEST_ERROR]}


def _filled(value: Any, known: dict[str, str]) -> Any:
    match value:
        case str():
            return re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], found[0]), value)
        case dict():
            return {_filled(key, known): _filled(part, known) for key, part in value.items()}
        case list():
            return [_filled(part, known) for part in value]
    return value


def _at(document: Any, where: str) -> Any:
    for part in where.split("."):
        try:
            document = document[int(part)] if isinstance(document, list) else document[part]
        except (LookupError, TypeError, ValueError):
            return f"no-{where.replace('.', '-')}"
    return document


def differences(step: Step, on_record: dict[str, Any], answer: Answer) -> list[str]:
    """Return how an answer differs from what is expected of varv, in lines."""
    ours = step.ours
    status = on_record["status"] if ours is None else ours.status
    if ours is None and status >= 500 and status != NOT_IMPLEMENTED:
        # What can never work is refused by us: clients repeat what failed for minutes.
        refused = 400 <= answer.status < 500 and isinstance(answer.body, dict)
        return [] if refused else [f"{step.line}: status {answer.status}, no refusal: {answer.raw[:300]}"]
    found = [] if status == answer.status else [f"status {answer.status}, not {status}: {answer.raw[:300]}"]
    if not found and status < 400 and (ours or "body" in on_record):
        expected = normal(ours.json, Names("", "")) if ours else on_record["body"]
        found += unequal(expected, answer.body, "")
    elif not found and status >= 400:
        found += _other_error(ours, on_record["body"], answer.body)
    if ours is None:
        for name, value in on_record.get("headers", {}).items():
            if answer.headers.get(name) != value:
                found.append(f"header {name} {answer.headers.get(name)!r}, not {value!r}")
    found += [f"{leak!r} is shown: {answer.raw[:300]}" for leak in LEAKS if leak in answer.raw]
    found += [f"{words!r} is not said: {answer.raw[:300]}" for words in step.words if words not in answer.raw]
    return [f"{step.line}: {line}" for line in found]


def _other_error(ours: Ours | None, on_record: Any, said: Any) -> list[str]:
    recorded = on_record.get("error_code") if isinstance(on_record, dict) else None
    code = recorded if ours is None else ours.error_code
    found = said.get("error_code") if isinstance(said, dict) else None
    return [f"error_code {found}, not {code}"] if code is not None and found != code else []


def unequal(expected: Any, found: Any, where: str) -> Iterator[str]:
    """Yield where two normalised documents differ, in lines."""
    match expected, found:
        case dict(), dict():
            for key in sorted(expected.keys() | found.keys()):
                at = f"{where}.{key}".lstrip(".")
                if key not in found:
                    yield f"{at} is missing, {expected[key]!r}"
                elif key not in expected:
                    yield f"{at} should be absent, is {found[key]!r}"
                else:
                    yield from unequal(expected[key], found[key], at)
        case list(), list() if len(expected) == len(found):
            for place, (one, other) in enumerate(zip(expected, found, strict=True)):
                yield from unequal(one, other, f"{where}[{place}]")
        case _ if expected != found:
            yield f"{where or 'the answer'} is {found!r}, not {expected!r}"
