"""What the ledger says of the online store: which generation of a view is current, and how far it goes."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from varv.features.feature_view import FeatureView
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, Event, event
from varv.kernel.ids import DatasetName, Version
from varv.kernel.ledger import Entry
from varv.kernel.wording import count


@event("features.view_materialised")
class ViewMaterialised(Event, frozen=True, kw_only=True):
    """The online store holds of a view what its dataset had said up to a version; readers go by the
    generation from now on.

    `n_rows` rows were taken in since the event before, of which `n_late` lay before the watermark; `newest`
    is the latest instant of any row, `oldest` that of the first request that is answered. A generation that
    was made of an interval holds rows of `since` and later, and of before `until`.
    """

    view: str
    digest: Digest
    generation: int
    dataset: DatasetName
    upto: Version
    layout: tuple[tuple[str, str], ...]
    n_rows: int
    n_late: int = 0
    newest: Instant | None = None
    oldest: Instant = Instant(0)
    since: Instant | None = None
    until: Instant | None = None
    by: str = ""

    def line(self) -> str:
        """Return one line on what this event states."""
        late = f", {count(self.n_late)} of them late" if self.n_late else ""
        what = f"generation {self.generation} goes up to {self.dataset} version {self.upto}"
        return f"{self.view} online: {what}, {count(self.n_rows)} rows more{late}"


@event("features.generation_dropped")
class GenerationDropped(Event, frozen=True, kw_only=True):
    """A generation of a view that is not current, or of a definition that nothing names any more, goes."""

    view: str
    digest: Digest
    generation: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.view} online: generation {self.generation} of {self.digest[:12]} is removed"


class Materialised(msgspec.Struct):
    """One definition of a view in the online store."""

    last: ViewMaterialised
    at: Instant
    """When the last event was."""
    n_rows: int = 0
    """Rows that the current generation took in."""
    n_late: int = 0


class OnlineView(msgspec.Struct):
    """What is online, by view and digest."""

    views: dict[str, dict[Digest, Materialised]] = {}

    def of(self, view: str, digest: Digest) -> Materialised | None:
        """Return what is online of one definition of a view."""
        return self.views.get(view, {}).get(digest)

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold one entry in."""
        match event:
            case ViewMaterialised():
                held = self.of(event.view, event.digest)
                goes_on = held is not None and held.last.generation == event.generation
                before = (held.n_rows, held.n_late) if held is not None and goes_on else (0, 0)
                n_rows, n_late = before[0] + event.n_rows, before[1] + event.n_late
                self.views.setdefault(event.view, {})[event.digest] = Materialised(
                    event, entry.at, n_rows, n_late
                )
            case GenerationDropped():
                held = self.of(event.view, event.digest)
                if held is not None and held.last.generation == event.generation:
                    del self.views[event.view][event.digest]
            case _:
                pass


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What lies beside the values of a generation: how far they go."""

    upto: Version = Version(0)
    """The version up to which everything is in."""
    newest: Instant | None = None
    oldest: Instant = Instant(0)
    since: Instant | None = None
    until: Instant | None = None
    n_rows: int = 0
    n_late: int = 0
    """In all, like the rows."""
    goal: Version = Version(0)
    """The version that is being taken in."""
    steps: Digest = Digest("")
    """Identifies in which steps it is."""
    n_done: int = 0
    """Of these."""
    n_rows_done: int = 0
    n_late_done: int = 0
    at: Instant = Instant(0)
    """When the generation was brought to `upto`; 0 while a goal is being taken in."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing of a goal is in that is not in as a whole."""
        return self.at > 0

    def encoded(self) -> bytes:
        """Return it as bytes."""
        return msgspec.json.encode(self)


def note_of(data: bytes) -> Note:
    """Return the note that bytes hold."""
    return msgspec.json.decode(data, type=Note)


def kept_views(declared: Iterable[FeatureView]) -> list[FeatureView]:
    """Return the views whose rows the store keeps, of each name the first, since those that are declared come
    before those that are kept; of uses what they are uses of.
    """
    found: dict[str, FeatureView] = {}
    for view in declared:
        found.setdefault(view.of.name, view.of)
    return list(found.values())


def readable_views(declared: Iterable[FeatureView]) -> list[FeatureView]:
    """Return the views that can be read, one of each name: those that are kept, and their uses."""
    declared = list(declared)
    found = {view.name: view for view in kept_views(declared)}
    for view in declared:
        found.setdefault(view.name, view)
    return list(found.values())


def table_name(view: FeatureView, digest: Digest) -> str:
    """Return the name of the table of one definition of a view."""
    return f"{view.name}-{digest[:12]}"


def stream_of(view: str) -> str:
    """Return the ledger's stream of what is online of a view."""
    return f"online/{view}"
