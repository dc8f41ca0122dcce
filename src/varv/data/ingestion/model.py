"""What can happen when a source is pulled."""

from __future__ import annotations

import msgspec

from varv.data.sources import Upstream
from varv.kernel.codec import Event, event
from varv.kernel.ids import DatasetName
from varv.kernel.wording import count


@event("data.source_pulled")
class SourcePulled(Event, frozen=True, kw_only=True):
    """Rows of a source came, and the place in it from which the next pull goes on; in one change with the
    versions that they make.

    `moved` are the places of the cursor that are others now, with an empty text if they are gone. `n_known`
    rows said what stands already, `n_different` something else than what stands, which was left, `n_changed`
    something else that was put in its place.
    """

    dataset: DatasetName
    source: str
    moved: dict[str, str]
    done: bool
    """Whether the pull came to its end with this."""
    n_read: int = 0
    n_new: int = 0
    n_known: int = 0
    n_different: int = 0
    n_changed: int = 0
    n_aside: int = 0

    def line(self) -> str:
        """Return one line on what this event states."""
        counts = {
            "new": self.n_new,
            "changed": self.n_changed,
            "different, and left": self.n_different,
            "put aside": self.n_aside,
        }
        said = ", ".join(f"{count(n)} {what}" for what, n in counts.items() if n) or "nothing new"
        return f"{self.dataset} from {self.source}: {count(self.n_read)} rows read, {said}"


@event("data.source_compared")
class SourceCompared(Event, frozen=True, kw_only=True):
    """A dataset was compared with its source, and rows that this has no more were removed."""

    dataset: DatasetName
    source: str
    n_removed: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.dataset} compared with {self.source}: {count(self.n_removed)} rows removed"


@event("data.pull_failed")
class PullFailed(Event, frozen=True, kw_only=True):
    """A source could not be pulled to its end; what had come by then stays."""

    dataset: DatasetName
    source: str
    code: str
    why: str

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.dataset} was not pulled: {self.why}"


@event("data.upstreams_checked")
class UpstreamsChecked(Event, frozen=True, kw_only=True):
    """Somebody looked how fresh what a source is made of is; found when it was pulled, if it says otherwise
    than before.
    """

    dataset: DatasetName
    source: str
    upstreams: tuple[Upstream, ...]

    def line(self) -> str:
        """Return one line on what this event states."""
        stale = [f"{one.name} ({one.status})" for one in self.upstreams if one.status != "pass"]
        found = f"not fresh: {', '.join(stale)}" if stale else f"{count(len(self.upstreams))} fresh"
        return f"{self.dataset}, what {self.source} is made of: {found}"


class Counts(msgspec.Struct):
    """What became of the rows of a step or a pull."""

    n_read: int = 0
    n_new: int = 0
    n_known: int = 0
    n_different: int = 0
    n_changed: int = 0
    n_aside: int = 0

    def add(self, other: Counts) -> None:
        """Add those of a step."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
