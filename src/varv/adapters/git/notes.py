"""Notes beside commits: git keeps them under a reference of their own, and changes no commit for them."""

from __future__ import annotations

from pathlib import Path

from varv.adapters.git.repository import ask
from varv.kernel.errors import FailedPrecondition, NotFound

NOTES = "refs/notes/varv"


def note(folder: Path, text: str, commit: str = "HEAD") -> str:
    """Note a text beside a commit, in the place of what is noted, and return the commit's id."""
    id = ask(folder, "rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}")
    ask(folder, "notes", f"--ref={NOTES}", "add", "--force", "--file=-", id, given=text)
    return id


def noted(folder: Path, commit: str = "HEAD") -> str:
    """Return what is noted of a commit.

    Raises
    ------
    NotFound
        If nothing is.
    """
    id = ask(folder, "rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}")
    try:
        return ask(folder, "notes", f"--ref={NOTES}", "show", id)
    except FailedPrecondition:
        hint = f"fetch {NOTES} if it was noted elsewhere, or run varv hooks install"
        raise NotFound("note", id[:12], "does not exist", hint=hint) from None
