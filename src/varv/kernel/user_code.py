"""The one boundary around code of a model's author: what it raises becomes an error that names the author's
own lines.

Whoever calls an author's function enters it; where the function runs, in this process or another, is the
caller's to say.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from varv.kernel.errors import UserCodeFailed, VarvError

MOST_MESSAGE = 16_000
"""Characters of an author's message that are kept."""
MOST_LINES = 20
"""Lines of the author's code that are shown: the last ones, where an endless recursion shows itself."""

_PACKAGE = Path(__file__).parents[1]
_LIBRARY = re.compile(r"[/\\](site-packages|dist-packages|lib[/\\]python3[^/\\]*)[/\\]|^<")


def _own(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Return what is the author's of `frames`, or all of them if nothing is."""
    own = [one for one in frames if not _LIBRARY.search(one.filename) and not _is_ours(one.filename)]
    return own or frames


def _is_ours(filename: str) -> bool:
    return Path(filename).is_relative_to(_PACKAGE)


def own_lines(places: Sequence[tuple[str, int, str]]) -> tuple[str, ...]:
    """Return what is the author's of `places`, each a file, a line and a function, the outermost first; for
    code that another process ran, and whose text is not looked up here.
    """
    frames = [
        traceback.FrameSummary(file, line, name, lookup_line=False, line="") for file, line, name in places
    ]
    return tuple(map(_shown, _own(frames)[-MOST_LINES:]))


def _shown(frame: traceback.FrameSummary) -> str:
    # The name of the file, not its path: equal runs in two folders have equal ledgers.
    where = f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
    return f"{where}: {frame.line}" if frame.line else where


def _message(error: BaseException) -> str:
    try:
        return str(error)[:MOST_MESSAGE]
    except Exception:  # noqa: BLE001 - the author's class, whose message may itself raise
        return "(its message cannot be shown)"


class UserCode:
    """The one boundary around the author's functions: what they raise becomes `UserCodeFailed`.

    Its message is the author's whole message, and its ``trace`` the author's own lines that led to it.

    Parameters
    ----------
    kind, name
        What is being run, as the error will name it.
    """

    def __init__(self, kind: str, name: str) -> None:
        self._kind = kind
        self._name = name

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An author's sys.exit would end the thread that called, and the server with it.
        if not isinstance(error, Exception | SystemExit) or isinstance(error, VarvError):
            return
        own = _own(list(traceback.extract_tb(trace)))
        where = _shown(own[-1]).partition(": ")[0] if own else "?"
        problem = f"raised {type(error).__name__}: {_message(error)}"
        hint = "fix the function and retry"
        failed = UserCodeFailed(self._kind, self._name, problem, where=where, hint=hint)
        raised = list(traceback.extract_tb(trace))[-1:]
        lines = own if raised == own[-1:] else [*own, *raised]
        failed.trace = tuple(map(_shown, lines[-MOST_LINES:]))
        raise failed from error
