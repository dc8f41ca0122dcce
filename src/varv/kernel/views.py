"""Views: what is the case now, folded from the ledger.

A view can always be thrown away and folded again, so it needs no migration and nothing but the ledger is the
truth. Folding years anew takes minutes, so a view is a struct of plain values, which a snapshot keeps.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar

import msgspec

from varv.kernel.codec import Event, is_in_file
from varv.kernel.errors import Corrupt, NotFound
from varv.kernel.ledger import GENESIS, Entry, Ledger, entry_hash
from varv.kernel.snapshots import Position, Snapshots

_BATCH = 1000


class View(Protocol):
    """A fold over the ledger: a `msgspec.Struct`, made without arguments, that reads nothing but what it is
    given.
    """

    def apply(self, entry: Entry, event: Event) -> None:
        """Take in the next entry; `event` is its event. Events of no interest are passed over."""
        ...


V = TypeVar("V", bound=View)
_SNAPSHOT = "views"


class _Folded(msgspec.Struct, frozen=True):
    """Views, by the names of their classes."""

    views: dict[str, bytes]


class Views:
    """Views of one ledger that move together: all of them are folded up to the same entry.

    Parameters
    ----------
    kinds
        Classes of views, made without arguments.
    snapshots
        Of the home, to go on from.
    """

    def __init__(self, ledger: Ledger, *kinds: type[View], snapshots: Snapshots | None = None) -> None:
        self._ledger = ledger
        self._kinds = kinds
        self._lock = threading.RLock()
        self.rebuild()
        if snapshots is not None:
            self._go_on_from(snapshots)

    def rebuild(self) -> None:
        """Throw all views away and fold them anew at the next reading."""
        with self._lock:
            self._views: dict[type[View], View] = {kind: kind() for kind in self._kinds}
            self._position = 0
            self._hash = GENESIS

    def save(self, snapshots: Snapshots) -> None:
        """Keep what is the case now in a snapshot."""
        with self._lock:
            if not self.catch_up():
                return
            position = Position(self._position, self._hash)
            views = {kind.__name__: msgspec.msgpack.encode(view) for kind, view in self._views.items()}
        snapshots.write(_SNAPSHOT, position, _Folded(views))

    def _go_on_from(self, snapshots: Snapshots) -> None:
        kept = snapshots.newest(_SNAPSHOT, _Folded, self._ledger)
        if kept is None or kept.state.views.keys() < {kind.__name__ for kind in self._kinds}:
            return
        views = kept.state.views
        # Only what all of them have folded is a state: one that does not read throws every one away.
        with suppress(msgspec.MsgspecError):
            self._views = {
                kind: msgspec.msgpack.decode(views[kind.__name__], type=kind) for kind in self._kinds
            }
            self._position, self._hash = kept.position.seq, kept.position.hash

    def catch_up(self) -> int:
        """Fold what the ledger has gained; return the seq of the last entry that is in.

        Raises
        ------
        Corrupt
            If an entry does not follow the one before it: it, or one before it, was edited.
        """
        with self._lock:
            views = list(self._views.values())
            while entries := self._ledger.read(self._position, limit=_BATCH):
                for entry in entries:
                    self._require_follows(entry)
                    if not is_in_file(entry.name):
                        event = entry.event
                        for view in views:
                            view.apply(entry, event)
                    self._position = entry.seq
            return self._position

    def _require_follows(self, entry: Entry) -> None:
        if entry.seq != self._position + 1 or entry_hash(self._hash, entry) != entry.hash:
            hint = "run varv verify, and restore the home folder from a copy"
            raise Corrupt("entry", entry.seq, "of the ledger is not what was written", hint=hint)
        self._hash = entry.hash

    @contextmanager
    def reading(self, kind: type[V]) -> Generator[V]:
        """Give the caught-up view of a kind; nothing changes it within the block, and nothing may be kept
        from it.

        Raises
        ------
        NotFound
            If there is no view of that kind.
        """
        with self._lock:
            view = self._views.get(kind)
            if not isinstance(view, kind):
                raise NotFound("view", kind.__name__, known=sorted(known.__name__ for known in self._views))
            self.catch_up()
            yield view
