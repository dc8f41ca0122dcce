"""The source that a script was run from: a commit, and a patch with everything that is not committed.

git itself is asked, by lists of arguments and never through a shell, and nothing in the repository is
changed: what is not tracked enters the patch through a copy of the index. A folder that is in no repository
is a patch against nothing. `app.scripts.checkout` makes a working tree of both again.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import msgspec

from varv.kernel.codec import Digest, digest
from varv.kernel.executor import MIB

MOST_FILE_BYTES = 1 * MIB
"""Of a file that is not tracked; larger ones are data, and are declared as such."""
MOST_FILES = 1000
MOST_LOOKED_AT = 20_000
"""Files and folders of a folder that is in no repository, which may be somebody's whole disk."""
MOST_PATCH_BYTES = 16 * MIB
_WITHIN_S = 60.0
_SKIPPED = frozenset({"node_modules", "__pycache__", "mlruns"})
_SOURCES = frozenset({".py", ".toml", ".yaml", ".yml", ".json", ".cfg", ".lock", ".txt", ".sql"})
_SECRETS = (
    *(".env", ".env.*", ".netrc", ".pypirc", "*credentials*", "id_rsa*", "id_ed25519*"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.kdbx"),
)
"""Names of files that hold secrets, as a rule: they are kept only if they are committed."""
_SCP = re.compile(r"([^@/]+@)?([^:/]+:.*)")
# What a repository's own settings could change of a patch, or run.
_PLAIN = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
_DIFF = (
    *("diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"),
    *("--submodule=short", "--src-prefix=a/", "--dst-prefix=b/"),
)


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where code came from."""

    commit: str = ""
    """Nothing if the folder is in no repository, or nothing is committed."""
    branch: str = ""
    remote: str = ""
    """The address of the repository's origin, without credentials."""
    folder: str = ""
    """The working folder, from the root of the repository."""
    patch: Digest | None = None
    """Of what is not committed; None if everything is."""
    left_out: tuple[str, ...] = ()
    """Files that are neither committed nor in the patch: too large, too many, or secret by their names."""


class Taken(NamedTuple):
    """A source with its patch, and the root that its paths begin at."""

    source: Source
    patch: bytes
    root: Path


def source_of(folder: Path, variables: Mapping[str, str], *, without: Path | None = None) -> Taken:
    """Return the source in a folder as it is now.

    Parameters
    ----------
    variables
        The environment that git runs in.
    without
        A folder that is no source, such as a home in the middle of the repository.
    """
    git = _Git(folder, variables)
    asked = ("rev-parse", "--show-toplevel", "--show-prefix", "--git-path", "index")
    said = git.text(*asked, "--abbrev-ref", "HEAD").splitlines()
    commit = git.text("rev-parse", "--verify", "--quiet", "HEAD").strip()
    if len(said) != 4 or not commit:
        return _loose(folder, variables, without)
    root, prefix, index, branch = Path(said[0]), said[1].rstrip("/"), folder / said[2], said[3]
    at_root = _Git(root, variables)
    listed = at_root.text("ls-files", "--others", "--exclude-standard", "-z").split("\0")
    files, left_out = _divided(root, filter(None, listed), without)
    patch = at_root.patch(index, files, "HEAD")
    if len(patch) > MOST_PATCH_BYTES:
        patch, left_out = b"", (*left_out, f"the patch, of {len(patch)} bytes")
    source = Source(
        commit=commit,
        branch="" if branch == "HEAD" else branch,
        remote=without_credentials(git.text("config", "--get", "remote.origin.url").strip()),
        folder=prefix,
        patch=digest(patch) if patch else None,
        left_out=left_out,
    )
    return Taken(source, patch, root)


def without_credentials(address: str) -> str:
    """Return the address of a repository without what lets anybody in.

    Examples
    --------
    >>> without_credentials("https://ana:secret@git.example/team/flights.git?token=x")
    'https://git.example/team/flights.git'
    >>> without_credentials("git@git.example:team/flights.git")
    'git.example:team/flights.git'
    """
    if "://" in address:
        parts = urlsplit(address)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    scp = _SCP.fullmatch(address)
    return scp[2] if scp else address


def _loose(folder: Path, variables: Mapping[str, str], without: Path | None) -> Taken:
    """Return the source files of a folder that is in no repository."""
    listed, are_all = _sources_below(folder)
    files, left_out = _divided(folder, listed, without)
    left_out += () if are_all else ("what lies deeper in a folder of so many files",)
    with tempfile.TemporaryDirectory(prefix="source-") as made:
        git = _Git(folder, variables, repository=Path(made) / "git")
        git.text("init", "--quiet")
        empty = git.text("hash-object", "-t", "tree", "-w", "--stdin").strip()
        patch = git.patch(Path(made) / "none", files, empty) if files and empty else b""
    source = Source(patch=digest(patch) if patch else None, left_out=left_out)
    return Taken(source, patch, folder)


def _sources_below(folder: Path) -> tuple[list[str], bool]:
    """Return the source files below a folder, the nearest first, and whether these are all."""
    found: list[str] = []
    waiting = deque([folder])
    n_looked_at = 0
    while waiting and n_looked_at < MOST_LOOKED_AT and len(found) < 2 * MOST_FILES:
        try:
            inside = sorted(waiting.popleft().iterdir())
        except OSError:
            continue
        n_looked_at += len(inside)
        for place in inside:
            if place.name.startswith(".") or place.name in _SKIPPED or place.is_symlink():
                continue
            if place.suffix in _SOURCES and place.is_file():
                found.append(str(place.relative_to(folder)))
            elif place.is_dir() and not (place / "pyvenv.cfg").exists():
                waiting.append(place)
    return found, not waiting


def _divided(root: Path, listed: Iterable[str], without: Path | None) -> tuple[list[str], tuple[str, ...]]:
    """Return which of some files are kept, and which are not: large ones, and those that hold secrets."""
    kept: list[str] = []
    left_out: list[str] = []
    for name in listed:
        place = root / name
        if place.is_symlink() or not place.is_file() or (without and place.is_relative_to(without)):
            continue
        fits = place.stat().st_size <= MOST_FILE_BYTES and len(kept) < MOST_FILES
        secret = any(fnmatch.fnmatch(place.name.lower(), pattern) for pattern in _SECRETS)
        (kept if fits and not secret else left_out).append(name)
    return kept, tuple(left_out[:MOST_FILES])


class _Git:
    """Asks git about one folder; what it cannot say is empty."""

    def __init__(self, folder: Path, variables: Mapping[str, str], *, repository: Path | None = None) -> None:
        # A repository that the environment names would be another one than the folder's.
        self._variables = {name: value for name, value in variables.items() if not name.startswith("GIT_")}
        if repository is not None:
            self._variables |= {"GIT_DIR": str(repository), "GIT_WORK_TREE": str(folder)}
        self._folder = folder

    def text(self, *arguments: str) -> str:
        return self._said(arguments).decode(errors="surrogateescape")

    def patch(self, index: Path, untracked: Sequence[str], since: str) -> bytes:
        """Return all that is new since a commit or a tree, with some files that are not tracked."""
        if not untracked:
            return self._said((*_DIFF, since))
        with tempfile.TemporaryDirectory(prefix="index-") as made:
            copy = Path(made) / "index"
            if index.exists():
                shutil.copyfile(index, copy)
            names = "".join(f"{name}\0" for name in untracked).encode(errors="surrogateescape")
            with_index = {"GIT_INDEX_FILE": str(copy)}
            add = ("add", "--intent-to-add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul")
            self._said(("--literal-pathspecs", *add), given=names, more=with_index)
            return self._said((*_DIFF, since), more=with_index)

    def _said(
        self, arguments: Sequence[str], *, given: bytes = b"", more: Mapping[str, str] | None = None
    ) -> bytes:
        command = ["git", *_PLAIN, *arguments]
        try:
            answer = subprocess.run(
                command,
                cwd=self._folder,
                env={**self._variables, **(more or {})},
                input=given,
                capture_output=True,
                timeout=_WITHIN_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return b""
        return answer.stdout if answer.returncode == 0 else b""
