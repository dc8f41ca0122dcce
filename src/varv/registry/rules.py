"""What names, aliases, tags and stages of the registry may be: the limits that clients of MLflow's protocol
know.

Sources: MLflow's REST documentation and the behaviour of its server 3.17 and 3.18.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from varv.kernel.errors import InvalidInput
from varv.registry.model import STAGES, Stage

LONGEST_NAME = 240
"""Bytes; the name of a stream has 255."""
LONGEST_ALIAS = 255
LONGEST_TAG_NAME = 250
LONGEST_TAG = 100_000
LONGEST_DESCRIPTION = 100_000
LONGEST_SOURCE = 5000
PROMPT = "mlflow.prompt.is_prompt"
"""The tag that makes a registered model a prompt, and its versions the versions of a text."""
LATEST = "latest"
"""Is no alias: it names the version with the highest number."""
_ALIAS = re.compile(r"[\w-]+")
_NUMBERED = re.compile(r"[vV]\d+")
_TAG = re.compile(r"[/\w.\- :]+")


def require_model_name(name: str) -> None:
    """Raise `InvalidInput` unless a registered model may be called `name`.

    Examples
    --------
    >>> require_model_name("flight delays")
    >>> require_model_name("flights/delays")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    varv.kernel.errors.InvalidInput: model name 'flights/delays' is not valid; leave out slashes...
    """
    if (
        not name.strip()
        or not name.isprintable()
        or any(mark in name for mark in "/:")
        or len(name.encode()) > LONGEST_NAME
        or name in (".", "..")
    ):
        hint = "leave out slashes, colons and control characters, and use 240 bytes at most"
        raise InvalidInput("model name", name[:80], "is not valid", hint=hint)


def require_alias(alias: str) -> None:
    """Raise `InvalidInput` unless an alias may be called so: ``latest`` and ``v7`` mean something already."""
    if not _ALIAS.fullmatch(alias) or len(alias) > LONGEST_ALIAS:
        hint = "use letters, digits, underscores and dashes, 255 at most"
        raise InvalidInput("alias", alias[:80], "is not valid", hint=hint)
    if alias.lower() == LATEST or _NUMBERED.fullmatch(alias):
        raise InvalidInput("alias", alias, "is reserved", hint="choose another name")


def require_tags(tags: Mapping[str, str]) -> None:
    """Raise `InvalidInput` unless all of them may be tags of a registered model or of a version."""
    for name, value in tags.items():
        is_path = name == posixpath.normpath(name) and name != "." and not name.startswith(("/", ".."))
        if not _TAG.fullmatch(name) or len(name) > LONGEST_TAG_NAME or not is_path:
            hint = "use letters, digits, spaces and any of _-.:/, as a relative path, 250 at most"
            raise InvalidInput("tag name", name[:80], "is not valid", hint=hint)
        if len(value) > LONGEST_TAG:
            problem = "has too long a value"
            raise InvalidInput("tag", name, problem, longest=LONGEST_TAG, length=len(value))


def require_description(text: str) -> None:
    """Raise `InvalidInput` if a description is too long."""
    if len(text) > LONGEST_DESCRIPTION:
        problem = "is too long"
        raise InvalidInput("description", "", problem, longest=LONGEST_DESCRIPTION, length=len(text))


def stage_named(name: str) -> Stage:
    """Return a stage by its name, in any case of letters.

    Examples
    --------
    >>> stage_named("production")
    'Production'
    """
    for stage in STAGES:
        if stage.lower() == name.lower():
            return stage
    hint = f"use one of {', '.join(STAGES)}"
    raise InvalidInput("stage", name[:80], "does not exist", hint=hint)


def is_prompt(tags: Mapping[str, str]) -> bool:
    """Return whether what has these tags is a prompt."""
    return tags.get(PROMPT, "").lower() == "true"
