"""Files that are not in a repository themselves: pointers of Git LFS, and files that DVC tracks.

Where a pattern matches a pointer, or nothing but DVC's description of it, the file is looked for where these
tools keep it on this machine: the repository's LFS objects, DVC's cache, a remote that is a folder. What is
not there has to be fetched by them: the command is named, and the text of a pointer is never data.

Sources: the specification of LFS pointers, version 1; DVC's documentation of ``.dvc`` files and of its cache.
"""

from __future__ import annotations

import configparser
import fnmatch
import glob
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec

from varv.kernel.errors import Corrupt, FailedPrecondition, InvalidInput, NotFound
from varv.kernel.plugins import required

LARGEST_POINTER = 1024
_LARGEST_DESCRIPTION = 64 << 20
_LFS = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-\d-[^\n]+\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


class LfsPointer(NamedTuple):
    """What stands for a file in a repository: its SHA-256 and its size in bytes."""

    oid: str
    size: int


class _Tracked(NamedTuple):
    """A file as DVC describes it: where it belongs, and its digest."""

    path: Path
    md5: str
    is_old: bool
    """Whether it was hashed by DVC 2, which kept files under other names."""


_checked: dict[tuple[Path, int, int], str] = {}
"""The MD5s of files by their path, size and time of change: each is read once."""


def resolved(pattern: str) -> list[Path] | None:
    """Return the files that a pattern means, where some are not there themselves; None if all are.

    Raises
    ------
    FailedPrecondition
        If a file has to be fetched first; the hint is the command.
    Corrupt
        If a file is not what its pointer says.
    """
    if "://" in pattern:
        return None
    if pattern.endswith(".dvc"):
        return sorted(_of_dvc(Path(pattern), lambda path: True).values())
    found = _matching(pattern)
    pointers = {path: pointer for path in found if (pointer := lfs_pointer(path)) is not None}
    tracked = _tracked_by_dvc(pattern)
    if not pointers and tracked is None:
        return None
    here = {path: _lfs_file(path, pointers[path]) if path in pointers else path for path in found}
    # What is checked out is read itself, changed or not; what is not must not be missing without a word.
    return [file for _, file in sorted({**(tracked or {}), **here}.items())]


def files_of(pattern: str) -> list[Path]:
    """Return the files that a pattern means, in the order of their names, wherever they are kept.

    Raises
    ------
    FailedPrecondition, Corrupt
        As `resolved` says.
    """
    found = resolved(pattern)
    return _matching(pattern) if found is None else found


def _matching(pattern: str) -> list[Path]:
    return sorted(Path(path) for path in glob.glob(pattern, recursive=True))  # noqa: PTH207 it takes roots


# Git LFS


def lfs_pointer(path: Path) -> LfsPointer | None:
    """Return the pointer that a file is; None if it is none, or is no file."""
    if not path.is_file() or path.stat().st_size >= LARGEST_POINTER:
        return None
    found = _LFS.fullmatch(path.read_bytes())
    return None if found is None else LfsPointer(found[1].decode(), int(found[2]))


def _lfs_file(path: Path, pointer: LfsPointer) -> Path:
    folder = _git_folder(path)
    oid = pointer.oid
    place = None if folder is None else folder / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
    if place is None or not place.is_file():
        problem = "is a pointer of Git LFS, and the file that it stands for is not here"
        hint = f"git lfs pull --include {path.as_posix()}"
        raise FailedPrecondition("file", path.as_posix(), problem, size_bytes=pointer.size, hint=hint)
    if place.stat().st_size != pointer.size or _digest(place, "sha256") != oid:
        raise Corrupt("file", path.as_posix(), "is not what its pointer says", hint="run git lfs fsck")
    return place


def _git_folder(path: Path) -> Path | None:
    for folder in path.absolute().parents:
        place = folder / ".git"
        if place.is_dir():
            return place
        if place.is_file():
            # A work tree or a submodule: its objects are with the repository that it is of.
            named = place.read_text().removeprefix("gitdir:").strip()
            own = (folder / named).resolve()
            common = own / "commondir"
            return (own / common.read_text().strip()).resolve() if common.is_file() else own
    return None


# DVC


def _tracked_by_dvc(pattern: str) -> dict[Path, Path] | None:
    """Return where the files are that a pattern means below what DVC tracks, by where they belong; None if it
    tracks nothing there.
    """
    parts = PurePosixPath(pattern)
    above = [f"{parent}.dvc" for parent in parts.parents if parent.name]
    descriptions = [one for place in (f"{pattern}.dvc", *above) for one in _matching(place)]
    if not descriptions:
        return None
    found: dict[Path, Path] = {}
    for description in descriptions:
        found |= _of_dvc(description, lambda path: _fits(path.parts, parts.parts))
    return found


def _fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    if not names or not patterns:
        return not names and all(pattern == "**" for pattern in patterns)
    if patterns[0] == "**":
        return _fits(names, patterns[1:]) or _fits(names[1:], patterns)
    return fnmatch.fnmatchcase(names[0], patterns[0]) and _fits(names[1:], patterns[1:])


