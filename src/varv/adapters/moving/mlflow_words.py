"""Words that MLflow's stores write states as."""

from __future__ import annotations

from varv.kernel.errors import InvalidInput
from varv.registry.model import STAGES, Stage
from varv.runs.logged.model import LoggedStatus
from varv.runs.model import Status

LOGGED_STATUSES: dict[int, LoggedStatus] = {1: "PENDING", 2: "READY", 3: "FAILED"}
_STATUSES: tuple[Status, ...] = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
"""Numbered from 1 in folders."""


def run_status(told: str | int) -> Status:
    """Return the status of a run, which is a name or its number.

    Raises
    ------
    InvalidInput
        If it is neither.

    Examples
    --------
    >>> run_status(3), run_status("KILLED")
    ('FINISHED', 'KILLED')
    """
    for number, status in enumerate(_STATUSES, 1):
        if told in (number, str(number), status):
            return status
    raise InvalidInput("run status", told, "is not known", hint=f"known: {', '.join(_STATUSES)}")


def logged_model_in(source: str) -> str:
    """Return the logged model that the source of a version names; nothing if it names none.

    Examples
    --------
    >>> logged_model_in("models:/m-0a"), logged_model_in("models:/delays/3")
    ('m-0a', '')
    """
    return source.removeprefix("models:/") if source.startswith("models:/m-") else ""


def stage_of(told: str | None) -> Stage:
    """Return the stage of a version; none if it has none that is known."""
    return next((stage for stage in STAGES if stage == told), "None")
