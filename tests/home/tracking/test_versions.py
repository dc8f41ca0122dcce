"""Where a version may come from: a run, a logged model, another version, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.home.tracking.registry_home import RegistryHome

from varv.home.tracking.versions import VERSIONS_TAG, create_version, origin_of
from varv.kernel.errors import InvalidInput, NotFound
from varv.registry import reading

PROMPT = {"mlflow.prompt.is_prompt": "true"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    made = RegistryHome(tmp_path_factory.mktemp("home"))
    made.register("m")
    made.register("n")
    yield made
    made.close()


def of(home, source, **said):
    with home.desk.recorder.reading() as db:
        return origin_of(db, source, **said)


def test_a_version_of_a_run_is_stored_below_it(home):
    run = home.begin()
    place = f"mlflow-artifacts:/0/{run}/artifacts/model"
    assert of(home, place, run=run).storage == place
    assert of(home, f"runs:/{run}/model", run=run).storage == f"runs:/{run}/model"


def test_a_version_is_told_of_as_it_is_read_afterwards(home):
    run = home.begin()
    said = {
        "run": run,
        "run_link": "https://example.org",
        "tags": {"b": "2", "a": "1"},
        "description": "x" * 999,
    }
    made = home.do(create_version(home.desk.models, home.desk.logged, "n", f"runs:/{run}/model", **said))
    with home.desk.recorder.reading() as db:
        read = reading.version(db, "n", made.number)
    assert made == replace(read, no=made.no)


def test_a_version_of_a_logged_model_has_its_files_and_its_run(home):
    run = home.begin()
    model = home.log_model(name="model", run=run)
    number = home.version("m", f"models:/{model}")
    found = home.found("m", number)
    assert (found.run, found.logged_model) == (run, model)
    assert found.storage == home.logged(model).artifacts
    listed = msgspec.json.decode(home.logged(model).tags[VERSIONS_TAG])
    assert listed == [{"name": "m", "version": number}]


def test_a_version_of_a_version_has_its_storage(home):
    run = home.begin()
    first = home.version("m", run=run)
    home.do(home.desk.models.set_alias("m", "best", first))
    for source in (f"models:/m/{first}", "models:/m@best"):
        copy = home.found("n", home.version("n", source))
        assert (copy.source, copy.run) == (f"models:/m/{first}", run)
        assert copy.storage == f"runs:/{run}/model"


def test_a_source_of_another_owner_is_refused(home):
    run, other = home.begin(), home.begin()
    model = home.log_model(name="model")
    for source, said in (
        (f"runs:/{other}/model", {"run": run}),
        (f"runs:/{run}/model", {}),
        (f"mlflow-artifacts:/0/{other}/artifacts/model", {"run": run}),
        (f"mlflow-artifacts:/0/{run}/artifactsx", {"run": run}),
        (f"mlflow-artifacts:/0/{run}/artifacts/model", {"logged_model": model}),
        (f"models:/{model}", {"logged_model": home.log_model(name="other")}),
        (f"models:/m/{home.version('m', run=run)}", {"run": other}),
    ):
        with pytest.raises(InvalidInput, match="source"):
            of(home, source, **said)


@pytest.mark.parametrize(
    "source",
    [
        "/etc", "file:///etc/passwd", "file:/etc", "//proc/self/root", "../../etc", "http://169.254.169.254/x",
        "https://example.com/m", "dbfs:/m", "s3://bucket/m", "mlflow-artifacts://host/0/x", "C:/windows",
        "mlflow-artifacts:/../../etc", "runs://host/x", "models://host/m/1", "models:/", "runs:/", "x", ":",
    ],
)  # fmt: skip
@pytest.mark.parametrize("tags", [{}, PROMPT])
def test_a_source_elsewhere_is_refused_whatever_the_tags(home, source, tags):
    if source == "x" and tags:
        return  # a word, which is no place
    head = home.ledger.head()
    with pytest.raises((InvalidInput, NotFound)):
        home.version("m", source, run="0" * 32, tags=tags)
    assert home.ledger.head() == head


@given(st.integers(0, 3), st.sampled_from(["..", ".", "a\\..\\b", "#", "?x", "\x00", "\n"]))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_step_upwards_is_refused_however_often_it_is_encoded(home, n_times, step):
    run = "0" * 32
    for _ in range(n_times):
        step = quote(step, safe="").replace(".", "%2E")
    with pytest.raises(InvalidInput):
        of(home, f"mlflow-artifacts:/0/{run}/artifacts/{step}/x", run=run)


def test_a_prompt_is_a_word_without_files(home):
    number = home.version("m", "prompt-template", run="", tags=PROMPT | {"mlflow.prompt.text": "Hello"})
    assert home.found("m", number).storage == ""
