"""What a run was made from, and how two such captures differ."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.runs.repositories import Repository, variables

from varv.kernel.codec import digest
from varv.kernel.errors import Corrupt, InvalidInput
from varv.runs.capture import CAPTURE, PATCH, TAG, captured, differences, read_capture


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captured") / "project"
    return Repository(
        folder, **{"requirements.lock": "numpy==2.1.0\n", "sub/run.py": "", "day.csv": "a\n1\n"}
    )


def capture(repository, *arguments, **more):
    found = variables(OMP_NUM_THREADS="2", MY_PASSWORD="x", PYTHONPATH="lib")
    return captured(repository.folder, "train.py", arguments, found, **more)


def test_a_capture_says_what_runs_and_with_what(repository):
    found = capture(repository, "--fast", data=["day.csv"]).capture
    assert (found.file, found.arguments, found.paths) == ("train.py", ("--fast",), ("lib",))
    assert found.data == {"day.csv": digest(b"a\n1\n")}
    assert found.lock.path == "requirements.lock"
    assert "numpy" in found.environment.libraries
    assert found.machine.n_processors >= 1


def test_a_script_is_named_from_the_working_folder(repository):
    found = captured(repository.folder, str(repository.folder / "sub/run.py"), (), variables()).capture
    assert found.file == "sub/run.py"


def test_only_variables_that_bear_on_numbers_are_kept(repository):
    found = capture(repository).capture.variables
    assert found["OMP_NUM_THREADS"] == "2"
    assert "MY_PASSWORD" not in found
    assert "PATH" not in found


def test_equal_captures_have_equal_digests_and_no_difference(repository):
    one, other = capture(repository), capture(repository)
    assert one.capture.digest == other.capture.digest
    assert differences(one.capture, other.capture) == ()


def test_each_component_that_differs_is_named(repository):
    one = capture(repository, "a", data=["day.csv"]).capture
    machine = replace(one.machine, n_processors=one.machine.n_processors + 1, flags=("avx", "fma"))
    libraries = {**one.environment.libraries, "numpy": "0.1", "brought": "2.0"}
    other = replace(
        one,
        arguments=("b",),
        environment=replace(one.environment, libraries=libraries),
        contents={**one.contents, "polars": digest(b"patched")},
        machine=machine,
        variables={**one.variables, "OMP_NUM_THREADS": "4"},
        data={"day.csv": digest(b"")},
    )
    named = {one.component: (one.before, one.after) for one in differences(one, other)}
    assert set(named) == {
        "arguments",
        "data day.csv",
        "distribution brought",
        "distribution numpy",
        "files of polars",
        "machine flags",
        "machine n_processors",
        "variable OMP_NUM_THREADS",
    }
    assert named["distribution brought"] == ("", "2.0")
    assert named["variable OMP_NUM_THREADS"] == ("2", "4")


def test_a_capture_is_read_back_only_if_it_is_the_one_stated(repository):
    repository.write(**{"note.txt": "not committed"})
    taken = capture(repository)
    kept, stated = taken.artifacts(), taken.tags()[TAG]
    assert read_capture(kept[CAPTURE], stated) == taken.capture
    assert digest(kept[PATCH]) == taken.capture.source.patch
    with pytest.raises(Corrupt, match="is not what was captured"):
        read_capture(kept[CAPTURE].replace(b"train.py", b"other.py"), stated)


def test_data_that_is_not_there_is_named(repository):
    with pytest.raises(InvalidInput, match=r"data 'none\.csv' cannot be read"):
        capture(repository, data=["none.csv"])


def test_the_lock_nearest_to_the_working_folder_counts(repository):
    found = captured(repository.folder / "sub", "run.py", (), variables()).capture
    assert found.lock.path == "requirements.lock"
    repository.write(**{"sub/uv.lock": "version = 1\n"})
    found = captured(repository.folder / "sub", "run.py", (), variables()).capture
    assert found.lock.path == "sub/uv.lock"
