"""A model of another server becomes a candidate by its address, and goes the way of every candidate."""

from __future__ import annotations

import argparse

import httpx
import msgspec
import numpy as np
import polars as pl
import pytest
from tests.adapters.endpoints.failing import failing
from tests.app.raw_http import port_of, serving
from tests.home.live_home import LiveHome
from tests.serving.samples import table

from varv.adapters.endpoints import described
from varv.adapters.runtimes import installed_runtimes
from varv.app.cli.model_options import _seconds
from varv.app.cli.telling import _described
from varv.app.fitting import ProcessFits
from varv.app.server.protocol import Deadlines
from varv.fronts.inference import HotCalls, Inference, create_inference
from varv.kernel.blobs import FolderBlobs
from varv.kernel.errors import FailedPrecondition, InvalidInput, Unavailable
from varv.kernel.executor import Limits
from varv.loop.model import CandidateRejected, GatesJudged
from varv.loop.offers import content_bytes
from varv.loop.verbs import RegisterRequest, register
from varv.registry import RegistryView, Surroundings, open_package
from varv.registry.endpoint import FILE, Endpoint, endpoint_of
from varv.registry.ports import waits
from varv.rollout import RolloutStarted
from varv.serving import Answering, DataPlane
from varv.tasks import TaskSpec, task_of
from varv.training import FitOf, Foreign, ImportInput

MODEL, UNTIL = "late-parcel", "2024-03-20T00:00:00Z"
PLAIN = installed_runtimes()


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    made = LiveHome(tmp_path_factory.mktemp("home"))
    made.home.engine.settle()
    yield made
    made.close()


@pytest.fixture(scope="module")
def url(here):
    """Of the champion, served as any server of varv serves it."""
    inference = Inference()
    inference.models = dict(here.answering_of)
    with serving(create_inference(inference), Deadlines(), HotCalls(inference, None)) as server:
        yield f"http://127.0.0.1:{port_of(server)}/v2/models/{MODEL}"


def foreign(url, **more) -> Foreign:
    found = described(Endpoint(endpoint=url, timeout_s=20.0, **more), {})
    return Foreign(name=found.name, data=found.to_bytes())


def offered(here, content: Foreign):
    digest = FolderBlobs(here.home.folder / "blobs").put(content_bytes(content))
    register(here.loops, RegisterRequest(model=MODEL, content=digest, fitted_until=UNTIL, by="ana"))
    here.home.engine.settle()


def events(here, kind):
    return [entry.event for entry in here.home.ledger.read(limit=100_000) if isinstance(entry.event, kind)]


def imported(here, content: Foreign, *, task=None) -> bytes:
    """Return the package of an endpoint, checked on some rows."""
    rng = np.random.default_rng(1)
    rows = pl.DataFrame(
        {"load": rng.normal(size=50), "heat": rng.normal(size=50), "route": rng.choice(["north", "west"], 50)}
    )
    given = ImportInput.of(content, rows, ("load", "heat", "route"))
    fits = ProcessFits(None, "", here.home.folder, Limits(), PLAIN)
    which = FitOf(model=MODEL, version=9, step="import", cancelled=None)
    return fits.take_in(which, task or task_of("binary"), given)


def test_its_package_holds_where_it_is_and_answers_as_the_other_server_does(here, url):
    package = open_package(imported(here, foreign(url)))
    assert (package.runtime, package.signature.form) == ("remote", "columns")
    assert package.signature.names == ("load", "heat", "route")
    assert set(package.files) == {"endpoint.json"}
    plane = DataPlane(task_of("binary"), PLAIN)
    plane.warm(1, package)
    assert waits(PLAIN.load(package))


def test_one_that_answers_otherwise_by_now_is_not_put_in_force(here, url):
    package = open_package(imported(here, foreign(url)))
    other = msgspec.structs.replace(package, probe_scores=tuple((1 - p,) for (p,) in package.probe_scores))
    with pytest.raises(FailedPrecondition, match="does not reproduce its probe scores"):
        DataPlane(task_of("binary"), PLAIN).warm(1, other)


