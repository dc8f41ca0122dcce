"""Who writes, who is woken, and what becomes of those who wait when something goes wrong."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest

from varv.kernel.errors import FailedPrecondition
from varv.kernel.faults import Crash
from varv.kernel.group_commit import GroupCommit, Ticket


class Book:
    """What was written, batch by batch; the first waits until `n_queued` others are queued behind it."""

    def __init__(self, n_queued: int = 0, after: Callable[[], None] = lambda: None) -> None:
        self.batches: list[list[str]] = []
        self.answers: dict[str, object] = {}
        self.n_queued, self.after = n_queued, after
        self.begun = threading.Event()
        self.closed = False
        self.group: GroupCommit[str] = GroupCommit(self.write, self.require_open)

    def write(self, batch: list[Ticket[str]]) -> None:
        self.batches.append([ticket.work for ticket in batch])
        if len(self.batches) == 1:
            self.begun.set()
            while len(self.group._queue) < self.n_queued:
                pass
            self.after()
        for ticket in batch:
            ticket.result = ticket.work.upper()
            if ticket.work == "bad":
                ticket.error = ValueError(ticket.work)

    def require_open(self) -> None:
        if self.closed:
            raise FailedPrecondition("book", "", "is closed")


def submitted(book: Book, works: list[str]) -> list[threading.Thread]:
    """Submit each work in a thread of its own, the first of them as the leader."""

    def run(work: str) -> None:
        try:
            book.answers[work] = book.group.submit(work)
        except (ValueError, Crash) as error:
            book.answers[work] = error

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    threads[0].start()
    book.begun.wait()
    for n, thread in enumerate(threads[1:], start=1):
        thread.start()
        while book.n_queued and len(book.group._queue) < n and len(book.batches) == 1:
            pass
    return threads


def finish(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_a_caller_that_is_alone_writes_at_once():
    book = Book()
    assert [book.group.submit(work) for work in "ab"] == ["A", "B"]
    assert book.batches == [["a"], ["b"]]


def test_all_who_queue_behind_a_batch_are_written_together_in_their_order():
    book = Book(n_queued=3)
    finish(submitted(book, ["a", "b", "c", "d"]))
    assert book.batches == [["a"], ["b", "c", "d"]]
    assert book.answers == {"a": "A", "b": "B", "c": "C", "d": "D"}


def test_an_error_reaches_its_own_caller_and_those_behind_it_are_woken():
    book = Book(n_queued=3)
    finish(submitted(book, ["a", "b", "bad", "d"]))
    assert isinstance(book.answers.pop("bad"), ValueError)
    assert book.answers == {"a": "A", "b": "B", "d": "D"}


def test_those_who_queue_behind_a_crash_are_written():
    def crash() -> None:
        raise Crash("here")

    book = Book(n_queued=2, after=crash)
    finish(submitted(book, ["a", "b", "c"]))
    assert isinstance(book.answers.pop("a"), Crash)
    assert book.answers == {"b": "B", "c": "C"}


@pytest.fixture
def interruptible():
    """An interrupt raises, also where the tests were started with it ignored, as in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_of_one_who_waits_is_kept_until_its_work_is_written():
    main = threading.get_ident()
    book = Book(n_queued=2, after=lambda: signal.pthread_kill(main, signal.SIGINT))
    threads = submitted(book, ["a", "b"])
    with pytest.raises(KeyboardInterrupt):
        book.group.submit("mine")
    finish(threads)
    assert book.batches == [["a"], ["b", "mine"]]
    assert book.answers == {"a": "A", "b": "B"}


def test_a_closed_group_takes_no_more_and_forgets_nobody():
    book = Book(n_queued=1)
    threads = submitted(book, ["a", "b"])
    book.closed = True
    with pytest.raises(FailedPrecondition):
        book.group.submit("late")
    finish(threads)
    assert book.answers == {"a": "A", "b": "B"}


def test_nobody_is_lost_among_many_threads():
    book = Book()

    def run(k: int) -> None:
        for n in range(200):
            book.answers[f"{k}-{n}x"] = book.group.submit(f"{k}-{n}x")

    threads = [threading.Thread(target=run, args=(k,)) for k in range(16)]
    for thread in threads:
        thread.start()
    finish(threads)
    assert book.answers == {f"{k}-{n}x": f"{k}-{n}X" for k in range(16) for n in range(200)}
    written = [work for batch in book.batches for work in batch]
    assert len(written) == len(set(written)) == 16 * 200
    assert [w for w in written if w.startswith("3-")] == [f"3-{n}x" for n in range(200)]
