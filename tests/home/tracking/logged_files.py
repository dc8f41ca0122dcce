"""Files of models as MLflow logs them, put among a home's artifacts as its client puts them."""

from __future__ import annotations

import pickle

from varv.runs.artifacts import keep

MLMODEL = """\
flavors:
{flavours}
mlflow_version: 3.18.0
signature:
  inputs: '[{{"type": "double", "name": "distance", "required": true}}]'
"""
LIGHTGBM = {"lightgbm": {"data": "model.lgb", "lgb_version": "4.7.0"}}
BOOSTER = b"tree\nversion=v4\nnum_class=1\n"


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def described(flavours):
    lines = [
        f"  {name}:\n" + "\n".join(f"    {key}: {value}" for key, value in about.items())
        for name, about in flavours.items()
    ]
    return MLMODEL.format(flavours="\n".join(lines)).encode()


def safe():
    return {"MLmodel": described(LIGHTGBM), "model.lgb": BOOSTER, "requirements.txt": b"numpy==2.4.6\n"}


def unsafe(path, flavour="sklearn", field="pickled_model", file="model.pkl"):
    return {
        "MLmodel": described({flavour: {field: file}}),
        file: pickle.dumps({"model": Bomb(path)}),
    }


def put(home, owner, files, folder=""):
    for path, data in files.items():
        at = f"{folder}/{path}" if folder else path
        home.do(keep(owner, at, home.desk.runs.blobs.put(data), len(data)))


def log_files(home, files, **said):
    """Log a model with files, as a client does, and return its id."""
    id = home.log_model(**said)
    put(home, f"models/{id}", files)
    home.do(home.desk.logged.finalize(id, "READY"))
    return id
