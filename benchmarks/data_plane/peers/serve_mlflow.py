"""A model of MLflow, served with one worker: ``python serve_mlflow.py MODEL PORT`` in an empty folder.

Requests are not logged. Its web server is the one that comes with it, without a loop or parser of C.
"""

import os
import sys
from pathlib import Path

import mlflow.onnx
import onnx


def main(model: str, port: str) -> None:
    threads = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
    how = {"onnx_session_options": threads, "onnx_execution_providers": ["CPUExecutionProvider"]}
    mlflow.onnx.save_model(onnx.load(model), "wide", **how)
    os.environ["UVICORN_ACCESS_LOG"] = "false"
    command = Path(sys.executable).with_name("mlflow")
    served = ["models", "serve", "--model-uri", "wide", "--env-manager", "local", "--workers", "1"]
    os.execv(command, [str(command), *served, "--host", "127.0.0.1", "--port", port])


if __name__ == "__main__":
    main(*sys.argv[1:])
