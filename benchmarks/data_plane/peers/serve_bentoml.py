"""A service of BentoML with one worker: ``python serve_bentoml.py MODEL PORT``.

The answer is written by a coroutine, which spares it a hand-over to a thread for each request; requests are
not logged.
"""

import os
import sys
from pathlib import Path

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Wide:
    """Calls ONNX Runtime."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        model = os.environ["WIDE_MODEL"]
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.taken = self.session.get_inputs()[0].name
        self.given = [self.session.get_outputs()[-1].name]

    @bentoml.api
    async def predict(self, rows: np.ndarray) -> np.ndarray:
        """Answer one request."""
        return self.session.run(self.given, {self.taken: rows.astype(np.float32)})[0][:, 1]


def main(model: str, port: str) -> None:
    os.environ |= {"WIDE_MODEL": model, "BENTOML_HOME": str(Path.cwd()), "BENTOML_DO_NOT_TRACK": "True"}
    command = Path(sys.executable).with_name("bentoml")
    served = ["serve", "serve_bentoml:Wide", "--working-dir", str(Path(__file__).parent)]
    os.execv(command, [str(command), *served, "--host", "127.0.0.1", "--port", port])


if __name__ == "__main__":
    main(*sys.argv[1:])
