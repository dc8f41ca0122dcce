from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.codec import digest
from varv.kernel.errors import InvalidInput, NotFound
from varv.runs import artifacts
from varv.runs.artifacts import find, keep, listed, remove, require_path
from varv.runs.model import ArtifactsSealed

NAMES = st.sampled_from(["a", "b", "a0", "a-b", "a.txt", "A", "ä", "%", "z z"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def put(home, path, owner="runs/r"):
    home.do(keep(owner, path, digest(path.encode()), len(path)))


def names(home, folder="", owner="runs/r"):
    with home.tracking.recorder.reading() as db:
        return [(one.path, one.is_folder) for one in listed(db, owner, folder)]


def test_a_folder_lists_what_is_directly_in_it(home):
    for path in ("model/MLmodel", "model/data/w.bin", "model0", "model-b/x", "a.txt"):
        put(home, path)
    put(home, "other", owner="runs/r2")
    assert names(home) == [("a.txt", False), ("model-b", True), ("model", True), ("model0", False)]
    assert names(home, "model") == [("model/MLmodel", False), ("model/data", True)]
    assert names(home, "a.txt") == []
    assert names(home, "nothing") == []


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    from tests.runs.conftest import TrackedHome

    made = TrackedHome(tmp_path_factory.mktemp("home"))
    yield made
    made.close()


@given(paths=st.lists(PATHS, max_size=12), owner=st.integers(0, 10**9))
def test_lists_agree_with_all_paths_that_were_put(shared, paths, owner):
    owner, kept = f"runs/{owner}", set()
    for path in paths:
        try:
            put(shared, path, owner)
            kept.add(path)
        except InvalidInput:
            assert any(one.startswith(f"{path}/") or path.startswith(f"{one}/") for one in kept)
    for folder in {"", *(path.rpartition("/")[0] for path in kept)}:
        begin = f"{folder}/" if folder else ""
        below = {path[len(begin) :].partition("/")[::2] for path in kept if path.startswith(begin)}
        expected = {(begin + name, bool(rest)) for name, rest in below}
        assert set(names(shared, folder, owner)) == expected
    for path in kept:
        shared.do(remove(owner, path))
        assert path not in dict(names(shared, path.rpartition("/")[0], owner))


def test_a_file_is_no_folder_and_a_folder_no_file(home):
    put(home, "model/x")
    with pytest.raises(InvalidInput, match="is a folder already"):
        put(home, "model")
    with pytest.raises(InvalidInput, match="is a file"):
        put(home, "model/x/y")


def test_removing_takes_a_folder_whole_and_nothing_beside_it(home):
    for path in ("model/x", "model/y/z", "model-b", "model0"):
        put(home, path)
    home.do(remove("runs/r", "model"))
    home.do(remove("runs/r", "model"))
    assert names(home) == [("model-b", False), ("model0", False)]
    with home.tracking.recorder.reading() as db, pytest.raises(NotFound):
        find(db, "runs/r", "model/x")


def seals(home):
    return [entry.event for entry in home.ledger.read() if isinstance(entry.event, ArtifactsSealed)]


def test_what_changes_after_a_seal_is_sealed_again(home):
    run = home.begin()
    owner = f"runs/{run}"
    put(home, "a", owner)
    put(home, "b", owner)
    assert seals(home) == []
    home.do(home.tracking.update_run(run, status="FINISHED", ended_ms=1))
    put(home, "later", owner)
    assert [one.n for one in seals(home)] == [2]
    home.do(keep(owner, "a", digest(b"other"), 5))
    home.do(remove(owner, "b"))
    assert [one.n for one in seals(home)] == [2, 3, 2]
    with home.tracking.recorder.reading() as db:
        assert artifacts.root_of(artifacts.sealed_files(db, owner)) == seals(home)[-1].root


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "..",
        "a/../b",
        "a/./b",
        "a//b",
        "a/",
        "\\..\\x",
        "C:/x",
        "c:x",
        "a#b",
        "a\x00b",
        "a\nb",
        "%2e%2e/x",
        "%252e%252e/x",
        "%25252e%25252e/x",
        "a%2f..%2fb",
        "%2fetc",
        "a%5c..%5cb",
        "a%00b",
        "%43%3a/x",
        "x" * 2001,
    ],
)
def test_a_path_that_leads_elsewhere_however_often_decoded_is_refused(path):
    with pytest.raises(InvalidInput, match="artifact path"):
        require_path(path)


@pytest.mark.parametrize("path", ["a?b", "a;b", "100%", "a%20b", "ä/日本", ".hidden", "a..b", "a b/c=d&e"])
def test_odd_letters_are_letters_of_a_name(path):
    require_path(path)
