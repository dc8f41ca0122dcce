"""Which models are in memory, within a budget: whichever was not asked for longest goes first, and comes back
with the next request for it.

What a model takes is what the process grew by when it was loaded, and its files' size at least: libraries
hold it where no counter of ours sees it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from itertools import count

import numpy as np

from varv.kernel.clock import wall_seconds
from varv.kernel.memory import resident_bytes, return_freed
from varv.kernel.observe import log
from varv.registry import LoadedModel, Rows
from varv.registry.ports import waits

Load = Callable[[], LoadedModel]
_LOG = logging.getLogger(__name__)


class Residence:
    """The models of one process.

    Parameters
    ----------
    most_bytes
        What they may take together; None for no bound. A single one that takes more stays while it is used.
    resident
        Tells how many bytes of memory the process has.
    """

    def __init__(self, most_bytes: int | None, resident: Callable[[], int] = resident_bytes) -> None:
        self._most_bytes = most_bytes
        self._resident = resident
        self._held: list[Held] = []
        self._uses = count(1)
        # Loading is counted by what the process grows by, so one loads after the other.
        self._loading = threading.Lock()
        self.n_unloaded = 0

    def taken_in(self, name: str, load: Load, reload: Load, file_bytes: int) -> LoadedModel:
        """Return a model that is loaded now, and again whenever it had to go.

        Parameters
        ----------
        name
            For the log.
        load
            Loads it the first time.
        reload
            Loads it from where it is kept.
        file_bytes
            The size of its files.
        """
        if self._most_bytes is None:
            return load()
        made = Held(self, name, reload, file_bytes)
        with self._loading:
            self._load(made, load)
        return made

    def model_of(self, held: Held) -> LoadedModel:
        """Return a model, loaded anew if it had to go."""
        with self._loading:
            if held.model is None:
                began = wall_seconds()
                self._load(held, held.reload)
                log(
                    _LOG,
                    logging.INFO,
                    "model.loaded",
                    model=held.name,
                    ms=round(1e3 * (wall_seconds() - began)),
                )
            assert held.model is not None, "it was loaded"
            return held.model

    def used(self, held: Held) -> None:
        """Take note of a use."""
        held.last_used = next(self._uses)

    def left(self, held: Held) -> None:
        """Forget a model that nobody will ask any more."""
        with self._loading:
            self._held = [one for one in self._held if one is not held]

    def _load(self, held: Held, load: Load) -> None:
        before = self._resident()
        held.model = load()
        held.n_bytes = max(held.file_bytes, self._resident() - before)
        self.used(held)
        if held not in self._held:
            self._held.append(held)
        self._make_room(held)

    def _make_room(self, stays: Held) -> None:
        """Let go of models until those that are left fit, but for the one that is about to answer."""
        assert self._most_bytes is not None, "only then is anything held here"
        there = sorted((one for one in self._held if one.model is not None), key=lambda one: one.last_used)
        n_bytes = sum(one.n_bytes for one in there)
        gone = False
        for one in there:
            if n_bytes <= self._most_bytes:
                break
            if one is stays:
                continue
            # A call that is under way keeps the model until it is done.
            one.model = None
            n_bytes -= one.n_bytes
            gone = True
            self.n_unloaded += 1
            log(_LOG, logging.INFO, "model.unloaded", model=one.name, bytes=one.n_bytes)
        if gone:
            return_freed()


class Held:
    """A model that may not be in memory at the moment."""

    def __init__(self, residence: Residence, name: str, reload: Load, file_bytes: int) -> None:
        self._residence = residence
        self.name = name
        self.reload = reload
        self.file_bytes = self.n_bytes = file_bytes
        self.last_used = 0
        self.model: LoadedModel | None = None

    @property
    def waits(self) -> bool:
        """Whether a call may take long: it has to be loaded, or another process answers for it."""
        model = self.model
        return model is None or waits(model)

    def predict(self, rows: Rows) -> np.ndarray:
        """Return predictions of rows, as the model does."""
        model = self.model
        if model is None:
            model = self._residence.model_of(self)
        self._residence.used(self)
        return model.predict(rows)

    def leave(self) -> None:
        """Take note that nobody will ask any more."""
        self._residence.left(self)
