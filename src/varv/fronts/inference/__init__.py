"""The inference front: the Open Inference Protocol (version 2, REST, with JSON and binary tensors), MLflow's
scoring protocol and KServe's of before.

Each only translates: `serving.answering` types the values, answers and captures, and what an answer looks
like is the task's to say: as tensors, and as the plain values that scoring clients take.
"""

from varv.fronts.inference.app import create_inference
from varv.fronts.inference.hot import HotCalls
from varv.fronts.inference.served import Inference
from varv.fronts.inference.together import Together

__all__ = ["HotCalls", "Inference", "Together", "create_inference"]
