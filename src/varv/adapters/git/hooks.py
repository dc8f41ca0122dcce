"""A hook that notes each commit, written into a repository beside whatever its hooks do already.

What is written stands between two marks, so that it can be taken out again. It never fails a commit.
"""

from __future__ import annotations

import re
from pathlib import Path

from varv.adapters.git.notes import NOTES
from varv.adapters.git.repository import ask
from varv.kernel.errors import FailedPrecondition

HOOKS = ("post-commit", "post-merge", "post-rewrite")
"""After a commit, a merge, and an amended or rebased commit."""
BEGIN, END = "# varv: begin", "# varv: end"
_SHELLS = re.compile(r"#!\s*(/usr)?(/bin/env\s+|/bin/)(ba|da|z|k)?sh\b")
_BLOCK = re.compile(rf"{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.DOTALL)
_EXECUTABLE = 0o755


def install(folder: Path, command: str) -> list[Path]:
    """Let commits of a repository be noted by a shell command; return the hooks that were written.

    Raises
    ------
    FailedPrecondition
        If a hook is there that is no shell script; nothing is changed then.
    """
    block = f"{BEGIN}\n{command} >/dev/null 2>&1 || true\n{END}\n"
    places = [_place(folder, name) for name in HOOKS]
    texts = {place: _written(place, block) for place in places}
    for place, text in texts.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(place.stat().st_mode | _EXECUTABLE)
    return places


def uninstall(folder: Path) -> list[Path]:
    """Take what `install` wrote out again; return the hooks that had it."""
    changed = []
    for place in (_place(folder, name) for name in HOOKS):
        if not place.is_file() or BEGIN not in place.read_text():
            continue
        rest = _BLOCK.sub("", place.read_text())
        if rest.strip() in ("", "#!/bin/sh"):
            place.unlink()
        else:
            place.write_text(rest)
        changed.append(place)
    return changed


def _place(folder: Path, name: str) -> Path:
    return folder / ask(folder, "rev-parse", "--git-path", f"hooks/{name}")


def _written(place: Path, block: str) -> str:
    if not place.exists():
        return f"#!/bin/sh\n{block}"
    text = place.read_text(errors="replace")
    if not _SHELLS.match(text):
        hint = f"let it run: varv hooks stamp, which notes a commit in {NOTES}"
        raise FailedPrecondition("hook", place.name, "is no shell script", hint=hint)
    if BEGIN in text:
        return _BLOCK.sub(lambda found: block, text)
    first, rest = text.split("\n", 1) if "\n" in text else (text, "")
    # At the beginning: what follows may end the script.
    return f"{first}\n{block}{rest}"
