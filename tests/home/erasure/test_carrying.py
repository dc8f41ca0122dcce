"""An erasure: nothing of a subject is left in a home, everything of others is, and the ledger still holds."""

from __future__ import annotations

import pytest
from tests.home.erasure.people import ANA, BOB, People, base, done

from varv.app.verifying import verify_report
from varv.data.quarantine import Quarantine, Selection
from varv.data.retention import Retention
from varv.data.tiers import Tiers
from varv.data.versioning.keeping import Versions
from varv.data.versioning.references import Reference
from varv.home.erasure.searching import search
from varv.home.erasure.subject import FOLDER
from varv.kernel.clock import DAY, instant
from varv.kernel.errors import Corrupt, Erased, Expired, FailedPrecondition, NotFound

PARTS = ("at", "done_at")


@pytest.fixture
def home(tmp_path):
    found = People(tmp_path / "home").fill()
    yield found
    found.close()


def erased(home, value=ANA, column="email"):
    return home.erasures.carry(home.erasures.request("people", column, value, by="ana", why="asked"))


def test_all_rows_of_a_subject_go_and_those_of_others_stay(home):
    assert search(home.folder, [ANA]).places
    before = home.datasets.read_part(home.dataset, "at")
    record = erased(home)
    assert record.proven is not None
    assert search(home.folder, [ANA]).places == {}
    after = home.datasets.read_part(home.dataset, "at")
    # k6 was hers once, so whatever has its key goes.
    assert after.equals(before.filter(~before["id"].is_in(["k1", "k3", "k6"])))
    assert home.datasets.read_part(home.dataset, "done_at")["id"].to_list() == ["k2"]
    assert search(home.folder, [BOB]).places


def test_the_ledger_holds_before_and_after_and_names_nobody(home):
    assert verify_report(home.folder).findings == ()
    erased(home)
    report = verify_report(home.folder)
    assert report.findings == ()
    assert report.unread == ()


def test_a_version_of_before_says_that_rows_were_erased_and_gives_the_others(home):
    whole = home.ids(7)
    record = erased(home)
    with pytest.raises(Erased, match="does not have version 7 as it was") as refused:
        home.ids(7)
    entry = home.ledger.read(refused.value.facts["entry"] - 1)[0]
    assert entry.event.erasure == record.requested.erasure
    assert home.ids(7, remaining=True) == whole - {"k1", "k3", "k6"}


def test_what_remains_is_told_where_a_version_ends_inside_a_file(home):
    before = {number: home.ids(number) for number in range(1, 10)}
    erased(home)
    gone = {"k1", "k3", "k6"}
    assert {number: home.ids(number, remaining=True) for number in before} == {
        number: ids - gone for number, ids in before.items()
    }
    # Once more, from what remained, also where that lies in a file with others by now.
    for _ in range(3):
        home.datasets.append(home.dataset, "at", base((f"m{_}", 12, BOB, 1)), segment=f"x-{_:06d}")
    home.compact()
    assert erased(home, "k4", "id").proven is not None
    gone |= {"k4"}
    assert {number: home.ids(number, remaining=True) for number in before} == {
        number: ids - gone for number, ids in before.items()
    }


def test_nothing_remains_where_a_version_ends_inside_a_file_of_one_subject(tmp_path):
    home = People(tmp_path / "home")
    home.datasets.commit(home.datasets.register(home.dataset))
    for number in range(1, 4):
        home.datasets.append(home.dataset, "at", base((f"k{number}", number, ANA, 30)), segment=f"w-{number}")
    home.compact()
    assert erased(home).proven is not None
    assert [home.ids(number, remaining=True) for number in (1, 2, 3)] == [set(), set(), set()]
    home.close()


def test_what_is_left_of_a_version_goes_with_it_and_not_before(home):
    versions = Versions(home.datasets, home.views, home.ledger, home.clock)
    versions.tag(Reference("people", version=7), "named")
    left = home.ids(7) - {"k1", "k3", "k6"}
    erased(home)
    # What is left may come to lie in a file with others, and nothing present need be in that.
    for number in range(3):
        home.datasets.append(home.dataset, "at", base((f"m{number}", 12, BOB, 1)), segment=f"x-{number}")
    home.compact()
    home.datasets.overwrite(home.dataset, "at", base(("n1", 13, BOB, 1)))

    def vacuum():
        home.clock.move_to(home.clock.now() + 2 * DAY)
        return versions.vacuum(home.dataset, Retention(n_versions=1)).n_files

    assert vacuum() > 0
    assert home.ids(7, remaining=True) == left
    versions.untag("people", "named")
    assert vacuum() > 0
    home.compact()
    assert len(home.columns.files("data/people/at")) == 1
    for number in range(1, home.datasets.version(home.dataset)):
        with pytest.raises(Expired):
            home.ids(number, remaining=True)
    assert verify_report(home.folder).findings == ()


