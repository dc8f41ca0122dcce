"""What an unmodified MLflow client sees, one workflow a process: `python clients WORKFLOW`.

It runs where there is no varv, in an environment with `mlflow`, against the server that MLFLOW_TRACKING_URI
names, and prints one JSON document. Ids stand under their names, so that whoever compares can leave them out.
"""

from __future__ import annotations

import json
import sys

import genai
import models
from seeing import UNIQUE

import runs

WORKFLOWS = {
    work.__name__: work
    for work in (
        runs.fluent,
        runs.artifacts,
        runs.in_parts,
        runs.datasets,
        runs.tracking_client,
        runs.asynchronous,
        models.registry,
        models.logged_model,
        models.sklearn_autolog,
        models.boosters,
        models.torch_steps,
        genai.prompts,
        genai.traces,
    )
}

if __name__ == "__main__":
    print(json.dumps({"unique": UNIQUE, "told": WORKFLOWS[sys.argv[1]]()}))
