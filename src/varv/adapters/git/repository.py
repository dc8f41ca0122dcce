"""Asking git about a repository, by its own program."""

from __future__ import annotations

import subprocess
from pathlib import Path

from varv.kernel.errors import FailedPrecondition, NotFound, Unavailable

TIMEOUT_S = 10.0


def ask(folder: Path, *arguments: str, given: str | None = None) -> str:
    """Return what git writes.

    Raises
    ------
    NotFound
        If there is no git, or the folder is in no repository.
    FailedPrecondition
        If git refuses.
    Unavailable
        If it takes too long.
    """
    try:
        ended = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    except FileNotFoundError:
        raise NotFound("program", "git", "is not installed", hint="install git") from None
    except subprocess.TimeoutExpired:
        raise Unavailable("program", "git", "does not answer", waited_s=TIMEOUT_S) from None
    if ended.returncode == 0:
        return ended.stdout.strip()
    said = ended.stderr.strip()[:300]
    if "not a git repository" in said:
        raise NotFound("repository", str(folder), "is no git repository", hint="run it in a repository")
    raise FailedPrecondition("repository", str(folder), "is refused by git", why=said)
