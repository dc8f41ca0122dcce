"""The folder that a path of a source means: one of this machine, or one in an object store."""

from __future__ import annotations

from collections.abc import Mapping

from varv.data.sources.buckets import Bucket, require_no_secret
from varv.data.sources.folders import Folder, LocalFolder
from varv.kernel.clock import SECOND, Duration, duration
from varv.kernel.errors import InvalidDeclaration, InvalidInput

SETTLE = Duration(5 * SECOND)


def require_place(kind: str, path: str, settle: str, options: Mapping[str, str]) -> None:
    """Refuse what means no folder.

    Raises
    ------
    InvalidDeclaration
        If the time is none, an option holds a secret, or there are options for a folder of this machine.
    """
    try:
        if settle:
            duration(settle)
    except InvalidInput as error:
        raise InvalidDeclaration("source", kind, f"settles in {settle!r}: {error}") from None
    if options and "://" not in path:
        hint = "they are of an object store: write s3://bucket/prefix"
        raise InvalidDeclaration("source", kind, f"has options for the folder {path[:80]!r}", hint=hint)
    require_no_secret(kind, options)


def folder_at(path: str, settle: Duration, options: Mapping[str, str], identity: str) -> Folder:
    """Return the folder that a path means, whose files are left alone for so long when they are whole."""
    return Bucket(path, options, identity) if "://" in path else LocalFolder(path, settle)
