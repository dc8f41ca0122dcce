"""A project of BentoML: a service, and what a bento is built of.

Source: BentoML's documentation of services and of bentofile.yaml.
"""

from __future__ import annotations

from varv.fronts.packages.clusters import Cluster
from varv.fronts.packages.describing import readme, requirements, signature_file, source_file
from varv.fronts.packages.model import Exported, Files, Source, exported
from varv.fronts.yaml import Document, documents_in_yaml

_INCLUDED = ("model.onnx", "service.py", "signature.json", "varv_scoring.py")


def bentoml(source: Source, cluster: Cluster) -> tuple[Exported, Files]:
    """Return a project, and the model that is in it."""
    given = exported(source)
    return given, {
        "bentofile.yaml": documents_in_yaml([_bento(given)]).encode(),
        "model.onnx": given.package.file("model.onnx"),
        "signature.json": signature_file(given),
        "service.py": source_file("service.py"),
        "varv_scoring.py": source_file("varv_scoring.py"),
        "requirements.txt": requirements(given, "bentoml"),
        "README.md": readme(given, "BentoML", _serving()),
    }


def _bento(given: Exported) -> Document:
    return {
        "service": "service:Prediction",
        "name": given.model,
        "labels": {"model": given.model, "version": str(given.source.version)},
        "include": list(_INCLUDED),
        # What computes has its version there; a lock would be resolved over the network with every build.
        "python": {"requirements_txt": "./requirements.txt", "lock_packages": False},
    }


def _serving() -> list[str]:
    return [
        '`bentoml serve` in this folder answers `{"instances": [{"column": value}]}`, posted to `/predict`. '
        "`bentoml build` makes a bento of it, `bentoml containerize` an image.",
        "What the model does not read is answered by 400.",
    ]