def test_one_of_another_task_or_without_an_output_that_fits_is_refused(here, url):
    three = task_of(TaskSpec("multiclass", {"classes": [0, 1, 2]}))
    with pytest.raises(InvalidInput, match="has 0 outputs that may be the prediction"):
        imported(here, foreign(url), task=three)
    with pytest.raises(InvalidInput, match="output 'nothing' does not exist; its outputs are probability"):
        imported(here, foreign(url, output="nothing"))


def test_a_matrix_of_other_features_is_a_rejected_candidate(here):
    with failing() as server:
        offered(here, foreign(server.url))
    reason = events(here, CandidateRejected)[-1].reason
    assert "input 'X' has the shape [-1, 2], where 4 features are declared" in reason


def test_a_token_is_asked_for_where_the_package_is_loaded(here, url):
    package = open_package(imported(here, foreign(url)))
    endpoint = msgspec.structs.replace(endpoint_of(package.file(FILE)), token_variable="SHOP")
    named = msgspec.structs.replace(package, files={FILE: endpoint.to_bytes()})
    with pytest.raises(Unavailable, match="needs a token, which is not in the variable SHOP"):
        DataPlane(task_of("binary"), PLAIN).warm(1, named)
    there = installed_runtimes(Surroundings(variables={"SHOP": "x"}))
    DataPlane(task_of("binary"), there).warm(1, named)


def test_options_that_contradict_are_refused():
    options = argparse.Namespace(
        **{"file": "https://host/v2/models/m", "protocol": "oip", "output": "", "timeout": 2.0},
        **{"token_variable": "A", "token_file": "b"},
    )
    with pytest.raises(InvalidInput, match="name one of the two"):
        _described(options)
    with pytest.raises(argparse.ArgumentTypeError, match=r"from 0\.01 to 60"):
        _seconds("0")


def test_a_version_that_asks_its_own_server_is_found_out_at_once(here, url):
    parts, inference = here.parts, Inference()
    plane = DataPlane(task_of("binary"), PLAIN)
    answering = Answering(parts.schema, parts.features, plane, here.log, here.clock)
    inference.models = {answering.model: answering}
    with here.home.views.reading(RegistryView) as registry:
        champion = registry.version(MODEL, 1).registered.package
    plane.warm(1, open_package(here.home.blobs.get(champion)))
    plane.swap(table(1))
    package = open_package(imported(here, foreign(url)))
    with serving(create_inference(inference), Deadlines(), HotCalls(inference, None)) as server:
        origin = f"http://127.0.0.1:{port_of(server)}"
        its_own = msgspec.structs.replace(
            endpoint_of(package.file(FILE)), endpoint=f"{origin}/v2/models/{MODEL}"
        )
        plane.warm(9, msgspec.structs.replace(package, files={FILE: its_own.to_bytes()}))
        plane.swap(table(2, champion=9))
        row = {"parcel": "p-1", "load": 0.5, "heat": 0.2, "route": "north"}
        told = httpx.post(f"{origin}/invocations/{MODEL}", json={"dataframe_records": [row]}, timeout=30)
    assert told.status_code == 500, told.text
    assert "leads back to the version that asks it" in told.json()["error"]
    assert inference.statistics[answering.model].counts.n_refused == 3, "it asked itself once each way"


def test_it_is_judged_by_what_it_answers_and_meets_its_shadow(here, url):
    # The last of these tests: from here on a candidate asks the server that asks it.
    offered(here, foreign(url))
    [judged] = [one for one in events(here, GatesJudged) if one.version == 3]
    assert [one.gate for one in judged.results] == ["beats_champion log_loss", "calibrated"]
    assert [one.version for one in events(here, RolloutStarted)] == ([1, 3] if judged.passed else [1])
