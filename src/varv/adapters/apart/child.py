"""The process of one model, or of one function: ``python -m varv.adapters.apart.child SOCKET PARENT``.

It loads the package or the source that it is handed, says so, and answers one call after the other until its
worker is gone. Nothing here can be trusted once the model's code has run.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from varv.adapters.apart import wire
from varv.adapters.apart.source import FunctionSource
from varv.adapters.jobs import tree
from varv.adapters.jobs.wire import flattened
from varv.adapters.runtimes import installed_runtimes
from varv.adapters.runtimes.private_modules import PrivateModules
from varv.kernel.errors import Corrupt, UserCodeFailed, VarvError
from varv.kernel.memory import settle
from varv.kernel.user_code import UserCode
from varv.registry import LoadedModel, Package, Rows, Surroundings, n_rows, open_package

GIB = 1 << 30
_FIRST_FOR_THE_KERNEL = 1000
_MOST_BYTES = 1 << 40


class Model:
    """A package in memory.

    Parameters
    ----------
    package
        What it was loaded from.
    loaded
        What its runtime made of it.
    """

    kind = "model"

    def __init__(self, package: Package, loaded: LoadedModel) -> None:
        self.name = package.estimator
        self._width = package.width
        self._loaded = loaded

    def predict(self, rows: Rows) -> np.ndarray:
        """Return predictions, float32 of shape (n, width), in one piece.

        Raises
        ------
        UserCodeFailed
            If the model raised.
        Corrupt
            If it answers in another form.
        """
        with UserCode("model", self.name):
            found = np.ascontiguousarray(self._loaded.predict(rows), dtype=np.float32)
        if found.shape != (n_rows(rows), self._width):
            why = f"answers of shape {found.shape} to {n_rows(rows)} rows of {self._width} numbers"
            raise Corrupt("model", self.name, "does not answer in the form of its task", why=why)
        return found

    def answer(self, ask: wire.Message, data: memoryview) -> tuple[wire.Message, list[memoryview]]:
        """Return what is said to a message, and what follows it."""
        assert isinstance(ask, wire.Ask), "a model is asked for predictions"
        found = self.predict(wire.rows_of(ask, data))
        n, width = found.shape
        return wire.Scores((n, width)), [found.data.cast("B")]


class Function:
    """A function in memory.

    Parameters
    ----------
    source
        What it is made from.

    Raises
    ------
    Corrupt
        If its module lacks it.
    """

    kind = "function"

    def __init__(self, source: FunctionSource) -> None:
        self.name = source.name
        files = {path: text.encode() for path, text in source.files}
        self._modules = PrivateModules(files)
        module = self._modules.module(source.module) if files else import_module(source.module)
        found: Any = module
        for part in source.name.split("."):
            found = getattr(found, part, None)
        if not callable(found):
            raise Corrupt(
                "function", source.name, f"is not in module {source.module}", hint="declare it again"
            )
        self._call = found

    def answer(self, ask: wire.Message, data: memoryview) -> tuple[wire.Message, list[bytes]]:
        """Return what is said to a message, and what follows it.

        Raises
        ------
        UserCodeFailed
            If the function raised.
        Corrupt
            If it returned something else than columns.
        """
        assert isinstance(ask, wire.Call), "a function is called"
        columns = msgspec.json.decode(data)
        with UserCode("function", self.name):
            returned = self._call(columns)
        try:
            made = {str(name): _listed(values) for name, values in returned.items()}
            return wire.Returned(), [msgspec.json.encode(made)]
        except (AttributeError, TypeError, ValueError) as error:
            problem, hint = "does not return columns", 'return lists by name: {"label": ["late"]}'
            why = str(error)[:200]
            raise Corrupt("function", self.name, problem, why=why, hint=hint) from None


def _listed(values: Any) -> Any:
    """Return values as a list, of whatever library they are."""
    return values.tolist() if hasattr(values, "tolist") else list(values)


def main() -> int:
    """Load and answer until the other end closes."""
    handle, parent = map(int, sys.argv[1:3])
    tree.die_with_parent(parent)
    # What is printed is for the worker's log.
    os.dup2(2, 1)
    os.set_inheritable(handle, False)
    channel = wire.Channel(socket.socket(fileno=handle))
    try:
        _serve(channel)
    except (EOFError, OSError):
        return 0  # the worker is gone, or wants no answer any more
    return 1


def _serve(channel: wire.Channel) -> None:
    order, _ = channel.receive(0)
    assert isinstance(order, wire.Load | wire.LoadFunction), "the first message says what to load"
    try:
        loaded = _loaded(order) if isinstance(order, wire.Load) else _loaded_function(order)
    except VarvError as error:
        channel.send(wire.Failed(flattened(error)))
        return
    settle()
    channel.send(wire.Ready())
    while True:
        ask, data = channel.receive(_MOST_BYTES)
        try:
            told, parts = loaded.answer(ask, data)
        except VarvError as error:
            channel.send(wire.Failed(flattened(error)))
        except BaseException as error:  # noqa: BLE001 - an author may raise anything, also what is no Exception
            problem = f"raised {type(error).__name__}"
            failed = UserCodeFailed(loaded.kind, loaded.name, problem, hint="fix it and retry")
            channel.send(wire.Failed(flattened(failed)))
        else:
            channel.send(told, parts)


def _loaded(order: wire.Load) -> Model:
    sys.path[:] = order.path
    package = open_package(_content(order.package))
    _stand_back(order.memory_bytes)
    with UserCode("model", package.estimator):
        runtimes = installed_runtimes(Surroundings(device=order.device))
        model = Model(package, runtimes.load(package, threads=order.threads))
    # What a model puts off until it is first asked is done before somebody waits for it.
    model.predict(package.probe_rows())
    return model


def _loaded_function(order: wire.LoadFunction) -> Function:
    sys.path[:] = order.path
    source = msgspec.msgpack.decode(_content(order.source), type=FunctionSource)
    _stand_back(order.memory_bytes)
    with UserCode("function", source.name):
        return Function(source)


def _content(handle: int) -> bytes:
    """Return a whole file, which others may be reading too."""
    size = os.fstat(handle).st_size
    data, at = bytearray(size), 0
    while at < size and (n_more := os.preadv(handle, [memoryview(data)[at:]], at)):
        at += n_more
    os.close(handle)
    return bytes(data)


def _stand_back(memory_bytes: int) -> None:
    """Be the first to go if the machine runs out of memory, and never ask for very much at once: the worker
    looks at what is used only every so often.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_FIRST_FOR_THE_KERNEL))
    # Zero forbids a core file; one forbids also the program that the system may pipe a core to.
    for kind, most in (
        (resource.RLIMIT_CORE, 1),
        (resource.RLIMIT_DATA, memory_bytes + memory_bytes // 2 + GIB),
    ):
        with suppress(OSError, ValueError):
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    # Threads that the model left, and what it registered to be done at exit, are not waited for.
    os._exit(main())
