"""Documents as YAML that people read: blocks, texts in quotes where they could pass for something else.

A library is not needed for that much, and nothing is read here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

Plain = Mapping[str, "Plain"] | Sequence["Plain"] | str | int | float | bool | None
Document = dict[str, Plain]
# No sign that YAML reads anything into, and none of the words and numbers that are no texts to it.
_BARE = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@-]*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})


def documents_in_yaml(documents: Sequence[Document], notes: Sequence[str] = ()) -> str:
    """Return documents one after the other, below notes as comments.

    Examples
    --------
    >>> print(documents_in_yaml([{"a": {"b": ["on", 1]}, "c": {}}], ["made by hand"]), end="")
    # made by hand
    a:
      b:
        - "on"
        - 1
    c: {}
    """
    head = "".join(f"# {line}".rstrip() + "\n" for line in notes)
    return head + "---\n".join("".join(f"{line}\n" for line in _lines(one)) for one in documents)


def _lines(value: Plain) -> Iterator[str]:
    if not _is_block(value):
        yield _scalar(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _entry(f"{_scalar(key)}:", inner)
    elif isinstance(value, Sequence):
        for inner in value:
            first, *rest = _lines(inner)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)


def _entry(key: str, value: Plain) -> Iterator[str]:
    if _is_block(value):
        yield key
        yield from (f"  {line}" for line in _lines(value))
    else:
        yield f"{key} {_scalar(value)}"


def _is_block(value: Plain) -> bool:
    return bool(value) and not isinstance(value, str | int | float)


def _scalar(value: Plain) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if _BARE.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return f'"{"".join(map(_escaped, value))}"'


def _escaped(sign: str) -> str:
    if " " <= sign <= "~":
        return f"\\{sign}" if sign in '"\\' else sign
    return f"\\u{ord(sign):04x}" if ord(sign) < 1 << 16 else f"\\U{ord(sign):08x}"
