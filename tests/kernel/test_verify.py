"""Every way of touching a ledger behind its back is found, and the right entry is named."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import msgspec
import pytest

from varv.kernel.errors import Corrupt
from varv.kernel.ledger import GENESIS, Append, Change, Entry, entry_hash
from varv.kernel.ledger_sqlite import SqliteLedger, read_only
from varv.kernel.merkle import Notary, SigningKey, Tree, read_checkpoints
from varv.kernel.secret import Secret
from varv.kernel.snapshots import Position, Snapshots
from varv.kernel.verify import OVERDUE, Checked, require_sound, verify

from .samples import NOON, Noted

N = 12


@pytest.fixture
def home(tmp_path):
    """A signed ledger of 12 entries, with checkpoints at 8 and 12."""
    for n_entries in (8, 4):
        notary = Notary(tmp_path / "checkpoints.jsonl", SigningKey(tmp_path / "key"))
        with closing(SqliteLedger(tmp_path / "ledger.db", notary=notary)) as ledger:
            for n in range(n_entries):
                ledger.commit(Change(at=NOON, facts=(Append(f"s{n % 3}", Noted(text=f"n{n}")),)))
    return tmp_path


def tamper(home, *statements):
    with closing(sqlite3.connect(home / "ledger.db", isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def check(home, checkpoints=None, public=None):
    with read_only(home / "ledger.db") as ledger:
        signed = read_checkpoints(home / "checkpoints.jsonl") if checkpoints is None else checkpoints
        return verify(ledger, signed, public or SigningKey(home / "key").public())


def found(home, **options):
    return [(finding.seq, finding.kind) for finding in check(home, **options).findings]


def test_an_untouched_ledger_verifies(home):
    verification = check(home)
    assert verification.ok
    assert (verification.n_entries, verification.n_checkpoints, verification.signed_up_to) == (N, 2, N)


def test_an_empty_ledger_verifies(tmp_path):
    SqliteLedger(tmp_path / "ledger.db").close()
    assert found(tmp_path, checkpoints=[], public=bytes(32)) == []


@pytest.mark.parametrize(
    "change",
    [
        'data = CAST(\'{"text":"n9"}\' AS BLOB)',
        'data = \'{"text":"n4"}\'',
        "at = at + 1",
        "cause = 1",
        "name = 'sample.other'",
        "event_version = 2",
        "stream = 'elsewhere'",
        "version = 77",
    ],
)
def test_an_edited_entry_is_named(home, change):
    tamper(home, f"UPDATE entries SET {change} WHERE seq = 5")
    assert found(home) == [(5, "edited")]
    assert "entry 5 was edited" in str(check(home).findings[0])


@pytest.mark.parametrize("seq", [1, 6, N - 1])
def test_a_removed_entry_is_named(home, seq):
    tamper(home, f"DELETE FROM entries WHERE seq = {seq}")
    assert found(home)[0] == (seq, "removed")


@pytest.mark.parametrize(("first", "second"), [(3, 9), (4, 5), (1, 12), (11, 12)])
@pytest.mark.parametrize("with_hashes", [True, False])
def test_swapped_entries_are_named(home, first, second, with_hashes):
    fields = "stream, version, name, event_version, at, cause, data" + (", hash" if with_hashes else "")
    with closing(sqlite3.connect(home / "ledger.db", isolation_level=None)) as db:
        rows = [
            db.execute(f"SELECT {fields} FROM entries WHERE seq = {seq}").fetchone()
            for seq in (first, second)
        ]
        db.execute("UPDATE entries SET version = -seq WHERE seq IN (?, ?)", (first, second))
        for seq, row in ((second, rows[0]), (first, rows[1])):
            marks = ", ".join(f"{name} = ?" for name in fields.split(", "))
            db.execute(f"UPDATE entries SET {marks} WHERE seq = ?", (*row, seq))
    assert found(home)[0] == (first, "swapped")
    assert f"swapped with entry {second}" in check(home).findings[0].found


def test_a_cut_off_end_is_named(home):
    tamper(home, "DELETE FROM entries WHERE seq > 9")
    assert found(home) == [(10, "truncated")]


CUT_HEAD = "UPDATE head SET seq = 9, hash = (SELECT hash FROM entries WHERE seq = 9)"


def test_a_cut_off_end_with_a_mended_head_is_shown_by_the_checkpoint(home):
    tamper(home, "DELETE FROM entries WHERE seq > 9", CUT_HEAD)
    assert found(home) == [(10, "truncated")]
    assert check(home).signed_up_to == 8


def test_an_end_cut_off_with_its_checkpoint_is_shown_by_the_noted_size(home):
    tamper(home, "DELETE FROM entries WHERE seq > 9", CUT_HEAD)
    first = read_checkpoints(home / "checkpoints.jsonl")[:1]
    assert found(home, checkpoints=first) == [(None, "checkpoint")]


def test_an_end_cut_off_everywhere_is_shown_by_a_copy_kept_elsewhere(home):
    kept = read_checkpoints(home / "checkpoints.jsonl")
    tamper(home, "DELETE FROM entries WHERE seq > 9", CUT_HEAD, "UPDATE signers SET signed = 8")
    assert found(home, checkpoints=kept[:1]) == []
    with read_only(home / "ledger.db") as ledger:
        public = SigningKey(home / "key").public()
        compared = verify(ledger, kept[:1], public, against=kept[1:])
    assert [(finding.seq, finding.kind) for finding in compared.findings] == [(10, "truncated")]


def test_a_cut_off_everything_is_shown(home):
    tamper(home, "DELETE FROM entries", "DELETE FROM head")
    assert found(home)[0][1] in ("head", "truncated")


@pytest.mark.parametrize("change", ["seq = 11", "seq = 13", "hash = zeroblob(32)"])
def test_a_head_row_that_does_not_fit_is_found(home, change):
    tamper(home, f"UPDATE head SET {change}")
    assert [kind for _, kind in found(home)] == ["truncated" if change == "seq = 13" else "head"]


def test_a_rewritten_chain_is_shown_by_the_checkpoint(home):
    with closing(sqlite3.connect(home / "ledger.db", isolation_level=None)) as db:
        db.execute('UPDATE entries SET data = CAST(\'{"text":"forged"}\' AS BLOB) WHERE seq = 10')
        previous = GENESIS
        fields = "seq, stream, version, name, event_version, at, cause, data, hash"
        for row in db.execute(f"SELECT {fields} FROM entries ORDER BY seq").fetchall():
            previous = entry_hash(previous, Entry(*row))
            db.execute("UPDATE entries SET hash = ? WHERE seq = ?", (previous, row[0]))
        db.execute("UPDATE head SET hash = ?", (previous,))
    assert found(home) == [(9, "rewritten")]
    assert check(home).signed_up_to == 8


def test_a_checkpoint_of_another_key_is_found(home, tmp_path):
    other = SigningKey(tmp_path / "other")
    forged = [other.sign(signed.size, signed.root) for signed in read_checkpoints(home / "checkpoints.jsonl")]
    assert found(home, checkpoints=forged) == [(1, "signature"), (1, "signature")]


def test_a_key_that_is_another_or_gone_is_found(home, tmp_path):
    assert found(home, public=SigningKey(tmp_path / "other").public()) == [(None, "key")]
    with read_only(home / "ledger.db") as ledger:
        verification = verify(ledger, read_checkpoints(home / "checkpoints.jsonl"), None)
    assert [finding.place for finding in verification.findings] == ["signing.key"]


def test_an_edited_checkpoint_is_found(home):
    path = home / "checkpoints.jsonl"
    path.write_text(path.read_text().replace("\\n12\\n", "\\n11\\n"))
    assert found(home) == [(9, "signature"), (None, "checkpoint")]


@pytest.mark.parametrize("n_left", [0, 1])
def test_checkpoints_that_are_cut_or_gone_are_found(home, n_left):
    left = read_checkpoints(home / "checkpoints.jsonl")[:n_left]
    (finding,) = check(home, checkpoints=left).findings
    assert (finding.place, finding.expected) == ("checkpoints.jsonl", f"a checkpoint of {N} entries")


def test_a_long_ledger_without_checkpoints_is_found_even_if_none_are_noted(tmp_path):
    with closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        ledger.commit(Change(at=NOON, facts=tuple(Append("s", Noted(text="x")) for _ in range(OVERDUE))))
    key = SigningKey(tmp_path / "key")
    with read_only(tmp_path / "ledger.db") as ledger:
        found = verify(ledger, [key.sign(0, Tree().root())], key.public()).findings
    assert [finding.place for finding in found] == ["checkpoints.jsonl"]


def test_an_entry_below_the_first_is_found(home):
    copied = "SELECT 0, stream, 99, name, event_version, at, cause, data, hash, decided FROM entries"
    tamper(home, f"INSERT INTO entries {copied} WHERE seq = 3")
    assert found(home) == [(0, "inserted")]


def test_it_verifies_while_the_owner_appends(home):
    with closing(SqliteLedger(home / "ledger.db")) as owner:
        owner.commit(Change(at=NOON, facts=(Append("s", Noted(text="more")),)))
        verification = check(home)
        assert verification.ok
        assert (verification.n_entries, verification.signed_up_to) == (N + 1, N)


def sound(home, checked=None):
    """Check a home as its owner does at a start, from what was found before."""
    with read_only(home / "ledger.db") as ledger:
        last = read_checkpoints(home / "checkpoints.jsonl")[-1:]
        return require_sound(ledger, "home", last, SigningKey(home / "key").public(), checked=checked)


def gone_on(home):
    notary = Notary(home / "checkpoints.jsonl", SigningKey(home / "key"))
    with closing(SqliteLedger(home / "ledger.db", notary=notary)) as ledger:
        for n in range(4):
            ledger.commit(Change(at=NOON, facts=(Append("s", Noted(text=f"later {n}")),)))


def kept(checked):
    return msgspec.msgpack.decode(msgspec.msgpack.encode(checked), type=Checked)


def test_a_check_goes_on_from_what_was_found_and_finds_the_same(home):
    before = kept(sound(home))
    gone_on(home)
    assert (before.last, before.tree.size) == (N, N)
    after, whole = sound(home, kept(before)), sound(home)
    assert (after.last, after.hash, after.tree, after.rows) == (
        whole.last,
        whole.hash,
        whole.tree,
        whole.rows,
    )


@pytest.mark.parametrize("seq", [N + 1, N + 2, N + 4])
def test_what_came_after_is_still_compared(home, seq):
    before = sound(home)
    gone_on(home)
    tamper(home, f"UPDATE entries SET at = at + 1 WHERE seq = {seq}")
    with pytest.raises(Corrupt, match=f"entry {seq}"):
        sound(home, kept(before))


def test_what_was_found_of_a_ledger_that_was_cut_since_is_passed_over(home):
    before = sound(home)
    snapshots = Snapshots(home / "snapshots", Secret(home / "digest"), "of this code", durable=False)
    snapshots.write("checked", Position(before.last, before.hash), before)
    with read_only(home / "ledger.db") as ledger:
        found = snapshots.newest("checked", Checked, ledger)
    assert found is not None
    assert found.state == before
    tamper(home, f"DELETE FROM entries WHERE seq > {N - 2}")
    with read_only(home / "ledger.db") as ledger:
        assert snapshots.newest("checked", Checked, ledger) is None


def test_a_checkpoint_of_before_that_was_not_asked_about_is_compared_from_the_beginning(home):
    before = kept(sound(home))
    before.roots.clear()
    assert sound(home, before) is not before
