"""Which environment variables a job sees: the owner's, without secrets, and what makes its runs repeatable.

The owner's variables are passed in by whoever composes; nothing here reads the environment.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_OURS = "VARV_"
_SECRET_NAME = re.compile(
    r"token|secret|passw|passphrase|credential|apikey"
    r"|(^|_)(pass|pwd|pw|key|keys|pat|auth|dsn|cookie|netrc)(_|$)",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(r"://[^/@\s]*:[^/@\s]+@|-----BEGIN [A-Z ]*PRIVATE KEY-----")

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)


def without_secrets(variables: Mapping[str, str], *, keep: Collection[str] = ()) -> dict[str, str]:
    """Return the variables that a job may see.

    varv's own settings go, its token among them; and so does what is named or looks like a secret, such as an
    address with a password in it.

    Parameters
    ----------
    variables
        The owner's.
    keep
        Names that stay, whatever they look like.

    Examples
    --------
    >>> without_secrets({"PATH": "/bin", "VARV_TOKEN": "x", "AWS_SECRET_ACCESS_KEY": "y"})
    {'PATH': '/bin'}
    >>> without_secrets({"DB": "postgresql://ana:pw@db/x", "KEYBOARD": "de", "CDPATH": "/src"})
    {'KEYBOARD': 'de', 'CDPATH': '/src'}
    """
    return {
        name: value
        for name, value in variables.items()
        if name in keep
        or not (name.startswith(_OURS) or _SECRET_NAME.search(name) or _SECRET_VALUE.search(value))
    }


def repeatable(n_threads: int | None) -> dict[str, str]:
    """Return the variables that bear on what a job computes: the order of sets, and how many threads
    libraries use; None leaves the latter as it is.
    """
    threads = {} if n_threads is None else dict.fromkeys(_THREADS, str(n_threads))
    return {"PYTHONHASHSEED": "0", **threads}
