"""A runtime of MLServer: ``python serve_mlserver.py MODEL PORT`` in an empty folder, for its settings.

Its pool of processes is left off, which is its quicker way to answer from one; so is its debugging, which it
has on as it comes.
"""

import json
import os
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Wide(MLModel):
    """Calls ONNX Runtime."""

    async def load(self) -> bool:
        """Read the model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        model = self.settings.parameters.uri
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.taken = self.session.get_inputs()[0].name
        self.given = [self.session.get_outputs()[-1].name]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        said = self.session.run(self.given, {self.taken: rows})[0][:, 1]
        output = NumpyCodec.encode_output("probability", said)
        return InferenceResponse(model_name=self.name, outputs=[output])


def other_ports() -> list[int]:
    """Return ports for what nobody asks here."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def main(model: str, port: str) -> None:
    shutil.copy(__file__, ".")
    grpc, metrics = other_ports()
    settings = {"debug": False, "host": "127.0.0.1", "parallel_workers": 0}
    ports = {"http_port": int(port), "grpc_port": grpc, "metrics_port": metrics}
    Path("settings.json").write_text(json.dumps({**settings, **ports}))
    wide = {"name": "wide", "implementation": "serve_mlserver.Wide", "parameters": {"uri": model}}
    Path("model-settings.json").write_text(json.dumps(wide))
    command = Path(sys.executable).with_name("mlserver")
    os.execv(command, [str(command), "start", "."])


if __name__ == "__main__":
    main(*sys.argv[1:])
