"""One version of a model as other servers take it: plain functions from a version to the files of a folder.

Nothing here reads a home or asks a model; `varv package` does both, and checks that the graph that is
written answers the package's probe rows as the trained model did. `sources` are files that go into such
folders as they are; no part of varv imports them.
"""

from varv.fronts.packages.bentoml import bentoml
from varv.fronts.packages.clusters import Cluster
from varv.fronts.packages.folder import write_folder
from varv.fronts.packages.mlflow import mlflow
from varv.fronts.packages.mlserver import mlserver
from varv.fronts.packages.model import Exported, Files, Source
from varv.fronts.packages.sagemaker import sagemaker
from varv.fronts.packages.triton import triton
from varv.fronts.packages.vertex import vertex

TARGETS = {
    "triton": triton,
    "mlflow": mlflow,
    "mlserver": mlserver,
    "sagemaker": sagemaker,
    "vertex": vertex,
    "bentoml": bentoml,
}
"""By the name of a target, what writes its folder."""

__all__ = ["TARGETS", "Cluster", "Exported", "Files", "Source", "write_folder"]
