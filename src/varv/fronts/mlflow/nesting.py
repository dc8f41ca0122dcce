"""How deep the values of a body may be nested: what reads them later goes into each, by recursion."""

from __future__ import annotations

import re

from varv.kernel.errors import InvalidInput

DEEPEST = 32
"""Objects and lists within each other."""
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_TEXT_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def require_shallow(body: bytes, path: str) -> None:
    """Raise `InvalidInput` if values of a JSON body are nested deeper than `DEEPEST`.

    Parameters
    ----------
    path
        Of the request.

    Examples
    --------
    >>> require_shallow(b'{"a": [' + b"[]," * 100 + b"[]]}", "runs/create")
    >>> require_shallow(b'{"a": "' + b"[" * 100 + b'"}', "runs/create")
    >>> require_shallow(b"[" * 33 + b"]" * 33, "runs/create")
    Traceback (most recent call last):
    varv.kernel.errors.InvalidInput: request 'runs/create' holds values nested too deep (most=32)
    """
    if body.count(b"{") + body.count(b"[") <= DEEPEST:
        return
    # Each round takes the innermost away. That leaves nothing of what is shallow, unless texts hold brackets.
    brackets = body.translate(None, _ALL_BUT_BRACKETS)
    for _ in range(DEEPEST):
        # Marked before it is taken away, so that what lies around it is no innermost in the same round.
        brackets = brackets.replace(b"{}", b".").replace(b"[]", b".").replace(b".", b"")
        if not brackets:
            return
    if _depth(body) > DEEPEST:
        raise InvalidInput("request", path, "holds values nested too deep", most=DEEPEST)


def _depth(body: bytes) -> int:
    depth = deepest = 0
    for found in _TEXT_OR_BRACKET.finditer(body):
        sign = found[0]
        if sign in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif sign in (b"]", b"}"):
            depth -= 1
    return deepest
