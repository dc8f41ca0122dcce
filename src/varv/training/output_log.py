"""What the fits of one version print, in a file that can be read while they run.

The file is bounded whatever is printed: its beginning and its end are kept, with a line between them that
says how much is missing. One process writes it, that of `varv up`; anybody may read.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from varv.kernel.ids import ModelName, Version
from varv.kernel.job_ends import Output

_GROWS = 4
"""How many times as long as what is kept the file may get before it is cut back: a byte is moved a third of
a time on average."""


def output_path(home: Path, model: ModelName | str, version: Version | int) -> Path:
    """Return the file of what the fits of a version print."""
    return home / "output" / model / f"{version}.log"


class OutputLog:
    """Appends to the file of one version.

    Parameters
    ----------
    path
        The file; what it holds, from before a restart, is kept as its beginning.
    keep_bytes
        How much of the file is kept: half of the beginning, half of the end.
    """

    def __init__(self, path: Path, keep_bytes: int) -> None:
        self._path = path
        self._half = keep_bytes // 2
        self._n_dropped = 0
        self._n_held = self._on_disk()
        self._heading = b""

    def begin(self, step: str) -> None:
        """Head what follows with the name of a step, if anything follows."""
        self._heading = f"[{step}]\n".encode()

    def write(self, part: bytes) -> None:
        """Append what was printed. A disk that takes nothing more costs the output, not the training."""
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(self._heading + part)
            self._n_held += len(self._heading) + len(part)
            self._heading = b""
            if self._n_held > 2 * self._half * _GROWS:
                self._cut_back()

    def finish(self) -> None:
        """Cut the file back to what is kept, now that a step has ended."""
        with suppress(OSError):
            self._cut_back()

    def _cut_back(self) -> None:
        if self._n_held <= 2 * self._half:
            return
        text = self._path.read_bytes()
        head, rest = text[: self._half], text[self._half :]
        rest = rest.removeprefix(_gap(self._n_dropped)) if self._n_dropped else rest
        tail = rest[-self._half :]
        self._n_dropped += len(rest) - len(tail)
        draft = self._path.with_suffix(".draft")
        draft.write_bytes(head + _gap(self._n_dropped) + tail)
        draft.replace(self._path)
        self._n_held = self._on_disk()

    def _on_disk(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0


def _gap(n_dropped: int) -> bytes:
    # The beginning may end within a line.
    return f"\n{Output(n_dropped=n_dropped).text}".encode()
