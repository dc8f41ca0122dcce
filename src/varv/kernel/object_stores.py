"""Object stores, by obstore: what its failures say, wherever one is used."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from varv.kernel.errors import VarvError


@contextmanager
def reaching(library: Any, refused: Callable[[str], VarvError]) -> Generator[None]:
    """Raise what `refused` makes of the reason, in one line, if an object store fails within the block.

    Parameters
    ----------
    library
        The module, as `kernel.plugins.required` gave it.
    """
    try:
        yield
    except (library.exceptions.BaseError, OSError, ValueError) as error:
        # What is not there, or is not allowed, comes as an error of Python's own.
        raise refused(" ".join(str(error).split())[:300]) from None
