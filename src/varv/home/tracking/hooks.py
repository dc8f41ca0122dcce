"""What webhooks are told: what happens in the registry, in the words of MLflow, once it is in the ledger.

A thread reads the ledger from where it has told everything, so what was decided before a crash is told after
it, perhaps a second time, under the same id. What loops do to versions and aliases is told like what clients
do. A webhook that does not answer is tried again a few times, and then left out.

Source: MLflow's documentation of webhooks, for names and payloads.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import msgspec

from varv.home.tracking.told import Told, example, told_of
from varv.kernel.blobs import Blobs
from varv.kernel.clock import Clock, Instant, iso
from varv.kernel.codec import digest_of
from varv.kernel.errors import VarvError
from varv.kernel.ledger import Entry, Ledger
from varv.kernel.observe import log
from varv.kernel.recorder import Recorder, Write, Writing
from varv.registry.webhooks import Webhook, active_webhooks, secret_of

LOOKS_EVERY_S = 0.5
AT_ONCE = 500
"""Entries that are read together."""
MOST_TRIES = 4
"""Of what a webhook is told in one batch of entries, beyond the first try of each."""
FIRST_RETRY_S = 1.0
MOST_CALLS = 4
"""Webhooks that are called at the same time."""
PERSISTED_EVERY = 20_000
"""Entries without anything to be told, after which it is noted that they were read."""
_LOG = logging.getLogger(__name__)


class Signed(NamedTuple):
    """A message for a webhook, and what it is signed with; nothing if it is not to be."""

    id: str
    at_s: int
    body: bytes
    secret: str = ""


class Outcome(NamedTuple):
    """What came of a call: the status that was answered, 0 if none was, and why; whether to call again."""

    status: int = 0
    why: str = ""
    again: bool = False

    @property
    def is_taken(self) -> bool:
        """Whether it was received."""
        return 200 <= self.status < 300


class Caller(Protocol):
    """Calls addresses that somebody else chose."""

    def require(self, url: str) -> None:
        """Raise `InvalidInput` unless `url` may be called."""
        ...

    def call(self, url: str, signed: Signed) -> Outcome:
        """Send a message once."""
        ...


class _Due(NamedTuple):
    seq: int
    at: Instant
    told: Told


class Hooks:
    """Tells the webhooks of a home what happens.

    Parameters
    ----------
    ledger, recorder, blobs
        Of the home.
    caller
        Calls them.
    """

    def __init__(
        self, ledger: Ledger, recorder: Recorder, blobs: Blobs, caller: Caller, clock: Clock
    ) -> None:
        self._ledger, self._recorder, self._blobs = ledger, recorder, blobs
        self._caller, self._clock = caller, clock
        self._stopping = threading.Event()
        self._told = self._noted = self._begun()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def _begun(self) -> int:
        with self._recorder.reading() as db:
            row = db.execute("SELECT seq FROM webhook_told").fetchone()
        # A file that was lost is no reason to tell everything once more.
        return self._ledger.head().version if row is None else row[0]

    def start(self) -> None:
        """Tell what happens from now on, and what was not told before a stop."""
        self._note(self._told)
        self._thread.start()

    def close(self) -> None:
        """Stop; what is not told by now is told after the next start. Closing twice is harmless."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def test(self, webhook: Webhook, event: str) -> Outcome:
        """Call a webhook with an example of an event, and return what came of it."""
        with self._recorder.reading() as db:
            secret = secret_of(db, webhook.id)
        if webhook.signed and not secret:
            return Outcome(why="its secret is lost; set it again")
        now = self._clock.now()
        told = Told(event, example(event))
        return self._caller.call(webhook.url, _signed(webhook, _Due(0, now, told), now, secret))

    def _run(self) -> None:
        while not self._stopping.wait(LOOKS_EVERY_S):
            try:
                while not self._stopping.is_set() and self.tell():
                    pass
            except (VarvError, sqlite3.Error) as error:
                log(_LOG, logging.ERROR, "webhooks.behind", why=str(error))

    def tell(self) -> int:
        """Tell what the next entries of the ledger say; return how many entries there were."""
        with self._recorder.reading() as db:
            webhooks = active_webhooks(db)
        if not webhooks:
            self._told = max(self._told, self._ledger.head().version)
            return 0
        entries = self._ledger.read(self._told, limit=AT_ONCE)
        due = self._due(entries)
        self._deliver(webhooks, due)
        if self._stopping.is_set() or not entries:
            return len(entries)
        self._told = entries[-1].seq
        if due or self._told - self._noted >= PERSISTED_EVERY:
            self._note(self._told)
        return len(entries)

    def _due(self, entries: Iterable[Entry]) -> list[_Due]:
        with self._recorder.reading() as db:
            return [
                _Due(entry.seq, entry.at, told)
                for entry in entries
                if entry.name.startswith("registry.")
                for told in told_of(db, self._blobs, entry.event)
            ]

    def _deliver(self, webhooks: Sequence[Webhook], due: Sequence[_Due]) -> None:
        wanted = [
            (webhook, [one for one in due if _is_for(webhook, one)])
            for webhook in webhooks
            if any(_is_for(webhook, one) for one in due)
        ]
        if not wanted:
            return
        with ThreadPoolExecutor(MOST_CALLS, thread_name_prefix="webhook") as pool:
            calls = [pool.submit(self._deliver_to, webhook, own) for webhook, own in wanted]
        for call in calls:
            call.result()

    def _deliver_to(self, webhook: Webhook, due: Sequence[_Due]) -> None:
        with self._recorder.reading() as db:
            secret = secret_of(db, webhook.id)
        if webhook.signed and not secret:
            log(_LOG, logging.WARNING, "webhook.without_secret", webhook=webhook.id)
            return
        n_tries = MOST_TRIES
        for one in due:
            if self._stopping.is_set():
                return
            outcome = self._caller.call(webhook.url, _signed(webhook, one, self._clock.now(), secret))
            while outcome.again and n_tries and not self._stopping.is_set():
                n_tries -= 1
                self._stopping.wait(FIRST_RETRY_S * 2 ** (MOST_TRIES - 1 - n_tries))
                outcome = self._caller.call(webhook.url, _signed(webhook, one, self._clock.now(), secret))
            if not outcome.is_taken:
                why = outcome.why or f"status {outcome.status}"
                log(_LOG, logging.WARNING, "webhook.failed", webhook=webhook.id, seq=one.seq, why=why)
            if outcome.again:
                return  # it had its tries: the others of this batch are not held up for it

    def _note(self, seq: int) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO webhook_told VALUES (1, ?)", (seq,))

        def work(writing: Writing) -> None:
            writing.store(write)

        # What is noted too late is told twice, so it needs no fsync.
        self._recorder.do(Write(work))
        self._noted = seq


def _is_for(webhook: Webhook, due: _Due) -> bool:
    return due.told.event in webhook.events and due.at > webhook.created


def _signed(webhook: Webhook, due: _Due, now: Instant, secret: str) -> Signed:
    entity, _, action = due.told.event.partition(".")
    body: dict[str, Any] = {
        "entity": entity,
        "action": action,
        "timestamp": iso(due.at),
        "data": due.told.data,
    }
    id = digest_of([webhook.id, due.seq, due.told.event, due.told.data])[:32]
    return Signed(id, now // 1_000_000, msgspec.json.encode(body), secret)
