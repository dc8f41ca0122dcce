"""Results of steps that hold a subject and that no entry names: they are removed, and computed anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from varv.home.erasure.searching import files_of, n_in
from varv.kernel.codec import Digest
from varv.kernel.ledger import Ledger

_BATCH = 1000


def erase_results(home: Path, ledger: Ledger, texts: Sequence[str]) -> None:
    """Remove the blobs with one of the texts that no entry of the ledger names, and what leads to them.

    Parameters
    ----------
    texts
        As for `searching.search`.
    """
    needles = [text.lower().encode() for text in texts]
    paths = files_of(home / "blobs")
    held = {Digest(path.parent.name + path.name): path for path in paths if n_in(path, needles)}
    if not held:
        return
    named = set(_named(ledger, held))
    for path in files_of(home / "cache"):
        text = path.read_text(errors="replace")
        if any(digest in text for digest in held if digest not in named):
            path.unlink(missing_ok=True)
    for digest, path in held.items():
        if digest not in named:
            path.unlink(missing_ok=True)


def _named(ledger: Ledger, digests: dict[Digest, Path]) -> Iterator[Digest]:
    """Yield those digests that an entry of the ledger holds."""
    position = 0
    while entries := ledger.read(position, limit=_BATCH):
        for entry in entries:
            text = entry.data.decode(errors="replace")
            yield from (digest for digest in digests if digest in text)
        position = entries[-1].seq
