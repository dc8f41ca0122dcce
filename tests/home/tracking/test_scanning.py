"""What is logged is looked at once its files are there: never loaded, and what is found is on record."""

from __future__ import annotations

import gzip
import io
import zipfile

import msgspec
import pytest
from tests.app.serving import eventually
from tests.home.tracking import logged_files
from tests.home.tracking.logged_files import log_files, put, safe, unsafe

from varv.home.tracking.scanning import Report
from varv.kernel.errors import InvalidInput
from varv.registry.model import VersionScanned
from varv.runs.artifacts import keep


def scanned(home, name, version, *, besides=""):
    """Return the tags of a version once it was looked at."""

    def tags():
        found = home.found(name, version).tags
        return found if found.get("varv.files", "") not in ("", besides) else None

    return eventually(tags)


def events(home):
    return [e.event for e in home.ledger.read(limit=10_000) if isinstance(e.event, VersionScanned)]


def test_a_logged_model_and_its_version_say_what_can_answer_for_them(home):
    home.register("churn")
    id = log_files(home, safe())
    number = home.version("churn", f"models:/{id}")
    tags = scanned(home, "churn", number)
    assert (tags["varv.flavors"], tags["varv.runtime"], tags["varv.scan"]) == (
        "lightgbm",
        "lightgbm",
        "clean",
    )
    model = eventually(lambda: found if "varv.scan" in (found := home.logged(id).tags) else None)
    assert model["varv.files"] == tags["varv.files"]
    [event] = events(home)
    assert (event.model, event.version, event.root) == ("churn", number, tags["varv.files"])
    report = msgspec.json.decode(home.desk.runs.blobs.get(event.report), type=Report)
    assert report.signature.names == ("distance",)
    assert report.libraries == {"mlflow": "3.18.0", "lightgbm": "4.7.0", "numpy": "2.4.6"}
    assert home.numbers("tags.`varv.runtime` = 'lightgbm'") == [("churn", number)]


@pytest.mark.parametrize(
    ("flavour", "field", "file"),
    [
        ("sklearn", "pickled_model", "model.pkl"),
        ("python_function", "python_model", "python_model.pkl"),
        ("pytorch", "model_data", "data/model.pth"),
        ("lightgbm", "data", "model.txt"),
        ("xgboost", "data", "model.json"),
        ("onnx", "data", "model.onnx"),
        ("keras", "data", "data/model.keras"),
        ("prophet", "data", "model.pr"),
    ],
)
def test_a_pickle_of_any_flavour_is_named_and_never_loaded(home, tmp_path, flavour, field, file):
    home.register("m")
    bomb = tmp_path / "made-by-a-pickle"
    files = unsafe(bomb, flavour, field, file)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as inside:
        inside.writestr("data.pkl", files[file])
    files[file] = {"data/model.pth": archive.getvalue(), "model.txt": gzip.compress(files[file])}.get(
        file, files[file]
    )
    tags = scanned(home, "m", home.version("m", f"models:/{log_files(home, files)}"))
    assert tags["varv.runtime"] == "none"
    assert tags["varv.scan"].startswith(file)
    assert "is a pickle that names" in tags["varv.scan"]
    assert not bomb.exists()


def test_files_of_a_run_are_looked_at_below_the_run_or_as_its_model(home):
    home.register("m")
    run = home.begin()
    put(home, f"runs/{run}", safe(), "model")
    assert scanned(home, "m", home.version("m", run=run))["varv.runtime"] == "lightgbm"
    other = home.begin()
    log_files(home, safe(), name="model", run=other)
    assert scanned(home, "m", home.version("m", run=other))["varv.runtime"] == "lightgbm"


def test_code_that_the_runtime_does_not_read_is_named_beside_it(home):
    home.register("m")
    files = {**safe(), "code/loader.py": b"import os\n"}
    tags = scanned(home, "m", home.version("m", f"models:/{log_files(home, files)}"))
    assert (tags["varv.runtime"], tags["varv.scan"]) == ("lightgbm", "code/loader.py: is code")


def test_files_that_change_later_are_looked_at_again(home, tmp_path):
    home.register("m")
    id = log_files(home, safe())
    number = home.version("m", f"models:/{id}")
    before = scanned(home, "m", number)["varv.files"]
    data = unsafe(tmp_path / "made")["model.pkl"]
    home.do(keep(f"models/{id}", "model.lgb", home.desk.runs.blobs.put(data), len(data)))
    after = scanned(home, "m", number, besides=before)
    assert (after["varv.runtime"], len(events(home))) == ("none", 2)


def test_what_was_not_looked_at_before_a_stop_is_looked_at_after_it(home):
    home.desk.scans.close()
    home.register("m")
    number = home.version("m", f"models:/{log_files(home, safe())}")
    assert "varv.scan" not in home.found("m", number).tags
    home.reopened()
    assert scanned(home, "m", number)["varv.scan"] == "clean"
    home.refolded()
    assert home.found("m", number).tags["varv.scan"] == "clean"
    assert len(events(home)) == 1


def test_nobody_but_the_server_says_that_files_are_clean(home):
    home.register("m")
    number = home.version("m", tags={"varv.scan": "clean", "team": "risk"})
    assert home.found("m", number).tags == {"team": "risk"}
    id = home.log_model()
    for write in (
        home.desk.models.change_version("m", number, tags={"varv.scan": "clean"}),
        home.desk.models.change_version("m", number, without="varv.scan"),
        home.desk.logged.tag(id, {"varv.runtime": "onnx"}),
        home.desk.logged.untag(id, "varv.runtime"),
        home.desk.logged.create("0", tags={"varv.scan": "clean"}),
    ):
        with pytest.raises(InvalidInput, match="is set by the server alone"):
            home.do(write)


def test_a_description_that_is_no_yaml_is_said_to_be_none(home):
    home.register("m")
    files = {"MLmodel": b"a: &x [1]\nb: *x", "model.lgb": logged_files.BOOSTER}
    tags = scanned(home, "m", home.version("m", f"models:/{log_files(home, files)}"))
    assert (tags["varv.flavors"], tags["varv.runtime"]) == ("", "none")
