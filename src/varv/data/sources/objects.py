"""Object stores as sources: the objects of S3, Google's, Azure's or a folder that match a pattern, by
obstore.

An object is known by its ETag, so one that is written anew is read anew. Each is fetched whole to this
machine before it is read, one at a time.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from varv.data.sources.buckets import Bucket, require_no_secret
from varv.data.sources.files import format_of, guessed, in_batches, unguessed
from varv.data.sources.steps import Asked, Step, file_steps
from varv.kernel.errors import InvalidDeclaration, NotFound
from varv.kernel.scratch import Scratch

_GLOB = frozenset("*?[")


@dataclass(frozen=True)
class Objects:
    """Files in an object store.

    Parameters
    ----------
    pattern
        ``"s3://bucket/prefix/*.parquet"``; ``gs://``, ``az://`` and ``file://`` too. What is before the first
        ``*`` is listed, and a ``*`` stands for slashes too.
    format
        ``"parquet"``, ``"csv"`` or ``"jsonl"``; by the end of each name unless it is said.
    options
        Of obstore, such as ``{"endpoint": "http://minio:9000", "access_key_id": "${KEY_ID}"}``; without, it
        looks for credentials as the store's own tools do. Secrets are named, never written.

    Raises
    ------
    InvalidDeclaration
        If the pattern names no store, or an option holds a secret.
    """

    pattern: str
    format: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        scheme, separator, rest = self.pattern.partition("://")
        if not scheme or not separator or not rest:
            hint = 'write varv.Objects("s3://bucket/prefix/*.parquet")'
            raise InvalidDeclaration("source", "Objects", f"has the pattern {self.pattern[:80]!r}", hint=hint)
        require_no_secret("Objects", self.options)

    @property
    def identity(self) -> str:
        """What the source is."""
        return f"objects {self.pattern}"

    @property
    def guesses(self) -> bool:
        """Whether types are what rows suggest."""
        return self.format != "parquet" and not self.pattern.endswith(".parquet")

    @property
    def technical(self) -> tuple[str, ...]:
        """Columns that say nothing of what a row is about."""
        return ()

    def types(self) -> Mapping[str, pl.DataType]:
        """Return the columns and types of the first object."""
        return guessed(*self._first()).collect_schema()

    def load(self) -> pl.DataFrame:
        """Return all rows."""
        return pl.concat(list(self.batches()), how="vertical_relaxed")

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield all rows, in the order of the names of objects."""
        for path in self._required():
            scratch = Scratch("object")
            rows = guessed(self._bucket.here(path, scratch), format_of(path, self.format))
            yield from in_batches(rows, columns)

    def steps(self, asked: Asked) -> Iterator[Step]:
        """Yield the rows of objects that are new or have changed."""
        yield from file_steps(self._marks(), asked, lambda path, skip: self._read(path, skip, asked))

    def _read(self, path: str, skip: int, asked: Asked) -> Iterator[pl.DataFrame]:
        scratch = Scratch("object")
        yield from unguessed(
            self._bucket.here(path, scratch), format_of(path, self.format), asked.types, skip
        )

    def _first(self) -> tuple[Path, Any]:
        path = next(iter(self._required()))
        scratch = _KEPT.setdefault(self.pattern, Scratch("object"))
        return self._bucket.here(path, scratch), format_of(path, self.format)

    def _required(self) -> dict[str, str]:
        marks = self._marks()
        if not marks:
            hint = "check the pattern; what is before its first * is listed"
            raise NotFound("source", self.identity, "matches no object", hint=hint)
        return marks

    def _marks(self) -> dict[str, str]:
        """Return the mark of each object that matches, by its path."""
        matching = (one for one in self._bucket.files() if fnmatch.fnmatchcase(one.name, self._inside[1]))
        return {one.name: one.mark for one in matching}

    @cached_property
    def _bucket(self) -> Bucket:
        root, pattern = self._inside
        start = min((pattern.find(one) for one in _GLOB if one in pattern), default=len(pattern))
        return Bucket(root, self.options, self.identity, pattern[:start].rpartition("/")[0])

    @property
    def _inside(self) -> tuple[str, str]:
        """The address of the store, and the pattern within it."""
        scheme, _, rest = self.pattern.partition("://")
        if scheme == "file":
            return "file:///", rest.lstrip("/")
        bucket, _, pattern = rest.partition("/")
        return f"{scheme}://{bucket}", pattern


_KEPT: dict[str, Scratch] = {}
"""Where the first object of a pattern lies whose types were asked for, as long as this process runs."""
