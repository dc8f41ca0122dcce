"""A deployment of Ray Serve with one replica: ``python serve_ray.py MODEL PORT``.

Requests are not logged, and it has no dashboard. A replica takes all that are under way: as it comes it takes
five, and the others wait in the proxy.
"""

import signal
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=128)
class Wide:
    """Calls ONNX Runtime."""

    def __init__(self, model: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.taken = self.session.get_inputs()[0].name
        self.given = [self.session.get_outputs()[-1].name]

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        """Answer one request."""
        rows = np.array((await request.json())["rows"], np.float32)
        said = self.session.run(self.given, {self.taken: rows})[0]
        return {"probability": said[:, 1].tolist()}


def main(model: str, port: str) -> None:
    ray.init(include_dashboard=False, num_cpus=2, object_store_memory=100 << 20, _temp_dir=str(Path.cwd()))
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    serve.run(Wide.bind(model), route_prefix="/predict", logging_config={"enable_access_log": False})
    signal.pause()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    main(*sys.argv[1:])
