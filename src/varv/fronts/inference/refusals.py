"""What is not a caller's to say, in whichever protocol it is asked."""

from __future__ import annotations

from varv.kernel.errors import NotFound, PermissionDenied
from varv.serving import Answering


def require_loadable(answering: Answering, *, given: bool) -> None:
    """Say yes to loading what is served.

    Parameters
    ----------
    given
        Whether it is to be loaded with parameters or files.

    Raises
    ------
    PermissionDenied
        If it is.
    """
    if given:
        problem = "is loaded as it was registered"
        raise PermissionDenied("model", answering.model, problem, hint="send no parameters")


def not_unloadable(answering: Answering) -> PermissionDenied:
    """Return the refusal of unloading a model."""
    hint = "take it out of the project and run varv apply with --retire"
    return PermissionDenied("model", answering.model, "goes by what is declared", hint=hint)


def no_service(name: str) -> NotFound:
    """Return what is said of a service that is asked about and not there."""
    return NotFound("service", name[:80], "is not served here", hint="leave its name out")
