"""Bringing a package, or a function, into memory in a process of its own; `registry.ports.Runtimes` is handed
the former.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from varv.adapters.apart.function import ApartFunction
from varv.adapters.apart.keeper import Keeper
from varv.adapters.apart.model import ApartModel, Life
from varv.adapters.apart.process import PackageFile, Surroundings
from varv.adapters.apart.source import FunctionSource
from varv.adapters.jobs.environment import without_secrets
from varv.registry import Package, packed
from varv.registry.ports import Device

LOAD_WITHIN_S = 45.0
"""How long a model may take to load and to answer its probe rows. The owner of a worker waits a minute for
its answer."""


class Apart:
    """Gives every version that is loaded a process of its own.

    Parameters
    ----------
    variables
        The environment that the processes start from; varv's own variables, and those that look like secrets,
        are not passed on.
    time_s
        How long one call may take before its process is ended.
    memory_bytes
        How much one process may hold, with all that it has started.
    device
        Where models compute.
    load_s
        How long one may take to load and to answer its probe rows.
    """

    def __init__(
        self,
        variables: Mapping[str, str],
        *,
        time_s: float,
        memory_bytes: int,
        device: Device = "cpu",
        load_s: float = LOAD_WITHIN_S,
    ) -> None:
        self._variables = without_secrets(variables)
        self._time_s = time_s
        self._memory_bytes = memory_bytes
        self._device: Device = device
        self._load_s = load_s
        self._keeper = Keeper()

    def load(self, package: Package, *, threads: int = 1, instances: int = 1) -> ApartModel:
        """Return a model whose process has loaded it; of several, the first has, and the others follow.

        Parameters
        ----------
        instances
            How many processes it has, each with a call at a time.

        Raises
        ------
        VarvError
            What its runtime raises there, `Corrupt` if it refuses the package.
        UserCodeFailed, DeadlineExceeded
            If the process ended, or took too long.
        StorageFull
            If there is no room for the package.
        """
        around = Surroundings(
            name=package.estimator,
            package=PackageFile(packed(package)),
            threads=threads,
            device=self._device,
            variables=self._variables,
            time_s=self._time_s,
            load_s=self._load_s,
            memory_bytes=self._memory_bytes,
        )
        lives = [Life(around, self._keeper) for _ in range(instances)]
        lives[0].begin()
        for life in lives[1:]:
            life.begin_apart()
        return ApartModel(lives, package.width)

    def load_function(self, source: FunctionSource, *, time_s: float) -> ApartFunction:
        """Return a function whose process is being started; where it cannot be, the calls say why.

        Parameters
        ----------
        time_s
            How long a call may take before its process is ended.

        Raises
        ------
        StorageFull
            If there is no room for its source.
        """
        around = Surroundings(
            kind="function",
            name=source.name,
            package=PackageFile(msgspec.msgpack.encode(source)),
            variables=self._variables,
            time_s=time_s,
            load_s=self._load_s,
            memory_bytes=self._memory_bytes,
        )
        life = Life(around, self._keeper)
        life.begin_later()
        return ApartFunction(life)
