"""A worker whose models take a millisecond of the processor and 20 µs a row at least.

``python -m data_plane.slow_worker MOST LISTENER`` is told what to do as every worker is; at most `MOST` rows
are scored in one call.
"""

from __future__ import annotations

import hashlib
import sys
import time

import numpy as np

from varv.adapters.runtimes import OURS
from varv.adapters.runtimes.onnx import OnnxRuntime
from varv.app.server import worker
from varv.fronts.inference import pace
from varv.registry import LoadedModel, Package, Rows, Surroundings, n_rows

CALL_S, ROW_S = 1e-3, 2e-5
_PIECE = bytes(16 << 10)


class Slow:
    """A model that takes its time on the processor, without the interpreter, as those of ONNX Runtime do."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    def predict(self, rows: Rows) -> np.ndarray:
        """Return predictions."""
        # Of the processor and not of the clock, so that it is the same beside other work.
        until = time.thread_time() + CALL_S + ROW_S * n_rows(rows)
        found = self._model.predict(rows)
        while time.thread_time() < until:
            hashlib.sha256(_PIECE)
        return found


class SlowRuntime(OnnxRuntime):
    """The runtime of ONNX models, slowed down."""

    def load_in(self, package: Package, around: Surroundings, *, threads: int = 1) -> LoadedModel:
        """Bring a package into memory."""
        return Slow(super().load_in(package, around, threads=threads))


def main() -> int:
    """Work as a worker does."""
    pace.MOST_ROWS = int(sys.argv[1])
    OURS["onnx"] = "data_plane.slow_worker:SlowRuntime"
    return worker.main(int(sys.argv[2]))


if __name__ == "__main__":
    raise SystemExit(main())
