"""FastAPI on uvicorn, with its loop and parser of C: ``python serve_fastapi.py MODEL PORT``."""

import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
taken, given = session.get_inputs()[0].name, [session.get_outputs()[-1].name]


class Asked(BaseModel):
    """Rows to predict."""

    rows: list[list[float]]


class Told(BaseModel):
    """A probability for each."""

    probability: list[float]


@app.post("/predict")
async def predict(asked: Asked) -> Told:
    """Answer one request."""
    said = session.run(given, {taken: np.array(asked.rows, np.float32)})[0]
    return Told(probability=said[:, 1].tolist())


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), access_log=False, log_level="warning")
