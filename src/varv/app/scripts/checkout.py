"""The source of a run as a working tree again: its commit in a worktree of its own, and its patch.

Hooks of the repository do not run, and git itself sees to it that no patch writes outside the tree.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from varv.kernel.codec import digest
from varv.kernel.errors import Corrupt, FailedPrecondition, InvalidInput
from varv.runs.source import Source

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PLAIN = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "advice.detachedHead=false")
_WITHIN_S = 600.0


@contextmanager
def checked_out(
    source: Source, patch: bytes, *, repository: Path, place: Path, variables: Mapping[str, str]
) -> Generator[Path]:
    """Give the root of a working tree at `place`, which is removed afterwards.

    Parameters
    ----------
    repository
        A folder of the repository that holds the commit; not looked at if the source has none.
    variables
        The environment that git runs in.

    Raises
    ------
    FailedPrecondition
        If the commit is not there, or git refuses the patch.
    Corrupt
        If the patch is not the one that was captured.
    """
    if (digest(patch) if patch else None) != source.patch:
        raise Corrupt("patch", source.patch or "", "is not what was captured")
    if source.commit:
        _require_commit(source, repository, variables)
        _git(repository, variables, ("worktree", "add", "--detach", str(place), source.commit))
    else:
        place.mkdir(parents=True)
    try:
        if patch:
            _git(place, variables, ("apply", "--whitespace=nowarn", "-"), patch)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if source.commit:
            # A worktree whose folder is gone is forgotten by this.
            _git(repository, variables, ("worktree", "prune"))


def within(root: Path, *parts: str) -> Path:
    """Return a path of a working tree, of parts that follow each other.

    Raises
    ------
    InvalidInput
        If it leads out of the tree, by itself or by a link.
    """
    place = root.joinpath(*parts)
    if not place.resolve().is_relative_to(root.resolve()):
        hint = "give what lies elsewhere by its whole path"
        raise InvalidInput("path", "/".join(parts)[:200], "leads out of the source", hint=hint)
    return place


def _require_commit(source: Source, repository: Path, variables: Mapping[str, str]) -> None:
    problem, where = "", source.remote or "the repository that it was run in"
    if not _COMMIT.fullmatch(source.commit):
        problem = "is no commit"
    else:
        try:
            _git(repository, variables, ("cat-file", "-e", f"{source.commit}^{{commit}}"))
        except FailedPrecondition:
            problem = "is not in this repository"
    if problem:
        hint = f"clone or fetch {where}, and run this there"
        raise FailedPrecondition("commit", source.commit[:64], problem, folder=str(repository), hint=hint)


def _git(folder: Path, variables: Mapping[str, str], arguments: Sequence[str], given: bytes = b"") -> None:
    own = {name: value for name, value in variables.items() if not name.startswith("GIT_")}
    command = ["git", *_PLAIN, *arguments]
    try:
        answer = subprocess.run(
            command, cwd=folder, env=own, input=given, capture_output=True, timeout=_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FailedPrecondition("git", arguments[0], "cannot be run", why=str(error)[:300]) from None
    if answer.returncode:
        why = answer.stderr.decode(errors="replace").strip()[-300:]
        raise FailedPrecondition("git", arguments[0], "has refused", why=why)
