"""An unmodified MLflow client logs models: each says what can answer for it, and nothing that it logged runs.

`make tracking` runs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from functools import partial

import httpx
import pytest
from tests.app.serving import eventually

from varv.app.compose import TRACKING
from varv.app.server.server_file import running_server
from varv.app.server.tracker import Tracker
from varv.app.settings import Settings
from varv.home.tracking.places import logged_files, tables_of
from varv.kernel.errors import InvalidInput
from varv.training import foreign_of

CLIENT = """
import os, sys, warnings
import mlflow, numpy, pandas
from mlflow.models import infer_signature
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
import lightgbm, xgboost

warnings.simplefilter("ignore")
rng = numpy.random.default_rng(0)
X = pandas.DataFrame({"distance": rng.random(200), "weekday": rng.random(200)})
y = (X.distance > 0.5).astype(int)
signature = infer_signature(X, y)


class Bomb:
    def __reduce__(self):
        return open, (os.environ["MADE_BY_A_PICKLE"], "w")


class Loader(mlflow.pyfunc.PythonModel):
    def __init__(self):
        self.bomb = Bomb()

    def predict(self, context, model_input):
        return model_input


def log(flavor, name, model, **said):
    said = {"signature": signature, "registered_model_name": name, **said}
    getattr(mlflow, flavor).log_model(model, name="model", **said)


tree = "sklearn.tree._tree.Tree"
log("sklearn", "skops", LogisticRegression().fit(X, y), serialization_format="skops")
forest = RandomForestClassifier(3).fit(X, y)
log("sklearn", "forest", forest, serialization_format="skops", skops_trusted_types=[tree])
pickled = LogisticRegression().fit(X, y)
pickled.bomb = Bomb()
log("sklearn", "pickled", pickled, serialization_format="cloudpickle")
log("lightgbm", "booster", lightgbm.train({"verbosity": -1}, lightgbm.Dataset(X, y), 2))
log("lightgbm", "lightgbm", lightgbm.LGBMClassifier(verbosity=-1, n_estimators=2).fit(X, y))
log("xgboost", "xgboost", xgboost.XGBClassifier(n_estimators=2).fit(X, y))
mlflow.pyfunc.log_model(name="model", python_model=Loader(), registered_model_name="pyfunc")
"""
RUNTIMES = {
    "skops": "skops",
    "forest": "skops",
    "pickled": "none",
    "booster": "lightgbm",
    "lightgbm": "skops",
    "xgboost": "xgboost",
    "pyfunc": "none",
}
WITHIN_S = 300


@pytest.fixture
def tracking(tmp_path):
    settings = Settings(home=tmp_path / "home", port=0)
    tracker = Tracker(settings)
    thread = threading.Thread(target=tracker.run, daemon=True)
    thread.start()
    yield eventually(lambda: running_server(settings)).url, settings.home
    tracker.told.set()
    thread.join(10)
    tracker.close()


def test_every_flavour_says_what_can_answer_for_it_and_none_runs(program, tracking, tmp_path):
    url, home = tracking
    made = tmp_path / "made-by-a-pickle"
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    own = {"MLFLOW_TRACKING_URI": url, "MADE_BY_A_PICKLE": str(made), "HOME": str(tmp_path)}
    command = [program("mlflow-now"), "-c", CLIENT]
    done = subprocess.run(command, env=kept | own, cwd=tmp_path, timeout=WITHIN_S, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    made.unlink(missing_ok=True)  # the client itself may unpickle what it has written
    found = {name: eventually(partial(_tags, url, name))["varv.runtime"] for name in RUNTIMES}
    assert found == RUNTIMES
    for name, runtime in RUNTIMES.items():
        with tables_of(home, TRACKING) as db:
            files = logged_files(db, home, f"models:/{name}/1").files
            if runtime == "none":
                with pytest.raises(InvalidInput):
                    foreign_of(files)
            else:
                assert list(foreign_of(files).inputs) == ["distance", "weekday"]
    assert "is a pickle that names" in _tags(url, "pickled")["varv.scan"]
    assert not made.exists()


def _tags(url, name):
    query = {"name": name, "version": "1"}
    answer = httpx.get(f"{url}/api/2.0/mlflow/model-versions/get", params=query)
    tags = {one["key"]: one["value"] for one in json.loads(answer.content)["model_version"].get("tags", [])}
    return tags if "varv.scan" in tags else None