def test_a_row_in_quarantine_loses_its_values_and_others_keep_their_numbers(home):
    erased(home)
    quarantine = Quarantine(home.datasets, home.views, home.clock)
    [held] = quarantine.batches(Selection(dataset="people"))
    assert quarantine.rows(held)["id"].to_list() == ["k9"]
    assert held.rows == [1]


def test_what_was_proven_says_how_much_and_forgets_whose(home):
    record = erased(home)
    assert record.proven.n_rows == {
        "data/people/at": 6,
        "data/people/done_at": 1,
        "quarantine/people/at": 1,
    }
    assert record.proven.before != record.proven.after
    assert record.proven.n_files > 3
    assert list((home.secret.purposes.folder / FOLDER).iterdir()) == []


def test_the_same_again_while_under_way_is_the_same_erasure(home):
    first = home.erasures.request("people", "email", ANA, by="ana")
    assert home.erasures.request("people", "email", f" {ANA.upper()} ", by="bob") == first
    assert [one.proven is not None for one in home.erasures.finish()] == [True]
    assert home.erasures.finish() == []
    again = erased(home)
    assert again.requested.erasure != first
    assert again.proven.n_rows == {}


def test_what_others_hold_is_named_and_nothing_is_proven(home):
    (home.folder / "notes.txt").write_text(f"call {ANA}")
    record = erased(home)
    assert record.proven is None
    assert record.searched.left == {"notes.txt": 1}
    (home.folder / "notes.txt").unlink()
    assert home.erasures.carry(record.requested.erasure).proven is not None


def test_what_cannot_be_erased_is_refused(home):
    with pytest.raises(FailedPrecondition, match="identifies nobody"):
        home.erasures.request("people", "done_at", "2013-01-01", by="ana")
    with pytest.raises(NotFound, match="is not stored"):
        home.erasures.request("people", "phone", "1", by="ana")
    capture = home.folder / "capture" / "w" / "1.jsonl"
    capture.parent.mkdir(parents=True)
    capture.write_text("{}\n")
    with pytest.raises(FailedPrecondition, match="captured rows"):
        home.erasures.request("people", "email", ANA, by="ana")


def test_without_the_file_of_its_subject_an_erasure_is_never_proven(home):
    erasure = home.erasures.request("people", "email", ANA, by="ana")
    (home.secret.purposes.folder / FOLDER / f"{erasure}.json").unlink()
    with pytest.raises(Corrupt, match="lost the file of its subject"):
        home.erasures.carry(erasure)
    assert home.erasures.record(erasure).proven is None


def test_rows_that_a_command_wrote_are_read_beside_those_of_others(home):
    # Without the declaration columns come in another order.
    known = home.datasets.registered("people")
    assert known.columns("at") != home.dataset.columns("at")
    home.datasets.merge(known, "at", base(("k4", 4, BOB, 99)))
    rows = home.datasets.read_part(home.dataset, "at")
    assert rows.columns == list(home.dataset.columns("at"))
    assert rows.filter(id="k4")["age"].to_list() == [99]
    assert home.ids(4) == {"k1", "k2", "k3", "k4"}
    assert erased(home).proven is not None
    assert home.ids() == {"k2", "k4", "k5", "k7"}


def test_files_of_one_name_in_two_parts_are_not_taken_for_each_other(home):
    # As before a publication, which stores all together: the first compacted file of each part.
    home.datasets.append(home.dataset, "done_at", done(("k4", 9, True)), segment="w-2")
    home.datasets.append(home.dataset, "done_at", done(("k6", 9, True)), segment="w-3")
    home.compact()
    extents = [home.datasets.extents(home.dataset, part, upto=5 + 4 * n) for n, part in enumerate(PARTS)]
    names = [{one.name for one in held} for held in extents]
    assert names[0] & names[1]
    assert erased(home).proven is not None
    assert verify_report(home.folder).findings == ()
    assert home.datasets.read_part(home.dataset, "done_at")["id"].to_list() == ["k2", "k4"]
    assert erased(home).proven is not None


def test_nothing_is_erased_while_files_are_in_an_archive_that_may_hold_it(home):
    home.clock.move_to(home.clock.now() + 3 * DAY)
    commit = home.datasets.commit
    tiers = Tiers(home.columns, home.datasets.cold, home.views, home.clock, commit)
    assert tiers.archive(home.dataset, instant("2013-02-01")).n_files
    with pytest.raises(FailedPrecondition, match="varv data restore people"):
        erased(home)
    tiers.restore(home.dataset)
    assert erased(home).proven is not None
    assert search(home.folder, [ANA]).places == {}
