"""`varv register`: a model that was trained elsewhere goes the way of every candidate."""

from __future__ import annotations

import json

import msgspec
import pytest
from tests.app.serving import Server, eventually, varv
from tests.home.live_home import LiveHome
from tests.home.tracking.logged_files import unsafe
from tests.loop.foreign import foreign_file
from tests.loop.synthetic import declared

from varv.app.cli import main
from varv.app.compose import TRACKING, open_ledger, open_tracking
from varv.app.verifying import verify_report
from varv.fronts.web.page import reading
from varv.fronts.web.pages.models import version_page
from varv.home.tracking.places import logged_files, tables_of
from varv.home.tracking.versions import create_version
from varv.home.why import explain
from varv.kernel.blobs import FolderBlobs
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound
from varv.loop.model import CandidateRejected, GatesJudged, ModelOffered
from varv.loop.offers import content_bytes
from varv.loop.verbs import RegisterRequest, register
from varv.registry import VersionRegistered, open_package, packed
from varv.registry.model import VersionScanned
from varv.registry.reading import version
from varv.rollout import RolloutStarted
from varv.runs.artifacts import keep
from varv.training import foreign_of, read_foreign

MODEL, UNTIL = "late-parcel", "2024-03-20T00:00:00Z"
FLAVOUR = b"flavors:\n  lightgbm:\n    data: model.lgb\n"


@pytest.fixture
def here(tmp_path):
    made = LiveHome(tmp_path / "home", declared().models[0])
    made.home.engine.settle()
    yield made
    made.close()


@pytest.fixture
def loops(here):
    return here.loops


def asked(here, path, **changes):
    content = FolderBlobs(here.home.folder / "blobs").put(content_bytes(read_foreign(path)))
    request = RegisterRequest(model=MODEL, content=content, fitted_until=UNTIL, by="ana", reason="a notebook")
    return msgspec.structs.replace(request, **changes)


def events(here, kind):
    return [entry.event for entry in here.home.ledger.read(limit=100_000) if isinstance(entry.event, kind)]


def test_it_meets_the_gates_and_then_its_shadow_like_any_candidate(here, loops, tmp_path):
    found = register(loops, asked(here, foreign_file(tmp_path)))
    assert (found.version, found.waits) == (2, False)
    here.home.engine.settle()
    [judged] = [one for one in events(here, GatesJudged) if one.version == 2]
    assert [one.gate for one in judged.results] == ["beats_champion log_loss", "calibrated"]
    started = [one.version for one in events(here, RolloutStarted)]
    assert started == ([1, 2] if judged.passed else [1])


def test_where_it_came_from_is_told_everywhere(here, loops, tmp_path):
    register(loops, asked(here, foreign_file(tmp_path)))
    here.home.engine.settle()
    told = explain(loops.home, loops.ledger, loops.views, "late-parcel v2")
    assert told.lineage.origin() == (
        "trained elsewhere on requests before 2024-03-20T00:00:00Z: elsewhere.txt, from ana: a notebook"
    )
    texts = [link.text for link in told.chain]
    assert "elsewhere.txt, from ana: a notebook; fitted on requests before 2024-03-20T00:00:00Z" in texts
    assert "v2 is registered" in texts
    with reading(loops.views, home=loops.home) as now:
        assert version_page(now, MODEL, 2).data["registered"].imported.file == "elsewhere.txt"


def test_one_that_reads_another_column_is_a_rejected_candidate_and_the_champion_stays(here, loops, tmp_path):
    register(loops, asked(here, foreign_file(tmp_path, names=("load", "colour"))))
    here.home.engine.settle()
    [rejected] = events(here, CandidateRejected)
    assert "colour" in rejected.reason
    state = here.home.loop_state(MODEL)
    assert (state.phase, state.champion, state.n_failures) == ("idle", 1, 0)


