"""A package of a model that does to its process what the first number of a request says."""

from __future__ import annotations

import msgspec

from varv.kernel.environment import environment
from varv.registry import Column, Package, Signature
from varv.tasks import task_of

SOURCE = """
import ctypes, os, signal, subprocess, sys, time
import numpy as np


class Hostile:
    @classmethod
    def load(cls, folder):
        exec((folder / "load.py").read_text())
        return cls()

    def predict(self, rows):
        does = getattr(self, "does_" + str(int(self.first(rows)))) if self.first(rows) >= 0 else None
        return self.sums(rows) if does is None else does(rows)

    def first(self, rows):
        return (rows if isinstance(rows, np.ndarray) else rows["x"]).ravel()[0]

    def sums(self, rows):
        if isinstance(rows, np.ndarray):
            return rows.sum(axis=1)
        return np.array([x + len(text) for x, text in zip(rows["x"], rows["text"])])

    def does_1(self, rows):  # hangs, with the interpreter
        while True:
            pass

    def does_2(self, rows):
        os._exit(3)

    def does_3(self, rows):
        ctypes.string_at(0)

    def does_4(self, rows):  # allocates without end
        self.kept = []
        while True:
            self.kept.append(np.ones(2_000_000))
            time.sleep(0.001)

    def does_5(self, rows):
        raise ValueError("five is no number")

    def does_6(self, rows):
        print("said to nobody")
        os.write(1, b"raw bytes\\n")
        sys.stdout.flush()
        return self.sums(rows)

    def does_7(self, rows):
        return np.ones((len(rows), 3))

    def does_8(self, rows):
        sys.exit(1)

    def does_9(self, rows):  # writes to whatever is open
        for handle in [int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2]:
            try:
                os.write(handle, b"x" * 100)
            except OSError:
                pass
        return self.sums(rows)

    def does_10(self, rows):  # returns what identifies its process
        return np.full(len(self.sums(rows)), os.getpid())

    def does_11(self, rows):  # how many files it has, and whether it sees a secret
        links = []
        for name in os.listdir("/proc/self/fd"):
            try:
                links.append(os.readlink("/proc/self/fd/" + name))
            except OSError:
                pass
        n_sockets = sum(link.startswith("socket:") for link in links)
        return np.full(len(rows), n_sockets + 100 * ("A_TOKEN" in os.environ))

    def does_12(self, rows):  # leaves a process behind
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        return np.full(len(rows), left.pid)

    def does_13(self, rows):  # asks for more than there may be, at once
        return np.ones(40 << 30, dtype=np.uint8)[: len(rows)]

    def does_14(self, rows):  # sleeps half a second
        time.sleep(0.5)
        return self.sums(rows)
"""
MATRIX = Signature((Column("x", "number"), Column("y", "number")))
COLUMNS = Signature(
    (Column("x", "number"), Column("n", "number", dtype="int64"), Column("text", "text")), form="columns"
)


def hostile(signature: Signature = MATRIX, *, load: str = "", name: str = "hostile") -> Package:
    """Return the package; `load` is run when it is loaded."""
    probe = (-1.0, 2.0) if signature is MATRIX else (-1.0, 5, "four")
    said = -1.0 + (2.0 if signature is MATRIX else 4.0)
    about = {"module": "hostile", "name": "Hostile", "method": "predict"}
    return Package(
        estimator=name,
        signature=signature,
        environment=environment(),
        params={},
        seed=0,
        n_rows=1,
        task=task_of("score").spec,
        runtime="python",
        files={
            "python.json": msgspec.json.encode(about),
            "source/hostile.py": SOURCE.encode(),
            "state/load.py": load.encode(),
        },
        probe=(probe,),
        probe_scores=((said,),),
    )
