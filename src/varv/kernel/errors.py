"""Errors that people and programs can act on.

    VarvError
    ├── InvalidInput          the caller's data or declaration is wrong
    │   └── InvalidDeclaration
    ├── NotFound              the named thing does not exist
    │   └── Expired           it existed, and was given up on purpose
    │       └── Erased        somebody asked that it be
    ├── AlreadyExists         the name is taken by something else
    ├── Conflict              the thing changed since the caller looked
    ├── FailedPrecondition    right request, wrong state
    ├── Unauthenticated       nobody knows who the caller is
    ├── PermissionDenied      the caller may not
    ├── RateLimited           the caller asks for more than its share; retry helps, later
    ├── Unavailable           an engine or server cannot be reached; retry helps
    │   └── Interrupted       it was ended before it was done, and is to be done again
    ├── StorageFull           the disk takes nothing more; it goes on by itself once there is room
    ├── DeadlineExceeded      it took longer than allowed
    ├── Corrupt               stored bytes are not what was written
    └── UserCodeFailed        the model author's function raised

Each error names the subject, the facts and the next step, and carries a stable code. None knows HTTP: every
front has one table from codes to its own protocol.
"""

from __future__ import annotations

from typing import Any, ClassVar

PRINTED = "the last lines that it printed:"
"""What heads them in a whole message."""


class VarvError(Exception):
    """Root of all errors that varv raises on purpose.

    Parameters
    ----------
    kind
        What sort of thing the error is about: ``"model"``, ``"dataset"``, ``"column"``.
    name
        Which one.
    problem
        What is wrong, as a sentence without the subject: ``"has no column 'late'"``.
    hint
        What the reader can do next, as an imperative.
    facts
        Further values that help, shown as ``key=value`` and kept as data in ``facts``.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(
        self, kind: str, name: object, problem: str = "", *, hint: str = "", **facts: object
    ) -> None:
        self.kind = kind
        self.name = str(name)
        self.problem = problem or (self.__doc__ or "").split("\n")[0].rstrip(".").lower()
        self.hint = hint
        self.facts = facts
        super().__init__(str(self))

    @property
    def subject(self) -> str:
        """The kind and name of the thing at fault, as shown to people."""
        return f"{self.kind} {self.name!r}" if self.name else self.kind

    @property
    def whole(self) -> str:
        """The message, and for the author's code the lines that led to it and the last that it printed, one
        below the other.
        """
        printed: tuple[str, ...] = getattr(self, "printed", ())
        said = (PRINTED, *printed) if printed else ()
        return "\n  ".join((str(self), *getattr(self, "trace", ()), *said))

    def described(self) -> dict[str, Any]:
        """Return the error as data: its code, its subject, what is wrong, what to do, and the facts."""
        return {
            "code": self.code,
            "kind": self.kind,
            "name": self.name,
            "problem": self.problem,
            "hint": self.hint,
            "facts": self.facts,
        }

    def __str__(self) -> str:
        known = ", ".join(f"{key}={value!r}" for key, value in self.facts.items())
        text = f"{self.subject} {self.problem}" + (f" ({known})" if known else "")
        return f"{text}; {self.hint}" if self.hint else text


class InvalidInput(VarvError):
    """Is not valid."""

    code = "invalid_input"


class InvalidDeclaration(InvalidInput):
    """Is not declared correctly."""

    code = "invalid_declaration"


class NotFound(VarvError):
    """Does not exist."""

    code = "not_found"


class Expired(NotFound):
    """Was given up, since nothing needed it."""

    code = "expired"


class Erased(Expired):
    """Was erased, since somebody may demand that."""

    code = "erased"


class AlreadyExists(VarvError):
    """Exists already."""

    code = "already_exists"


class Conflict(VarvError):
    """Changed since it was read."""

    code = "conflict"


class FailedPrecondition(VarvError):
    """Is not in a state that allows this."""

    code = "failed_precondition"


class Unauthenticated(VarvError):
    """Comes from nobody who is known here."""

    code = "unauthenticated"


class PermissionDenied(VarvError):
    """May not be used by this caller."""

    code = "permission_denied"


class RateLimited(VarvError):
    """Asks for more than its rate; the fact ``retry_after_s`` says when to try again."""

    code = "rate_limited"
    retryable = True


class Unavailable(VarvError):
    """Cannot be reached."""

    code = "unavailable"
    retryable = True


class Interrupted(Unavailable):
    """Was ended before it was done, and can be done again."""

    code = "interrupted"


class StorageFull(VarvError):
    """Cannot be written: the disk takes nothing more."""

    code = "storage_full"
    retryable = True


class DeadlineExceeded(VarvError):
    """Took longer than allowed."""

    code = "deadline_exceeded"
    retryable = True


class Corrupt(VarvError):
    """Is not what was written."""

    code = "corrupt"


class UserCodeFailed(VarvError):
    """Raised an exception of its own."""

    code = "user_code_failed"
    trace: tuple[str, ...] = ()
    """The author's own lines on the way to the error, the outermost first, as ``file:line in name: code``."""
    printed: tuple[str, ...] = ()
    """The last lines that it printed, where it ended without raising anything that says why."""


def tree() -> list[type[VarvError]]:
    """Return every error class, the root first, each parent before its children, those of this module before
    a room's own of the same code; in an order that does not depend on which modules were imported first.
    """
    found: list[type[VarvError]] = [VarvError]
    for cls in found:
        found.extend(sorted(cls.__subclasses__(), key=_rank))
    return found


def _rank(cls: type[VarvError]) -> tuple[bool, str, str]:
    return cls.__module__ != __name__, cls.__module__, cls.__name__
