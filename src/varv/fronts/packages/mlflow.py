"""A model folder of MLflow: what `mlflow models serve`, SageMaker, Azure ML and Databricks take.

It has two flavours. ``python_function`` answers dataframes by ONNX Runtime, through `varv_scoring.py` in it:
MLflow's own loader of ONNX takes no missing text, and answers a prediction of several numbers as one long
column. ``onnx`` is the graph itself.

Source: MLflow's documentation of its model format, and mlflow.pyfunc.
"""

from __future__ import annotations

import json

from varv import __version__
from varv.fronts.packages.clusters import Cluster
from varv.fronts.packages.describing import (
    json_bytes,
    readme,
    required_packages,
    requirements,
    signature_file,
    source_file,
)
from varv.fronts.packages.model import Exported, Files, Source, exported
from varv.fronts.yaml import Document, documents_in_yaml

_TYPES = {"FP32": "double", "INT64": "long", "BYTES": "string"}
_EXAMPLES = 3


def mlflow(source: Source, cluster: Cluster) -> tuple[Exported, Files]:
    """Return a model folder, and the model that is in it."""
    given = exported(source)
    example = _example(given)
    return given, {
        "MLmodel": documents_in_yaml([_mlmodel(given)]).encode(),
        "model.onnx": given.package.file("model.onnx"),
        "signature.json": signature_file(given),
        "code/varv_scoring.py": source_file("varv_scoring.py"),
        "requirements.txt": requirements(given, "mlflow", "pandas"),
        "conda.yaml": documents_in_yaml([_conda(given)]).encode(),
        "python_env.yaml": documents_in_yaml([_python_env(given)]).encode(),
        "input_example.json": json_bytes(example),
        "serving_input_example.json": json_bytes({"dataframe_split": example}),
        "README.md": readme(given, "MLflow", _serving()),
    }


def _mlmodel(given: Exported) -> Document:
    inputs = [{"type": _TYPES[kind], "name": name, "required": True} for name, kind, _ in given.inputs]
    outputs = [{"type": "float", "name": name, "required": True} for name in given.numbers]
    return {
        "flavors": {
            "onnx": {"data": "model.onnx", "code": "code"},
            "python_function": {
                "code": "code",
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": "varv_scoring",
                "python_version": given.package.environment.python,
            },
        },
        "metadata": {
            "model": given.model,
            "version": given.source.version,
            "package": given.source.digest,
            "made_by": f"varv {__version__}",
        },
        "model_uuid": given.source.digest[:32],
        "saved_input_example_info": {
            "artifact_path": "input_example.json",
            "pandas_orient": "split",
            "serving_input_path": "serving_input_example.json",
            "type": "dataframe",
        },
        "signature": {
            "inputs": json.dumps(inputs),
            "outputs": json.dumps(outputs),
            "params": None,
        },
        "utc_time_created": given.source.registered.replace("T", " ").removesuffix("Z"),
    }


def _conda(given: Exported) -> Document:
    python = f"python={given.package.environment.python}"
    pip: Document = {"pip": required_packages(given, "mlflow", "pandas")}
    return {"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": [python, "pip", pip]}


def _python_env(given: Exported) -> Document:
    return {
        "python": given.package.environment.python,
        "build_dependencies": ["pip"],
        "dependencies": ["-r requirements.txt"],
    }


def _example(given: Exported) -> dict[str, object]:
    rows = given.probe_records()[:_EXAMPLES]
    return {"columns": [name for name, _, _ in given.inputs], "data": [list(row.values()) for row in rows]}


def _serving() -> list[str]:
    return [
        "This folder is a model of MLflow: `mlflow models serve -m .`, `mlflow.pyfunc.load_model`. SageMaker "
        "(by `mlflow deployments`), Azure ML (a model of type `mlflow_model`) and Databricks take it as it "
        "is; so does `varv register`.",
        "`MLmodel` says that numbers are of type `double`. There MLflow refuses a dataframe whose column is "
        "`int64`, so send fractions; over HTTP it converts by itself. `input_example.json` holds rows of the "
        "package.",
    ]
