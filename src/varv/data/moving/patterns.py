"""Regular expressions of Python, as the engine of polars reads them: Rust's, whose time grows with the text.

It has no look-around, no references back and no possessive quantifiers: patterns with these are refused.
``$`` is the end of the text there, and not also the place before a last line break.
"""

from __future__ import annotations

import re

_NESTED = ("&&", "--", "~~")
"""What stands for itself in a class of Python's, and for an operation on sets in one of Rust's."""


def translated_pattern(pattern: str) -> str:
    r"""Return a pattern of Python's `re` as Rust's `regex` reads it; what it lacks is left for it to refuse.

    Examples
    --------
    >>> translated_pattern(r"^a{,3}[[x]\Z")
    '^a{0,3}[\\[x]\\z'
    """
    found: list[str] = []
    at, in_class = 0, False
    while at < len(pattern):
        sign = pattern[at]
        if sign == "\\" and at + 1 < len(pattern):
            found.append(_escaped(pattern[at + 1]))
            at += 2
            continue
        if in_class:
            in_class = sign != "]"
            is_nested = sign == "[" or pattern[at : at + 2] in _NESTED
            found.append(f"\\{sign}" if is_nested else sign)
        elif sign == "[":
            # A bracket that closes at once is one of the class.
            opening = re.match(r"\[\^?\]?", pattern[at:])
            text = opening[0] if opening else sign
            found.append(text.replace("]", "\\]"))
            at, in_class = at + len(text), True
            continue
        else:
            found.append("{0," if pattern.startswith("{,", at) else sign)
            at += pattern.startswith("{,", at)
        at += 1
    return "".join(found)


def python_pattern(pattern: str) -> str:
    r"""Return a pattern of Rust's `regex` as Python's `re` reads it, to the same end of the text.

    Raises
    ------
    ValueError
        If Python's has no such thing.

    Examples
    --------
    >>> python_pattern(r"^[a$]+\.$")
    '^[a$]+\\.\\Z'
    """
    if "[:" in pattern or any(sign in pattern for sign in _NESTED):
        raise ValueError("Python's patterns have no sets of characters within a class")
    found: list[str] = []
    at, in_class = 0, False
    while at < len(pattern):
        sign = pattern[at : at + 2] if pattern[at] == "\\" else pattern[at]
        in_class = sign == "[" or (in_class and sign != "]")
        ends = sign == "\\z" or (sign == "$" and not in_class)
        found.append("\\Z" if ends else sign)
        at += len(sign)
    translated = "".join(found)
    try:
        re.compile(translated)
    except re.error as error:
        raise ValueError(f"Python does not read its pattern: {error}") from None
    return translated


def _escaped(sign: str) -> str:
    if sign == "Z":
        return "\\z"
    return sign if sign in "<>" else f"\\{sign}"


def like_pattern(like: str) -> str:
    """Return a pattern of SQL's LIKE as a regular expression.

    Examples
    --------
    >>> like_pattern("N%_")
    '(?s)^N.*.$'
    """
    parts = (".*" if sign == "%" else "." if sign == "_" else re.escape(sign) for sign in like)
    return f"(?s)^{''.join(parts)}$"


def whole(pattern: str) -> str:
    """Return a pattern that begins where the text does, as `re.match` has it."""
    if pattern.startswith("^") and "|" not in pattern:
        return pattern
    return f"^(?:{pattern})"
