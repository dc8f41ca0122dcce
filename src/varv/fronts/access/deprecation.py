"""What answers of KServe's first protocol say of its end: since when it is not to be used, and what follows.

The fields are those of RFC 9745 and of RFC 8288 with the relation of RFC 5829.
"""

from __future__ import annotations

_BEFORE = "/v1/"


def is_deprecated(path: str) -> bool:
    """Return whether a path is of the protocol of before."""
    return path.startswith(_BEFORE)


def deprecation_headers(path: str, since_s: int) -> tuple[tuple[str, str], ...]:
    """Return what the answer to a path says of its end.

    Parameters
    ----------
    since_s
        When it began to be deprecated, in seconds since 1970.

    Examples
    --------
    >>> deprecation_headers("/v1/models/late:predict", 1767225600)[1]
    ('link', '</v2/models/late/infer>; rel="successor-version"')
    """
    after = f"/v2/{path.removeprefix(_BEFORE)}"
    model, asks, _ = after.partition(":predict")
    return (
        ("deprecation", f"@{since_s}"),
        ("link", f'<{model}{"/infer" if asks else ""}>; rel="successor-version"'),
    )