def _of_dvc(description: Path, fits: Callable[[Path], bool]) -> dict[Path, Path]:
    """Return where the files are that a description is of, by where they belong."""
    found = {}
    stores = list(_stores(description))
    for tracked in _described(description, stores):
        if fits(tracked.path):
            here = tracked.path if tracked.path.is_file() else _stored(tracked, stores)
            if here is None:
                raise _to_be_fetched(description, tracked.path)
            found[tracked.path] = here
    return found


def _described(description: Path, stores: Iterable[Path]) -> Iterator[_Tracked]:
    about = _read_yaml(description)
    root = Path(os.path.normpath(description.parent / (about.get("wdir") or ".")))
    outs = about.get("outs")
    for out in outs if isinstance(outs, list) else ():
        md5, path = out.get("md5", ""), root / out.get("path", "")
        if not _MD5.fullmatch(md5):
            hint = "commit it with dvc commit"
            raise FailedPrecondition("file", description.as_posix(), "names no MD5", hint=hint)
        is_old = "hash" not in out
        if not md5.endswith(".dir"):
            yield _Tracked(path, md5, is_old)
            continue
        if path.is_dir():
            yield from (_Tracked(one, "", is_old) for one in sorted(path.rglob("*")) if one.is_file())
            continue
        listing = _stored(_Tracked(path, md5, is_old), stores)
        if listing is None:
            raise _to_be_fetched(description, path)
        for file in _listed(listing):
            yield _Tracked(path / file["relpath"], file["md5"], is_old)


def _listed(listing: Path) -> list[dict[str, str]]:
    try:
        files = msgspec.json.decode(listing.read_bytes(), type=list[dict[str, str]])
    except msgspec.MsgspecError as error:
        raise Corrupt("file", listing.name, "is no list of DVC", why=str(error)) from None
    for file in files:
        parts = PurePosixPath(file.get("relpath", "")).parts
        if not parts or ".." in parts or parts[0] == "/" or not _MD5.fullmatch(file.get("md5", "")):
            raise Corrupt("file", listing.name, "lists a file outside of its folder", file=str(file)[:100])
    return files


def _stored(tracked: _Tracked, stores: Iterable[Path]) -> Path | None:
    name = Path(tracked.md5[:2], tracked.md5[2:])
    for store in stores:
        place = store / name if tracked.is_old else store / "files" / "md5" / name
        if not place.is_file():
            continue
        # DVC 2 hashed texts with other ends of lines, so its digests cannot be compared with the bytes.
        if not tracked.is_old and _digest(place, "md5") != tracked.md5.removesuffix(".dir"):
            hint = "remove it there, and fetch it again with dvc pull"
            raise Corrupt("file", tracked.path.as_posix(), "is not what DVC has noted", hint=hint)
        return place
    return None


def _stores(description: Path) -> Iterator[Path]:
    """Yield the folders that DVC keeps files in: its cache, and remotes that are folders."""
    folder = next((one / ".dvc" for one in description.absolute().parents if (one / ".dvc").is_dir()), None)
    if folder is None:
        return
    options = _config(folder)
    cache = options.get("cache", {}).get("dir")
    yield (folder / cache).resolve() if cache else folder / "cache"
    for section, values in options.items():
        url = values.get("url", "")
        if "remote " in section and url and "://" not in url:
            yield (folder / url).resolve()


def _config(folder: Path) -> Mapping[str, Mapping[str, str]]:
    options = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        options.read([folder / "config", folder / "config.local"])
    except configparser.Error as error:
        raise InvalidInput("file", ".dvc/config", "cannot be read", why=str(error)[:200]) from None
    return {section: dict(options[section]) for section in options.sections()}


def _read_yaml(path: Path) -> dict[str, Any]:
    yaml: Any = required("yaml", kind="file", name=path.as_posix(), extra="yaml")
    try:
        if path.stat().st_size > _LARGEST_DESCRIPTION:
            raise InvalidInput("file", path.as_posix(), "is too large for a description of DVC")
        # Of texts alone: a digest of nothing but digits is no number.
        about = yaml.load(path.read_text(), Loader=yaml.BaseLoader)
    except OSError as error:
        raise NotFound("file", path.as_posix(), "cannot be read", why=error.strerror) from None
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput("file", path.as_posix(), "is no YAML", why=str(error)[:200]) from None
    if not isinstance(about, dict):
        raise InvalidInput("file", path.as_posix(), "is no description of DVC")
    return about


def _to_be_fetched(description: Path, path: Path) -> FailedPrecondition:
    problem = "is tracked by DVC, and is not here"
    hint = f"dvc pull {description.as_posix()}"
    return FailedPrecondition("file", path.as_posix(), problem, hint=hint)


def _digest(path: Path, kind: str) -> str:
    about = path.stat()
    known = (path, about.st_size, about.st_mtime_ns)
    if known not in _checked:
        with path.open("rb") as file:
            _checked[known] = hashlib.file_digest(file, kind).hexdigest()
    return _checked[known]
