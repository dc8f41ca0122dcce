"""Reports of a step while it runs: a value at a time goes to whoever runs it, and the answer is whether to go
on.

A step that has a parameter of type `Report` calls it with its progress, such as a loss after each epoch. In a
process of its own it posts over a socket that only this user can open; in the same process it just calls.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec

from varv.kernel.errors import FailedPrecondition, Unavailable
from varv.kernel.ids import new_secret

Post = Callable[[int, float], bool]
"""Takes a step's progress and its value, and returns whether the step is to stop."""
ANSWERS_WITHIN_S = 60.0
_LONGEST = 4096


class Report:
    """Reports a value while a step runs. Authors only call it.

    Parameters
    ----------
    post
        Where values go.
    """

    def __init__(self, post: Post) -> None:
        self._post = post

    def __call__(self, step: int, value: float) -> None:
        """Report a value, such as the loss after epoch `step`.

        Raises
        ------
        FailedPrecondition
            If the step is to stop, since it does not look promising; let it through.
        """
        if self._post(int(step), float(value)):
            raise FailedPrecondition("trial", "", "was pruned", at=step, value=float(value))


def never(step: int, value: float) -> bool:
    """Let every step go on."""
    return False


class _Sent(msgspec.Struct, frozen=True):
    ticket: str
    step: int
    value: str
    """As Python writes it: JSON has neither NaN nor infinity."""


class PostOffice:
    """Takes reports of jobs in other processes, and answers each; closed by its owner."""

    def __init__(self) -> None:
        # Not in the home: the path of a socket must be short.
        self._folder = Path(tempfile.mkdtemp(prefix="varv-"))
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self._folder / "posts"))
        self._listening.listen(64)
        self._posts: dict[str, Post] = {}
        self._thread = threading.Thread(target=self._accept, name="reports", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def address(self, post: Post) -> Generator[str]:
        """Give an address under which `post` is asked."""
        ticket = new_secret(16).hex()
        self._posts[ticket] = post
        try:
            yield f"{self._folder / 'posts'}#{ticket}"
        finally:
            del self._posts[ticket]

    def close(self) -> None:
        """Take nothing more; closing again is harmless."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        (self._folder / "posts").unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._folder.rmdir()

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._listening.accept()
            except OSError:
                return  # it was closed
            threading.Thread(target=self._answer, args=(taken,), name="report", daemon=True).start()

    def _answer(self, taken: socket.socket) -> None:
        with taken, taken.makefile("rb") as lines:
            taken.settimeout(ANSWERS_WITHIN_S)
            with contextlib.suppress(OSError, msgspec.MsgspecError, ValueError):
                sent = msgspec.json.decode(lines.readline(_LONGEST), type=_Sent)
                stops = self._posts.get(sent.ticket, _too_late)(sent.step, float(sent.value))
                taken.sendall(b"stop\n" if stops else b"go on\n")


def post_over(address: str) -> Post:
    """Return what posts to an office in another process.

    Notes
    -----
    A connection a report: they are seconds apart, and a fork of the step's process shares none.
    """
    path, _, ticket = address.partition("#")

    def post(step: int, value: float) -> bool:
        sent = msgspec.json.encode(_Sent(ticket, step, repr(value))) + b"\n"
        try:
            with socket.socket(socket.AF_UNIX) as asked:
                asked.settimeout(ANSWERS_WITHIN_S)
                asked.connect(path)
                asked.sendall(sent)
                answer = asked.makefile("rb").readline(_LONGEST)
        except OSError as error:
            raise Unavailable("report", step, "reached nobody", why=str(error)) from None
        if answer not in (b"stop\n", b"go on\n"):
            raise Unavailable("report", step, "was not answered", hint="see what the study says")
        return answer == b"stop\n"

    return post


def _too_late(step: int, value: float) -> bool:
    """Stop what nobody waits for any more."""
    return True