def test_a_wrong_time_a_wrong_model_and_a_file_that_is_not_there_leave_nothing(here, loops, tmp_path):
    path = foreign_file(tmp_path)
    with pytest.raises(InvalidInput, match="'2999-01-01' is in the future; say when the last request"):
        register(loops, asked(here, path, fitted_until="2999-01-01"))
    with pytest.raises(InvalidInput, match="is not ISO 8601"):
        register(loops, asked(here, path, fitted_until="yesterday"))
    with pytest.raises(NotFound, match="model 'other' is not registered"):
        register(loops, asked(here, path, model="other"))
    with pytest.raises(NotFound):
        register(loops, asked(here, path, content="1" * 64))
    assert not events(here, ModelOffered)


def logged(here, files):
    """Log a model with its files as version 1 of ``parcels``, and give the connection to what was logged."""
    desk = open_tracking(here.home.folder, here.home.ledger, here.clock, durability="process")
    try:
        desk.recorder.do(desk.models.create("parcels"))
        id = desk.recorder.do(desk.logged.create("0"))
        for path, data in files.items():
            desk.recorder.do(keep(f"models/{id}", path, desk.runs.blobs.put(data), len(data)))
        desk.recorder.do(desk.logged.finalize(id, "READY"))
        desk.recorder.do(create_version(desk.models, desk.logged, "parcels", f"models:/{id}"))
        desk.recorder.do(desk.models.set_alias("parcels", "reviewed", 1))
        return id, eventually(lambda: _scanned(desk))
    finally:
        desk.close()


def _scanned(desk):
    with desk.recorder.reading() as db:
        tags = version(db, "parcels", 1).tags
    return tags if "varv.scan" in tags else None


def test_a_version_that_a_client_logged_is_a_candidate_and_each_names_the_other(here, loops, tmp_path):
    booster = foreign_file(tmp_path).read_bytes()
    id, tags = logged(here, {"MLmodel": FLAVOUR, "model.lgb": booster})
    assert (tags["varv.runtime"], tags["varv.scan"]) == ("lightgbm", "clean")
    with tables_of(here.home.folder, TRACKING) as db:
        found = logged_files(db, here.home.folder, "models:/parcels@reviewed")
        assert logged_files(db, here.home.folder, f"models:/{id}").files.root == tags["varv.files"]
    assert (found.source, found.files.root) == ("models:/parcels/1", tags["varv.files"])
    content = FolderBlobs(here.home.folder / "blobs").put(content_bytes(foreign_of(found.files)))
    request = RegisterRequest(
        model=MODEL, content=content, fitted_until=UNTIL, source=found.source, root=found.files.root, by="ana"
    )
    register(loops, request)
    here.home.engine.settle()
    [made] = [one for one in events(here, VersionRegistered) if one.version == 2]
    assert (made.imported.source, made.imported.root) == ("models:/parcels/1", tags["varv.files"])
    desk = open_tracking(here.home.folder, here.home.ledger, here.clock, durability="process")
    with desk.recorder.reading() as db:
        assert version(db, "parcels", 1).tags["varv.became"] == "late-parcel v2"
        assert version(db, MODEL, 2).tags == {"varv.from": "models:/parcels/1"}
    desk.close()
    told = explain(loops.home, loops.ledger, loops.views, "late-parcel v2")
    assert "models:/parcels/1/model.lgb, from ana" in told.lineage.origin()
    told = explain(loops.home, loops.ledger, loops.views, "models:/parcels/1")
    assert told.kind == "logged version"
    assert told.answer == (
        f"It was logged from models:/{id}. The runtime lightgbm can answer for it; its files: clean. "
        "late-parcel v2 came of it."
    )


