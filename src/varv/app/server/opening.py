"""What a server serves: the project that its files declare by now, opened as a home, and the clients that may
ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from varv.adapters.apart import Apart
from varv.adapters.processes import Processes
from varv.adapters.runtimes import installed_runtimes
from varv.app.clients import load_clients
from varv.app.compose import MOST_HELD, open_home
from varv.app.fitting import ProcessFits
from varv.app.server.owned import OwnedHome
from varv.app.server.present import Present
from varv.app.server.wire import Access
from varv.app.settings import Settings, variables
from varv.data.registered import recall_types
from varv.home.change.carrying import Changes
from varv.home.live import KeepFeatures, Live
from varv.kernel.author_files import whole_place
from varv.kernel.clock import SECOND, Clock, HeldClock, wall_seconds
from varv.kernel.executor import Limits
from varv.kernel.faults import Faults
from varv.kernel.sizes import size_bytes
from varv.kernel.tracing import Tracer
from varv.project import ModelPlan, forget_project, load_project
from varv.project.planned import Retirement
from varv.registry import Surroundings
from varv.serving import Fleet


class Opening:
    """Reads what is declared, and opens the home by it; again whenever that has changed.

    Parameters
    ----------
    file
        The project: a file or a folder.
    model
        The only model to serve; all of the project if it is empty.
    clients
        The file that declares clients of the data plane.
    fits
        Processes that models are trained in.
    tracer
        Records what the home does; None records nothing.
    """

    def __init__(
        self,
        file: str,
        model: str,
        clients: Path,
        settings: Settings,
        owned: OwnedHome,
        clock: Clock,
        faults: Faults,
        fits: Processes,
        tracer: Tracer | None,
    ) -> None:
        self._file = file
        self._model = model
        self._clients = clients
        self._settings = settings
        self._owned = owned
        self._since_s = clock.now() // SECOND
        self._faults = faults
        self._fits = fits
        self._tracer = tracer
        self.clock = HeldClock(clock)
        """Of every home that is opened."""

    @property
    def is_whole(self) -> bool:
        """Whether all of the project is served."""
        return not self._model

    def forget(self) -> None:
        """Let the files of the project be run again by whoever asks for its plans."""
        forget_project(self._file)

    def plans(self) -> tuple[ModelPlan, ...]:
        """Return what the project declares by now."""
        project = load_project(self._file)
        project = project.only(self._model) if self._model else project
        recall_types(self._owned.views, project.datasets)
        project.validate()
        return project.plans()

    def access(self) -> Access:
        """Return who may ask by now."""
        return Access(
            clients=load_clients(self._clients),
            n_workers=self._settings.workers,
            allowed_origins=self._settings.allowed_origins,
            v1_deprecated_s=self._since_s if self._settings.deprecate_v1 else 0,
        )

    def opened(
        self,
        plans: Sequence[ModelPlan],
        fleet: Fleet,
        retire: Retirement,
        keep_features: KeepFeatures,
    ) -> Present:
        """Return the home as it works by `plans`, not yet in the present; parameters as of `Live`."""
        limits = Limits(
            time_s=self._settings.training_time_s, memory_bytes=size_bytes(self._settings.training_memory)
        )
        # Whoever judges a model that runs code of its own must not end with it.
        apart = Apart(variables(), time_s=limits.time_s, memory_bytes=limits.memory_bytes)
        runtimes = installed_runtimes(Surroundings(variables=variables()), apart)
        place = whole_place(self._file)
        home = open_home(
            self._settings.home,
            plans,
            self.clock,
            faults=self._faults,
            fleet=fleet,
            fitter=ProcessFits(self._fits, place, self._settings.home, limits, runtimes),
            runtimes=runtimes,
            ledger=self._owned.ledger,
            views=self._owned.views,
            most_held=MOST_HELD,
            timer=wall_seconds,
            tracer=self._tracer,
        )
        declarations = {name: parts.plan.digest() for name, parts in home.models.items()}
        changes = Changes(home, declarations, retire, whole=self.is_whole)
        return Present(home, Live(home, self.clock, declarations, changes, keep_features))
