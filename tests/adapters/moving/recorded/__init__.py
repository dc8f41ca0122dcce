"""What MLflow itself wrote: the rows of a server of 3.18 and the folder of a file store of 3.6, filled by its
client: two versions of one set of runs, models and prompts.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from pathlib import Path

_HERE = Path(__file__).parent


def store(folder: Path) -> str:
    """Make the database of the server, with its artifacts beside it; return its address."""
    with sqlite3.connect(folder / "mlflow.db") as db:
        for name in ("store.sql", "traces.sql"):
            db.executescript((_HERE / name).read_text())
    db.close()
    _write(folder / "mlartifacts", "mlartifacts.json")
    return f"sqlite:///{folder / 'mlflow.db'}"


def mlruns(folder: Path) -> Path:
    """Make the folder of the file store, elsewhere than where it was written."""
    return _write(folder / "mlruns", "mlruns.json")


def _write(folder: Path, name: str) -> Path:
    for path, held in json.loads((_HERE / name).read_text()).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(held.encode() if isinstance(held, str) else base64.b64decode(held["base64"]))
    return folder
