"""Where models compute, as far as runtimes have to say it alike."""

from __future__ import annotations

from varv.kernel.errors import FailedPrecondition


def no_gpu(runtime: str, need: str) -> FailedPrecondition:
    """Return the error of a runtime that is asked for a GPU that it does not have.

    Parameters
    ----------
    need
        What it would take, as an imperative.
    """
    hint = f'{need}, with a driver of NVIDIA, or set device to "auto" or "cpu"'
    return FailedPrecondition(
        "runtime", runtime, "finds no GPU, which the setting device asks for", hint=hint
    )
