"""Errors in the shape of MLflow's protocol: a code, a message, and a status that its client knows.

A client repeats what is answered by 429 or 5xx, several times, so neither is ever the answer to what will not
change; and in a few places it compares the text of a message, which is therefore written as it expects it.
"""

from __future__ import annotations

import msgspec

from varv.kernel.errors import RateLimited, VarvError

_CODES = {
    "invalid_input": ("INVALID_PARAMETER_VALUE", 400),
    "invalid_declaration": ("INVALID_PARAMETER_VALUE", 400),
    "failed_precondition": ("INVALID_PARAMETER_VALUE", 400),
    "conflict": ("INVALID_PARAMETER_VALUE", 400),
    "not_found": ("RESOURCE_DOES_NOT_EXIST", 404),
    "expired": ("RESOURCE_DOES_NOT_EXIST", 404),
    "erased": ("RESOURCE_DOES_NOT_EXIST", 404),
    "already_exists": ("RESOURCE_ALREADY_EXISTS", 400),
    "unauthenticated": ("UNAUTHENTICATED", 401),
    "permission_denied": ("PERMISSION_DENIED", 403),
    "rate_limited": ("REQUEST_LIMIT_EXCEEDED", 429),
    "unavailable": ("TEMPORARILY_UNAVAILABLE", 503),
    "interrupted": ("TEMPORARILY_UNAVAILABLE", 503),
    "storage_full": ("REQUEST_LIMIT_EXCEEDED", 429),
    "deadline_exceeded": ("TEMPORARILY_UNAVAILABLE", 503),
}
_INTERNAL = ("INTERNAL_ERROR", 500)


class NoSuchEndpoint(VarvError):
    """Is no endpoint of this API."""

    code = "not_found"


class NotOffered(VarvError):
    """Is not offered: files are kept by this server, which takes and gives each as one body of any size."""

    code = "failed_precondition"


def answer_of(error: VarvError) -> tuple[int, bytes]:
    """Return the status and the body that say what is wrong.

    Examples
    --------
    >>> from varv.kernel.errors import NotFound
    >>> answer_of(NotFound("run", "abc"))
    (404, b'{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Run with id=abc not found"}')
    """
    if isinstance(error, NotOffered):
        code, status = "NOT_IMPLEMENTED", 501
    elif isinstance(error, NoSuchEndpoint):
        code, status = "ENDPOINT_NOT_FOUND", 405 if error.facts.get("allowed") else 404
    else:
        code, status = _CODES.get(error.code, _INTERNAL)
    return status, msgspec.json.encode({"error_code": code, "message": _message(error)})


def _message(error: VarvError) -> str:
    if error.code == "not_found" and error.kind in _NOT_FOUND:
        return _NOT_FOUND[error.kind].format(error.name)
    if error.code == "already_exists" and error.kind in _TAKEN:
        return f"{_TAKEN[error.kind].format(error.name)} already exists. {error.hint}".rstrip()
    if isinstance(error, RateLimited):
        return f"{error}"
    return str(error)


_NOT_FOUND = {
    "run": "Run with id={} not found",
    "experiment": "No Experiment with id={} exists",
    "experiment name": "Could not find experiment with name '{}'",
    "registered model": "Registered Model with name={} not found",
    "model version": "Model Version {} not found",
    "webhook": "Webhook with ID {} not found.",
    "logged model": "Logged model with ID '{}' not found.",
    "trace": "Trace with ID '{}' not found.",
}
_TAKEN = {
    "experiment": "Experiment(name={})",
    "registered model": "Registered Model (name={})",
}
