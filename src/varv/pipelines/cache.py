"""Results of steps, found by their content: a record for each key in a folder, the bytes in blobs.

`pipelines.graph` makes the keys and asks here; `varv verify` looks at the records by `cache_flaws`. Several
processes may share a cache: a record is put in place whole, and equal keys have equal results.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from varv.kernel.blobs import Blobs
from varv.kernel.codec import Digest, canonical, digest_of
from varv.kernel.errors import VarvError
from varv.kernel.ids import random_bits
from varv.kernel.storage import storing


class _Record(msgspec.Struct, frozen=True):
    result: Digest
    parts: dict[str, str]
    seal: Digest = Digest("")
    """Digest of the other two; empty in records of an earlier version."""

    def holds(self, key: str) -> bool:
        """Return whether the record is that of `key`, as it was written."""
        sealed = self.seal in ("", digest_of([self.result, self.parts]))
        return sealed and digest_of(self.parts) == key


class StepCache:
    """Results of steps by key: records in a folder, bytes in blobs.

    Parameters
    ----------
    folder
        Where records are kept, one small file a key; made if it is not there.
    blobs
        Where the results themselves are.
    """

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        self._folder = folder
        self.blobs = blobs
        self._lock = threading.Lock()
        self._under_way: dict[Digest, tuple[threading.Lock, int]] = {}
        """Who works on a key, and how many do or wait for it."""
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, group: str, key: Digest) -> tuple[Digest, bytes] | None:
        """Return the digest and bytes of the result under `key`, or None.

        A record whose bytes are gone or damaged is no result: the step runs again.
        """
        try:
            record = msgspec.json.decode((self._folder / group / key).read_bytes(), type=_Record)
            return (record.result, self.blobs.get(record.result)) if record.holds(key) else None
        except (OSError, msgspec.MsgspecError, VarvError):
            return None

    @contextmanager
    def alone(self, key: Digest) -> Generator[None]:
        """Hold a key: whoever else in this process asks for it waits, and then finds its result."""
        with self._lock:
            held, n = self._under_way.get(key, (threading.Lock(), 0))
            self._under_way[key] = held, n + 1
        try:
            with held:
                yield
        finally:
            with self._lock:
                held, n = self._under_way.pop(key)
                if n > 1:
                    self._under_way[key] = held, n - 1

    def keep(self, group: str, key: Digest, parts: dict[str, str], data: bytes) -> Digest:
        """Keep `data` under `key` and return its digest."""
        result = self.blobs.put(data)
        place = self._folder / group / key
        draft = place.with_name(f".{key}.{os.getpid()}-{random_bits(64):016x}")
        with storing("step", place, draft=draft):
            place.parent.mkdir(exist_ok=True)
            draft.write_bytes(canonical(_Record(result, parts, digest_of([result, parts]))))
            draft.replace(place)
        return result

    def why_missed(self, group: str, parts: Mapping[str, str]) -> tuple[str, ...]:
        """Return the parts in which this key differs from the nearest earlier key of the group."""
        best: tuple[str, ...] | None = None
        for path in sorted((self._folder / group).glob("[0-9a-f]*")):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=_Record)
            except (OSError, msgspec.MsgspecError):
                continue  # a torn or damaged record says nothing
            changed = {name for name in {*parts, *record.parts} if parts.get(name) != record.parts.get(name)}
            if best is None or len(changed) < len(best):
                best = tuple(sorted(changed))
        if best == ():
            return ("stored result is damaged",)
        return ("first run",) if best is None else best


def cache_flaws(folder: Path, known: Mapping[Digest, Digest]) -> Iterator[tuple[str, str, str, str]]:
    """Yield what is wrong with the records of a `StepCache`: file, problem, expected, found.

    Parameters
    ----------
    folder
        That of the cache.
    known
        Results that are on record elsewhere, by key.
    """
    for path in sorted(folder.glob("*/[0-9a-f]*")):
        shown = path.relative_to(folder.parent).as_posix()
        try:
            record = msgspec.json.decode(path.read_bytes(), type=_Record)
        except (OSError, msgspec.MsgspecError) as error:
            yield shown, "cannot be read", "a record", str(error)
            continue
        expected = known.get(Digest(path.name), record.result)
        if not record.holds(path.name):
            yield shown, "is not what was written", f"the record of {path.name[:12]}", "another"
        elif record.result != expected:
            yield shown, "names another result", f"digest {expected[:12]}", f"digest {record.result[:12]}"
