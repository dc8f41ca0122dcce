"""Read model of pulls: where each source is to be gone on from, and how the last pull went."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from varv.data.ingestion.model import PullFailed, SourceCompared, SourcePulled, UpstreamsChecked
from varv.data.sources import Upstream
from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.ledger import Entry


class Failure(msgspec.Struct, frozen=True):
    """Why the last pull did not come to its end, since when pulls have failed so, and when that was put on
    record last.
    """

    code: str
    why: str
    since: Instant
    at: Instant


class PullState(msgspec.Struct):
    """How far the source of a dataset was pulled."""

    source: str = ""
    cursor: dict[str, str] = {}
    done_at: Instant | None = None
    """When a pull last came to its end."""
    compared_at: Instant | None = None
    failed: Failure | None = None
    n_failures: int = 0
    n_pulls: int = 0
    upstreams: tuple[Upstream, ...] = ()
    """How fresh what it is made of was when somebody looked last."""
    n_rows: int = 0
    """New ones, of all pulls."""


class PullsView(msgspec.Struct):
    """The pulls of every dataset."""

    states: dict[str, PullState] = {}

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold the next entry."""
        match event:
            case SourcePulled():
                state = self._state(event.dataset, event.source)
                state.cursor |= event.moved
                state.cursor = {place: text for place, text in state.cursor.items() if text}
                state.n_rows += event.n_new
                if event.done:
                    state.done_at, state.failed = entry.at, None
                    state.n_pulls += 1
            case UpstreamsChecked():
                self._state(event.dataset, event.source).upstreams = event.upstreams
            case SourceCompared():
                self._state(event.dataset, event.source).compared_at = entry.at
            case PullFailed():
                state = self._state(event.dataset, event.source)
                state.n_failures += 1
                before = state.failed
                is_same = before is not None and (before.code, before.why) == (event.code, event.why)
                since = before.since if before is not None and is_same else entry.at
                state.failed = Failure(event.code, event.why, since, entry.at)
            case _:
                pass

    def state(self, dataset: str) -> PullState | None:
        """Return how far a dataset was pulled; None if it never was."""
        return self.states.get(dataset)

    def cursor(self, dataset: str, source: str) -> Mapping[str, str]:
        """Return where a source is to be gone on from; nowhere if it is another one than before."""
        state = self.states.get(dataset)
        return dict(state.cursor) if state is not None and state.source == source else {}

    def _state(self, dataset: str, source: str) -> PullState:
        state = self.states.setdefault(dataset, PullState())
        if state.source != source:
            # What another source said of its places means nothing here.
            self.states[dataset] = state = PullState(
                source=source, n_failures=state.n_failures, n_pulls=state.n_pulls, n_rows=state.n_rows
            )
        return state
