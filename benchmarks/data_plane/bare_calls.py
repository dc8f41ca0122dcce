"""A gRPC handler that does nothing but call ONNX Runtime, on the server that varv's workers use.

Beside this folder: ``python -m data_plane.bare_calls PORT``.
"""

from __future__ import annotations

import sys
from typing import Any

import grpc
import grpc.aio
import numpy as np
import uvloop

from data_plane.bare import session, written
from varv.fronts.inference.rpc.messages import SERVICE, messages


async def main(port: int) -> None:
    """Answer calls of `ModelInfer` for ever."""
    made = messages()
    model = session(written())
    inputs, outputs = model.get_inputs()[0].name, [model.get_outputs()[-1].name]
    answer = made["ModelInferResponse"]

    async def infer(request: Any, context: Any) -> Any:
        rows = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(-1, 30)
        said = model.run(outputs, {inputs: rows})[0][:, 1]
        told = answer(model_name="wide", raw_output_contents=[said.tobytes()])
        told.outputs.add(name="probability", datatype="FP32", shape=[len(rows)])
        return told

    server = grpc.aio.server()
    asked = made["ModelInferRequest"].FromString
    handler = grpc.unary_unary_rpc_method_handler(infer, asked, answer.SerializeToString)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"ModelInfer": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