def test_the_command_line_takes_it_out_of_the_home_where_no_server_runs(here, tmp_path, capsys):
    booster = foreign_file(tmp_path).read_bytes()
    _, tags = logged(here, {"MLmodel": FLAVOUR, "model.lgb": booster})
    folder = here.home.folder
    here.close()
    options = ("--fitted-until", UNTIL, "--home", str(folder))
    assert main(["register", MODEL, "models:/parcels@reviewed", *options]) == 0
    assert "models:/parcels/1/model.lgb, in entry" in capsys.readouterr().out
    ledger = open_ledger(folder, read_only=True)
    entries = [e.event for e in ledger.read(limit=10_000)]
    ledger.close()
    [offered] = [one for one in entries if isinstance(one, ModelOffered)]
    source = offered.offer.source
    assert (source.source, source.root) == ("models:/parcels/1", tags["varv.files"])
    assert verify_report(folder).ok
    [report] = [one.report for one in entries if isinstance(one, VersionScanned)]
    FolderBlobs(folder / "blobs").delete(report)
    [lost] = verify_report(folder).findings
    assert "what was found in the files of parcels v1" in f"{lost.problem} {lost.expected}"


def test_a_pickle_that_a_client_logged_is_refused_with_the_next_step(here, loops, tmp_path):
    bomb = tmp_path / "made-by-a-pickle"
    _, tags = logged(here, unsafe(bomb))
    assert tags["varv.runtime"] == "none"
    with tables_of(here.home.folder, TRACKING) as db:
        found = logged_files(db, here.home.folder, "models:/parcels/1")
        with pytest.raises(InvalidInput, match='log it with serialization_format="skops"'):
            foreign_of(found.files)
        for named, error in (
            ("models:/parcels/9", NotFound),
            ("models:/parcels", InvalidInput),
            ("runs:/" + "0" * 32 + "/model", NotFound),
            (f"models:/{MODEL}/1", FailedPrecondition),
        ):
            with pytest.raises(error):
                logged_files(db, here.home.folder, named)
    told = explain(loops.home, loops.ledger, loops.views, "parcels v1")
    assert "Nothing can answer for it without running code" in told.answer
    assert "model.pkl: is a pickle that names" in told.detail
    assert not bomb.exists()


@pytest.mark.slow
def test_a_running_server_takes_a_file_in_and_one_that_ends_its_process_harms_nobody(
    served_project, tmp_path
):
    home = tmp_path / "home"
    server = Server(home, served_project(tmp_path), training_nice=0)
    try:
        registered = server.control.get("/models/late-parcel.json").json()["versions"]
        assert [one["version"] for one in registered] == [1]
        package = FolderBlobs(home / "blobs").get(_package_of(home, 1))
        options = ("--fitted-until", "2024-01-01", "--reason", "from a colleague")
        source = b"import os\nos._exit(3)\n"
        files = {"python.json": b'{"module":"m","name":"M","method":"predict"}', "source/m.py": source}
        bad = packed(msgspec.structs.replace(open_package(package), runtime="python", files=files))
        (tmp_path / "bad.varv").write_bytes(bad)
        varv(home, "register", "late-parcel", str(tmp_path / "bad.varv"), *options, "--trust")
        ended = eventually(lambda: _rejected(server, 2))
        assert "file 'bad.varv' ended its process" in ended["reason"]
        (tmp_path / "again.varv").write_bytes(package)
        said = varv(home, "register", "late-parcel", str(tmp_path / "again.varv"), *options)
        assert "again.varv" in said
        assert "becomes v3 once it is checked" in said
        eventually(lambda: True if _package_of(home, 3) else None)
        assert server.process.poll() is None
        assert json.loads(varv(home, "verify", "--json"))["ok"]
    finally:
        assert server.stop() == 0


def _package_of(home, version):
    ledger = open_ledger(home, read_only=True)
    found = [entry.event for entry in ledger.read(limit=1_000_000)]
    ledger.close()
    of = [one.package for one in found if isinstance(one, VersionRegistered) and one.version == version]
    return of[0] if of else None


def _rejected(server, version):
    for one in server.control.get("/models/late-parcel.json").json()["versions"]:
        if one["version"] == version and one["ended_at"]:
            return one
    return None
