"""How a job can end without a result, each as the one error that says so; what executors raise.

None of them but `was_cancelled` can be retried: the same code with the same input would loop, leak or crash
again, and the engine would let it do so five times. A cancelled job has nothing wrong with it. It is
cancelled as its process shuts down, and then the engine runs the command again after the next start, without
counting a failure; whoever cancels for good holds the event that says so, and need not ask the error.
"""

from __future__ import annotations

import signal

import msgspec

from varv.kernel.errors import Interrupted, UserCodeFailed

Subject = tuple[str, str]
"""Kind and name of what a job runs."""

MOST_LINES = 20
"""Lines of a job's output that an error shows: the last ones."""
LONGEST_LINE = 300
"""Characters."""

_LOOK = "look at the last lines that it printed"


class Output(msgspec.Struct, frozen=True):
    r"""What was kept of what a job printed, standard output and error together.

    Examples
    --------
    >>> Output(b"epoch 1\n", 7_000_000, b"epoch 90\n").text
    'epoch 1\n[7000000 bytes are not kept]\nepoch 90\n'
    """

    head: bytes = b""
    n_dropped: int = 0
    """Bytes between `head` and `tail` that were not kept."""
    tail: bytes = b""

    @property
    def text(self) -> str:
        """All that was kept, as text, with a line that says how much is missing."""
        gap = f"[{self.n_dropped} bytes are not kept]\n".encode() if self.n_dropped else b""
        start = b"" if not gap or not self.head or self.head.endswith(b"\n") else b"\n"
        return (self.head + start + gap + self.tail).decode(errors="backslashreplace")

    def last_lines(self) -> tuple[str, ...]:
        """Return its last lines that are not blank, as errors show them."""
        lines = [line.rstrip()[:LONGEST_LINE] for line in self.text.splitlines() if line.strip()]
        return tuple(lines[-MOST_LINES:])


def _failed(
    subject: Subject,
    problem: str,
    output: Output,
    hint: str,
    trace: tuple[str, ...] = (),
    **facts: object,
) -> UserCodeFailed:
    kind, name = subject
    error = UserCodeFailed(kind, name, problem, hint=hint, **facts)
    error.trace, error.printed = trace, output.last_lines()
    return error


def overran(subject: Subject, output: Output, time_s: float, trace: tuple[str, ...] = ()) -> UserCodeFailed:
    """Return the error of a job that ran longer than `time_s`; `trace` is where it was then."""
    problem = f"did not return within {time_s:g} s"
    return _failed(subject, problem, output, "make it faster, or allow it more time", trace)


def outgrew(subject: Subject, output: Output, used_bytes: int, memory_bytes: int) -> UserCodeFailed:
    """Return the error of a job that used more memory than `memory_bytes`."""
    problem = f"used more than {spoken_bytes(memory_bytes)} of memory"
    hint = "give it fewer rows, or allow it more memory"
    return _failed(subject, problem, output, hint, used=spoken_bytes(used_bytes))


def multiplied(subject: Subject, output: Output, n_processes: int) -> UserCodeFailed:
    """Return the error of a job that had more than `n_processes` processes."""
    problem = f"started more than {n_processes} processes"
    return _failed(subject, problem, output, "start fewer at once, or allow it more processes")


def was_killed(subject: Subject, output: Output, number: int, trace: tuple[str, ...] = ()) -> UserCodeFailed:
    """Return the error of a job whose process was ended by signal `number` that its executor did not send."""
    if number == signal.SIGKILL:
        hint = "see whether the machine ran out of memory, or the code kills itself"
        return _failed(subject, "was killed by SIGKILL, not by varv", output, hint, trace)
    return _failed(subject, f"was ended by {spoken_signal(number)}", output, _LOOK, trace)


def exited(subject: Subject, output: Output, status: int) -> UserCodeFailed:
    """Return the error of a job that ended its process by itself."""
    problem = f"ended its process with status {status} before it returned"
    return _failed(subject, problem, output, "return, or raise, instead of ending the process")


def lost_its_watch(subject: Subject, output: Output) -> UserCodeFailed:
    """Return the error of a job whose supervising process is gone, or answers no more."""
    problem = "ended or stopped the process that supervises it"
    return _failed(subject, problem, output, "let it send no signals to its parent or its parent's group")


def sent_garbage(subject: Subject, output: Output, why: str) -> UserCodeFailed:
    """Return the error of a job that sent something that is no result."""
    hint = "write only to files that it opened"
    return _failed(subject, "sent bytes that are no result", output, hint, why=why)


def returned_too_much(subject: Subject, output: Output, n_bytes: int, result_bytes: int) -> UserCodeFailed:
    """Return the error of a job whose result is larger than `result_bytes`."""
    problem = f"returned {spoken_bytes(n_bytes)}, more than {spoken_bytes(result_bytes)}"
    return _failed(subject, problem, output, "return less, or allow a larger result")


def was_cancelled(subject: Subject) -> Interrupted:
    """Return the error of a job that was ended, or never begun, because nobody wants it any more."""
    kind, name = subject
    return Interrupted(kind, name, "was cancelled", hint="run it again")


def spoken_signal(number: int) -> str:
    """Return a signal as people name it: ``SIGSEGV (segmentation fault)``."""
    said = signal.strsignal(number)
    known = number in {one.value for one in signal.Signals}
    name = signal.Signals(number).name if known else f"signal {number}"
    return f"{name} ({said[0].lower()}{said[1:]})" if said and known else name


def spoken_bytes(n_bytes: int) -> str:
    """Return a number of bytes as people write it.

    Examples
    --------
    >>> spoken_bytes(512), spoken_bytes(3 << 19), spoken_bytes(4 << 30)
    ('512 bytes', '1.5 MiB', '4.0 GiB')
    """
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"
