"""A home whose runs can be written, served in this process, and projects with scripts."""

from __future__ import annotations

import threading

import msgspec
import pytest
from tests.runs.repositories import Repository, variables

from varv.app.scripts.homes import tracked_home
from varv.app.scripts.reproducing import Way, reproduce
from varv.app.scripts.running import Script, run
from varv.app.settings import Settings
from varv.runs.reproduction import Tolerance
from varv.runs.verbs import RunOutcome, RunRequest

LOGS = """
import json, os, urllib.request

def log(name, value):
    body = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": name, "value": value, "timestamp": 1, "step": 0}
    request = urllib.request.Request(
        os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric",
        json.dumps(body).encode(), {"content-type": "application/json"})
    urllib.request.urlopen(request).read()
"""
"""A module that logs a metric as any client does, by what the variables say."""


class ScriptHome:
    def __init__(self, settings, tracked):
        self.settings, self.tracked = settings, tracked

    def run(self, project, *arguments, stop=None, on_output=None, **said):
        given = said.pop("variables", {})
        script = Script(
            file=said.pop("file", "train.py"),
            arguments=arguments,
            folder=project.folder,
            variables=variables(**given),
            **said,
        )
        return run(
            script,
            self.tracked,
            stop=stop or threading.Event(),
            on_output=on_output,
            home=self.settings.home,
        )

    def outcome(self, run_id):
        return msgspec.convert(self.tracked.ask("runs.outcome", RunRequest(run=run_id)), RunOutcome)

    def artifact(self, run_id, path):
        return self.tracked.runs.get(self.tracked.runs.place(run_id), path)

    def reproduce(self, run_id, project, *, environment="recorded", ignored=(), **given):
        way = Way(project.folder, self.settings.home, environment, Tolerance(ignored=ignored))
        return reproduce(run_id, self.tracked, way, variables(**given), stop=threading.Event())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("scripts") / "home")
    with tracked_home(settings) as tracked:
        yield ScriptHome(settings, tracked)


@pytest.fixture
def project(tmp_path):
    """Return a function that makes a repository with a script."""

    def made(code, **files):
        return Repository(tmp_path / "project", **{"train.py": code, "logs.py": LOGS, **files})

    return made
