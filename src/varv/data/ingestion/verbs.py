"""The use case of ingestion: to pull datasets from their sources, now or as often as they say."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from varv.data.dataset import Dataset
from varv.data.ingestion.acts import Acts, T
from varv.data.ingestion.pulling import Pulled, Puller
from varv.data.ingestion.views import PullsView
from varv.data.rewriting.files import Rewritten
from varv.data.service import Datasets
from varv.kernel.clock import Clock, Instant
from varv.kernel.errors import NotFound, Unavailable, VarvError
from varv.kernel.faults import Faults
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger import Ledger
from varv.kernel.observe import log
from varv.kernel.sagas import Fact
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.verbs import OPERATE, verb
from varv.kernel.views import Views

_LOG = logging.getLogger(__name__)


class PullRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a dataset; all that say how often they are pulled if it is left out."""

    dataset: str = ""


class NotPulled(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset whose source could not be read to its end, and why."""

    dataset: str
    code: str
    why: str


class PullsDone(msgspec.Struct, frozen=True, kw_only=True):
    """What came of each pull."""

    pulled: tuple[Pulled, ...]
    failed: tuple[NotPulled, ...]
    flows: bool
    """Whether features and labels follow now; if not, they do at the next start of the server."""


class PullDesk:
    """What the use case works on.

    Parameters
    ----------
    declared
        The datasets by name, with their sources.
    flows
        Whether what comes is known to those that answer at once.
    """

    def __init__(
        self,
        puller: Puller,
        views: Views,
        declared: Mapping[str, Dataset],
        *,
        flows: bool,
    ) -> None:
        self._puller, self._views = puller, views
        self.declared = declared
        self.flows = flows
        self._tried: dict[str, Instant] = {}
        # Two pulls of one source would read the same rows.
        self._one_at_a_time = threading.Lock()
        self._ended = threading.Event()

    def pull(self, name: str, *, stopped: Callable[[], bool] = lambda: False) -> Pulled:
        """Pull one dataset.

        Raises
        ------
        NotFound
            If it is not declared.
        VarvError
            If its source cannot be read to its end.
        """
        dataset = self.declared.get(name)
        if dataset is None:
            names = ", ".join(self.declared) or "none"
            hint = f"those that a model or one of its views reads are {names}"
            raise NotFound("dataset", name[:80], "is read by no declared model", hint=hint)
        with self._one_at_a_time:
            if self._ended.is_set():
                raise Unavailable("server", "", "is being changed", hint="try again in a moment")
            return self._puller.pull(dataset, stopped=lambda: stopped() or self._ended.is_set())

    def end(self) -> None:
        """End the pull that is under way after its step, and let no other begin: another home takes over."""
        self._ended.set()
        with self._one_at_a_time:
            pass

    def scheduled(self) -> list[str]:
        """Return the datasets that say how often they are pulled."""
        return [name for name, dataset in self.declared.items() if dataset.every is not None]

    def pull_due(self, now: Instant, stopped: Callable[[], bool]) -> None:
        """Pull what is due; a source that fails is tried again in its time, and stops nobody."""
        for name in self.scheduled():
            every = self.declared[name].every
            with self._views.reading(PullsView) as view:
                state = view.state(name)
            done_at = (None if state is None else state.done_at) or Instant(0)
            if stopped() or every is None or now - max(done_at, self._tried.get(name, Instant(0))) < every:
                continue
            self._tried[name] = now
            try:
                pulled = self.pull(name, stopped=stopped)
            except VarvError as error:
                log(_LOG, logging.WARNING, "pull.failed", dataset=name, code=error.code, why=str(error))
                continue
            if pulled.n_new or pulled.n_changed or pulled.n_removed:
                counts = {"n_new": pulled.n_new, "n_changed": pulled.n_changed, "n_removed": pulled.n_removed}
                log(_LOG, logging.INFO, "pull.done", dataset=name, **counts)


class OfflineActs(Acts):
    """Commits to a home that nobody serves."""

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets

    def settle(self, decide: Callable[[], T]) -> T:
        """Commit what a function prepares."""
        decided = decide()
        self._datasets.commit(decided.facts)
        return decided

    def rewrite(self, name: str, act: Callable[[], Rewritten]) -> Rewritten:
        """Have a function replace rows."""
        return act()

    def tell(self, facts: tuple[Fact, ...]) -> None:
        """Commit facts."""
        self._datasets.commit(facts)


def offline_pulls(
    home: Path,
    ledger: Ledger,
    views: Views,
    clock: Clock,
    declared: Mapping[str, Dataset],
    *,
    requests: frozenset[str] = frozenset(),
    faults: Faults | None = None,
) -> PullDesk:
    """Return what pulls into a home that nobody serves.

    Parameters
    ----------
    declared
        The datasets with their sources.
    requests
        The names of those whose base rows come by predicting.
    """
    columns = FolderColumns(home / "columns", faults=faults)
    datasets = Datasets(ledger, columns, clock, views, Secret(home / SECRET_FILE))
    puller = Puller(datasets, views, clock, OfflineActs(datasets), requests=requests, faults=faults)
    return PullDesk(puller, views, declared, flows=False)


@verb("dataset.pull", needs=OPERATE)
def pull(desk: PullDesk, request: PullRequest) -> PullsDone:
    """Bring in what sources have beyond the last pull."""
    if request.dataset:
        return PullsDone(pulled=(desk.pull(request.dataset),), failed=(), flows=desk.flows)
    pulled: list[Pulled] = []
    failed: list[NotPulled] = []
    for name in desk.scheduled():
        try:
            pulled.append(desk.pull(name))
        except VarvError as error:
            failed.append(NotPulled(dataset=name, code=error.code, why=str(error)))
    return PullsDone(pulled=tuple(pulled), failed=tuple(failed), flows=desk.flows)
