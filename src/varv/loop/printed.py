"""What trainings print, as fronts show it.

While a training runs its output is in a file beside the ledger (`training.output_log`); once it has ended the
ledger names a blob with the same bytes.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from varv.kernel.blobs import FolderBlobs
from varv.kernel.codec import Digest
from varv.kernel.errors import Corrupt, NotFound
from varv.kernel.ids import ModelName, Version
from varv.loop.model import OutputKept
from varv.loop.views import Attempt, LoopView
from varv.training.output_log import output_path


class Printed(msgspec.Struct, frozen=True, kw_only=True):
    """What the training of a version printed."""

    model: str
    version: int
    text: str
    """Its beginning and its end, where it printed much."""
    n_bytes: int
    """As far as it is kept."""
    running: bool
    """Whether the training is under way, so that more may come."""
    digest: Digest | None = None
    """Of the bytes that the ledger names, once the training has ended."""


def printed(home: Path, loops: LoopView, model: str, version: int | None) -> Printed:
    """Return what the training of a version printed so far.

    Parameters
    ----------
    version
        None for the latest that was tried.

    Raises
    ------
    NotFound
        If no training of that model, or of that version, was ever begun.
    """
    record = loops.loops.get(model)
    attempts = record.attempts if record else {}
    if not attempts or (version is not None and version not in attempts):
        tried = ", ".join(f"v{number}" for number in sorted(attempts)) or "none"
        name = model if version is None else f"{model} v{version}"
        raise NotFound("training", name[:80], hint=f"trainings of it: {tried}")
    number = max(attempts) if version is None else version
    attempt = attempts[number]
    data = _data(home, ModelName(model), Version(number), attempt.output)
    return Printed(
        model=model,
        version=number,
        text=data.decode(errors="backslashreplace"),
        n_bytes=len(data),
        running=_is_running(attempt),
        digest=None if attempt.output is None else attempt.output.digest,
    )


def _data(home: Path, model: ModelName, version: Version, kept: OutputKept | None) -> bytes:
    if kept is not None:
        try:
            return FolderBlobs(home / "blobs").get(kept.digest)
        except (NotFound, Corrupt):
            pass  # varv verify says so; the file holds the same
    try:
        return output_path(home, model, version).read_bytes()
    except OSError:
        return b""


def _is_running(attempt: Attempt) -> bool:
    return attempt.outcome == "training" and attempt.output is None
