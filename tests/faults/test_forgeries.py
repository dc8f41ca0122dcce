"""Every kind of edit, cut and forgery of a stored home is found by name, and nothing is served from it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from tests.faults.stored_home import build, database, lives

from varv.app.compose import open_ledger, open_views
from varv.app.verifying import sign_anew, verify_report
from varv.home.why import explain
from varv.kernel.codec import Digest
from varv.kernel.errors import Corrupt, VarvError
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger import GENESIS, Entry, entry_hash
from varv.kernel.merkle import SigningKey, read_checkpoints
from varv.kernel.segment_files import encoded_stream, frame_of, read_file
from varv.registry import RegistryView

pytestmark = pytest.mark.slow

LOOP = "loop/late-parcel"
ENTRY = "seq, stream, version, name, event_version, at, cause, data, hash, decided"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "home"
    build(folder)
    return folder


@pytest.fixture
def home(stored, tmp_path):
    return shutil.copytree(stored, tmp_path / "home")


class Forgery(NamedTuple):
    """What is done to a home, what must be said of it, and whether serving reads what was touched."""

    name: str
    act: Callable[[Path], object]
    place: str
    served: bool = True


def sql(*statements: str) -> Callable[[Path], None]:
    """Change tables of the ledger."""

    def act(home: Path) -> None:
        with database(home) as db:
            for statement in statements:
                assert db.execute(statement).rowcount != 0, "nothing was touched"

    return act


def rechained(statement: str) -> Callable[[Path], None]:
    """Change entries, and mend all hashes and the head, as somebody who knows the format would."""

    def act(home: Path) -> None:
        sql(statement)(home)
        previous = GENESIS
        with database(home) as db:
            for row in db.execute(f"SELECT {ENTRY} FROM entries ORDER BY seq").fetchall():
                previous = entry_hash(previous, Entry(*row))
                db.execute("UPDATE entries SET hash = ? WHERE seq = ?", (previous, row[0]))
            db.execute("UPDATE head SET hash = ?", (previous,))

    return act


def swapped(home: Path) -> None:
    fields = "stream, version, name, event_version, at, cause, data, decided"
    with database(home) as db:
        query = f"SELECT {fields} FROM entries WHERE seq = ?"
        rows = [db.execute(query, (seq,)).fetchone() for seq in (40, 50)]
        db.execute("UPDATE entries SET version = -seq WHERE seq IN (40, 50)")
        for seq, row in ((50, rows[0]), (40, rows[1])):
            marks = ", ".join(f"{name} = ?" for name in fields.split(", "))
            db.execute(f"UPDATE entries SET {marks} WHERE seq = ?", (*row, seq))


def forged_champion(home: Path) -> None:
    with database(home) as db:
        state = json.loads(db.execute("SELECT state FROM sagas WHERE saga = ?", (LOOP,)).fetchone()[0])
        assert state["champion"] == 1
        text = json.dumps({**state, "champion": 7}, separators=(",", ":"), sort_keys=True)
        db.execute("UPDATE sagas SET state = ? WHERE saga = ?", (text.encode(), LOOP))


def older_state(home: Path) -> None:
    with database(home) as db:
        db.execute("UPDATE sagas SET version = version - 1 WHERE saga = ?", (LOOP,))


def damaged_page(home: Path) -> None:
    path = home / "ledger.db"
    data = bytearray(path.read_bytes())
    with database(home) as db:
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'timers'").fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
    data[(root - 1) * size : root * size] = os.urandom(size)
    path.write_bytes(data)


def file(pattern: str) -> Callable[[Path], Path]:
    """Return what finds the last file of a home by a pattern: of segments, one that is stored once only."""
    return lambda home: sorted(path for path in home.glob(pattern) if path.is_file())[-1]


def gone(pattern: str) -> Callable[[Path], None]:
    return lambda home: file(pattern)(home).unlink()


def emptied(pattern: str) -> Callable[[Path], None]:
    return lambda home: file(pattern)(home).write_bytes(b"")


def halved(pattern: str) -> Callable[[Path], None]:
    def act(home: Path) -> None:
        path = file(pattern)(home)
        os.truncate(path, path.stat().st_size // 2)

    return act


def longer(pattern: str, data: bytes = bytes(4096)) -> Callable[[Path], None]:
    def act(home: Path) -> None:
        with file(pattern)(home).open("ab") as opened:
            opened.write(data)

    return act


def flipped(pattern: str) -> Callable[[Path], None]:
    """Change one bit in the middle of the largest file, where its rows are."""

    def act(home: Path) -> None:
        path = max(home.glob(pattern), key=lambda path: path.stat().st_size)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    return act


def blob(name: str, act: Callable[[Path], object]) -> Callable[[Path], None]:
    """Do something to the package or the reference of the champion."""

    def act_on_it(home: Path) -> None:
        with database(home) as db:
            query = "SELECT data FROM entries WHERE name = 'registry.version_registered'"
            digest = json.loads(db.execute(query).fetchone()[0])[name]
        act(home / "blobs" / digest[:2] / digest[2:])

    return act_on_it


def bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def of_another(path: Path) -> None:
    other = next(place for place in path.parents[1].glob("*/*") if place != path)
    shutil.copy(other, path)


def replaced(pattern: str, old: str, new: str) -> Callable[[Path], None]:
    def act(home: Path) -> None:
        path = file(pattern)(home)
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return act


def copied(source: str, target: str, number: int = 0) -> Callable[[Path], None]:
    """Put another valid file in the place of one."""

    def act(home: Path) -> None:
        other = sorted(path for path in home.glob(source) if path.is_file())[number]
        place = file(target)(home)
        assert other.read_bytes() != place.read_bytes()
        shutil.copy(other, place)

    return act


def other_rows(pattern: str, column: str, forged: pl.Expr) -> Callable[[Path], None]:
    """Write a file anew with another column, and without its digest."""

    def act(home: Path) -> None:
        path = file(pattern)(home)
        rows = frame_of(path, "it is sound")
        changed = rows.with_columns(forged.cast(rows.schema[column]).alias(column))
        assert not changed.equals(rows)
        if path.suffix == ".arrows":
            path.write_bytes(encoded_stream(changed, Digest("0" * 64)))
            return
        metadata = {
            name: text for name, text in pl.read_parquet_metadata(path).items() if name == "varv.segments"
        }
        changed.write_parquet(path, metadata=metadata)

    return act


def other_rows_and_digest(pattern: str, column: str, forged: pl.Expr) -> Callable[[Path], None]:
    """Write a segment anew as `FolderColumns` would, with the digest that belongs to the forged rows."""

    def act(home: Path) -> None:
        path = file(pattern)(home)
        table = path.parent.relative_to(home / "columns").as_posix()
        rows = frame_of(path, "it is sound")
        aside = FolderColumns(home.parent / "aside")
        aside.append(table, path.stem, rows.with_columns(forged.cast(rows.schema[column]).alias(column)))
        shutil.move(home.parent / "aside" / table / path.name, path)
        read_file(path, "it is sound in itself")

    return act


def forged_texts(home: Path) -> None:
    """Let a column hold other texts than its contract was inferred from."""
    other_rows_and_digest(TEXTS, "value", pl.col("value") + "x")(home)


def shadowed(home: Path) -> None:
    """Add a compacted file that lists a segment which has a file of its own, with other rows."""
    path = file(PREDICTED + ALONE)(home)
    rows = frame_of(path, "it is sound").with_columns(score=pl.lit(0.01, pl.Float64))
    listed = json.dumps([[path.stem, rows.height]])
    rows.write_parquet(path.with_name("~000000999.parquet"), metadata={"varv.segments": listed})


def signed_by_another(home: Path) -> None:
    other = SigningKey(home.parent / "other")
    path = home / "checkpoints.jsonl"
    notes = [other.sign(checkpoint.size, checkpoint.root).note for checkpoint in read_checkpoints(path)]
    path.write_text("".join(json.dumps({"note": note}) + "\n" for note in notes))


def out_of_order(home: Path) -> None:
    path = home / "checkpoints.jsonl"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))


def edited_size(home: Path) -> None:
    path = home / "checkpoints.jsonl"
    size = read_checkpoints(path)[-1].size
    path.write_text(path.read_text().replace(f"\\n{size}\\n", f"\\n{size + 1}\\n"))


def first_line_cut(home: Path) -> None:
    path = file(ASKED)(home)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


def last_line_cut(home: Path) -> None:
    path = home / "checkpoints.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def other_key(home: Path) -> None:
    (home / "signing.key").unlink()
    SigningKey(home / "signing.key")


def ledger_of_the_policy(home: Path) -> None:
    shutil.copy(home / "policies/never/ledger.db", home / "ledger.db")


TEXTS = "columns/contracts/parcels/asked_at/*.arrows"
BASE, OUTCOMES = "columns/data/parcels/asked_at/", "columns/data/parcels/arrived_at/"
PREDICTED, HELD = "columns/predictions/late-parcel/", "columns/quarantine/parcels/asked_at/"
ALONE, TOGETHER, FIRST = "one-*.arrows", "~*.parquet", "~000000001.parquet"
LATE, SCORE = ~pl.col("late"), 1 - pl.col("score")
LOAD = pl.col("load") + 1
ENTRIES, SAGAS, TIMERS = "table entries", "table sagas", "table timers"
KEYED, ASKED = "checkpoints.jsonl", "capture/one/*.jsonl"

FORGERIES = (
    Forgery(
        "entry-data",
        sql("UPDATE entries SET data = CAST(replace(data, '1', '2') AS BLOB) WHERE seq = 60"),
        "table entries, entry 60 was edited",
    ),
    Forgery("entry-time", sql("UPDATE entries SET at = at + 1 WHERE seq = 60"), "entry 60 was edited"),
    Forgery("entry-cause", sql("UPDATE entries SET cause = 1 WHERE seq = 60"), "entry 60 was edited"),
    Forgery(
        "entry-name", sql("UPDATE entries SET name = 'loop.started' WHERE seq = 60"), "entry 60 was edited"
    ),
    Forgery(
        "entry-event-version",
        sql("UPDATE entries SET event_version = 9 WHERE seq = 60"),
        "entry 60 was edited",
    ),
    Forgery(
        "entry-stream", sql("UPDATE entries SET stream = 'elsewhere' WHERE seq = 60"), "entry 60 was edited"
    ),
    Forgery(
        "entry-stream-version", sql("UPDATE entries SET version = 999 WHERE seq = 60"), "entry 60 was edited"
    ),
    Forgery(
        "entry-hash", sql("UPDATE entries SET hash = zeroblob(32) WHERE seq = 60"), "entry 60 was edited"
    ),
    Forgery(
        "entry-record",
        sql("UPDATE entries SET decided = NULL WHERE seq = (SELECT max(cause) FROM commands)"),
        " was edited",
    ),
    Forgery("entry-removed", sql("DELETE FROM entries WHERE seq = 60"), "entry 60 was removed"),
    Forgery(
        "entry-inserted",
        sql(
            "INSERT INTO entries SELECT 0, stream, 999, name, event_version, at, cause, data,"
            " hash, decided FROM entries WHERE seq = 60"
        ),
        "entry 0 was inserted",
    ),
    Forgery("entries-swapped", swapped, "entry 40 was swapped"),
    Forgery(
        "entries-cut", sql("DELETE FROM entries WHERE seq > 100"), "entry 101 and all after it were cut off"
    ),
    Forgery(
        "entries-and-head-cut",
        sql(
            "DELETE FROM entries WHERE seq > 100",
            "UPDATE head SET seq = 100, hash = (SELECT hash FROM entries WHERE seq = 100)",
        ),
        "entry 101 and all after it were cut off",
    ),
    Forgery(
        "entries-rechained",
        rechained("UPDATE entries SET at = at + 1 WHERE seq = 60"),
        "or one of those up to its checkpoint was rewritten",
    ),
    Forgery("head-seq", sql("UPDATE head SET seq = seq - 1"), "table head"),
    Forgery("head-hash", sql("UPDATE head SET hash = zeroblob(32)"), "table head"),
    Forgery("head-gone", sql("DELETE FROM head"), "table head"),
    Forgery("saga-champion", forged_champion, f"{SAGAS}, saga {LOOP} has another state"),
    Forgery("saga-version", older_state, f"{SAGAS}, saga {LOOP} has another version"),
    Forgery("saga-gone", sql(f"DELETE FROM sagas WHERE saga = '{LOOP}'"), f"{SAGAS}, saga {LOOP} is gone"),
    Forgery(
        "saga-inserted",
        sql("INSERT INTO sagas SELECT 'rollout/late-parcel/9', 1, state FROM sagas LIMIT 1"),
        f"{SAGAS}, saga rollout/late-parcel/9 was inserted",
    ),
    Forgery(
        "saga-and-record",
        sql(
            "UPDATE sagas SET state = CAST('{}' AS BLOB) WHERE saga = 'loop/late-parcel'",
            "UPDATE entries SET decided = CAST(replace(decided, substr(decided, 30, 8), '00000000') AS BLOB)"
            " WHERE seq = (SELECT max(cause) FROM commands)",
        ),
        " was edited",
    ),
    Forgery(
        "timer-due", sql("UPDATE timers SET due = due + 1"), f"{TIMERS}, timer day of {LOOP} was changed"
    ),
    Forgery("timer-cause", sql("UPDATE timers SET cause = 1"), f"{TIMERS}, timer day of {LOOP} was changed"),
    Forgery("timer-gone", sql("DELETE FROM timers"), f"{TIMERS}, timer day of {LOOP} is gone"),
    Forgery(
        "timer-inserted",
        sql("INSERT INTO timers VALUES ('loop/late-parcel', 'again', 1, 100)"),
        f"{TIMERS}, timer again of {LOOP} was inserted",
    ),
    Forgery(
        "command-payload",
        sql("UPDATE commands SET data = CAST(replace(data, '7', '8') AS BLOB)"),
        "has another payload",
    ),
    Forgery("command-name", sql("UPDATE commands SET name = 'MoveAlias'"), "has another name"),
    Forgery("command-priority", sql("UPDATE commands SET priority = 99"), "has another priority"),
    Forgery("command-partition", sql("UPDATE commands SET partition = ''"), "has another partition"),
    Forgery("command-due", sql("UPDATE commands SET due_at = due_at + 1000000"), "has another due time"),
    Forgery("command-gone", sql("DELETE FROM commands"), "table commands, command loop/late-parcel:"),
    Forgery(
        "command-inserted",
        sql(
            "INSERT INTO commands SELECT 'loop/late-parcel:100:0', saga, 100, 0, name, data, 9,"
            " partition, due_at, 0, 0, 0, '' FROM commands"
        ),
        f"command {LOOP}:100:0 was inserted",
    ),
    Forgery(
        "recorded-raised", sql("UPDATE recorded SET since = 100"), "table recorded, its row says too much"
    ),
    Forgery("recorded-gone", sql("DELETE FROM recorded"), "has lost the row of its table 'recorded'"),
    Forgery("signer-gone", sql("DELETE FROM signers"), "table signers has lost its rows"),
    Forgery("signer-key", sql("UPDATE signers SET public = zeroblob(32)"), "signing.key is not the key"),
    Forgery("signer-size", sql("UPDATE signers SET signed = 999"), f"{KEYED} was cut, or is gone"),
    Forgery(
        "schema-trigger",
        sql("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM timers; END"),
        "that a ledger does not have: expected none, found t",
    ),
    Forgery("schema-index", sql("DROP INDEX timers_by_due"), "has lost a table or index", served=False),
    Forgery("ledger-garbage", longer("ledger.db"), "has bytes behind its last page", served=False),
    Forgery("ledger-page", damaged_page, "ledger.db"),
    Forgery("ledger-halved", halved("ledger.db"), "ledger.db"),
    Forgery("ledger-emptied", emptied("ledger.db"), "ledger.db"),
    Forgery("ledger-gone", gone("ledger.db"), "ledger.db is missing"),
    Forgery("ledger-of-another", ledger_of_the_policy, "signing.key is not the key"),
    Forgery("ledger-format", sql("PRAGMA user_version = 7"), "is not a ledger of this version"),
    Forgery("checkpoints-gone", gone(KEYED), f"{KEYED} was cut, or is gone"),
    Forgery("checkpoints-emptied", emptied(KEYED), f"{KEYED} was cut, or is gone"),
    Forgery("checkpoints-cut", last_line_cut, f"{KEYED} was cut, or is gone"),
    Forgery("checkpoints-edited", edited_size, f"{KEYED}, line 3"),
    Forgery("checkpoints-garbage-line", longer(KEYED, b"{}\n"), f"{KEYED}, line 4 is no checkpoint"),
    Forgery("checkpoints-garbage", longer(KEYED), f"{KEYED} has bytes behind its last line", served=False),
    Forgery("checkpoints-order", out_of_order, f"{KEYED} has lines out of order", served=False),
    Forgery("checkpoints-of-another-key", signed_by_another, f"{KEYED}, line 1"),
    Forgery("key-gone", gone("signing.key"), "signing.key is not the key"),
    Forgery("key-emptied", emptied("signing.key"), "signing.key is not the key"),
    Forgery("key-replaced", other_key, "signing.key is not the key"),
    Forgery("rows-flipped", other_rows(OUTCOMES + ALONE, "late", LATE), f"{OUTCOMES}one"),
    Forgery(
        "rows-flipped-digest-too", other_rows_and_digest(OUTCOMES + ALONE, "late", LATE), f"{OUTCOMES}one"
    ),
    Forgery("rows-base", other_rows(BASE + ALONE, "load", LOAD), f"{BASE}one"),
    Forgery("rows-base-digest-too", other_rows_and_digest(BASE + ALONE, "load", LOAD), f"{BASE}one"),
    Forgery("rows-bit", flipped(OUTCOMES + TOGETHER), f"{OUTCOMES}~"),
    Forgery("rows-halved", halved(BASE + ALONE), f"{BASE}one"),
    Forgery("rows-emptied", emptied(OUTCOMES + ALONE), f"{OUTCOMES}one"),
    Forgery("rows-gone", gone(BASE + ALONE), f"{BASE}one"),
    Forgery("rows-garbage", longer(OUTCOMES + ALONE), f"{OUTCOMES}one"),
    Forgery("rows-of-another-day", copied(BASE + ALONE, BASE + ALONE), f"{BASE}one"),
    Forgery("compacted-flipped", other_rows(OUTCOMES + TOGETHER, "late", LATE), f"{OUTCOMES}~"),
    Forgery("compacted-halved", halved(OUTCOMES + TOGETHER), f"{OUTCOMES}~"),
    Forgery("compacted-gone", gone(OUTCOMES + FIRST), "is missing; it is version"),
    Forgery("compacted-of-another", copied(OUTCOMES + "~000000002*", OUTCOMES + FIRST), OUTCOMES),
    Forgery("predictions-flipped", other_rows(PREDICTED + ALONE, "score", SCORE), f"{PREDICTED}one"),
    Forgery(
        "predictions-digest-too", other_rows_and_digest(PREDICTED + ALONE, "score", SCORE), f"{PREDICTED}one"
    ),
    Forgery("predictions-halved", halved(PREDICTED + ALONE), f"{PREDICTED}one"),
    Forgery("predictions-gone", gone(PREDICTED + ALONE), f"{PREDICTED}one"),
    # No entry names the file, so nobody reads it.
    Forgery("predictions-shadowed", shadowed, f"{PREDICTED}~000000999", served=False),
    Forgery("predictions-compacted", other_rows(PREDICTED + TOGETHER, "load", LOAD), f"{PREDICTED}~"),
    Forgery("predictions-compacted-gone", gone(PREDICTED + FIRST), "it is predictions of late-parcel"),
    Forgery("quarantine-edited", other_rows(HELD + "*", "load", LOAD), f"{HELD}broken", served=False),
    Forgery("quarantine-gone", gone(HELD + "*"), f"{HELD}broken", served=False),
    Forgery("package-bit", blob("package", bit), "it is the package of late-parcel v1"),
    Forgery(
        "package-cut", blob("package", lambda path: os.truncate(path, 99)), "the package of late-parcel v1"
    ),
    Forgery("package-gone", blob("package", Path.unlink), "is missing; it is the package of late-parcel v1"),
    Forgery("package-of-another", blob("package", of_another), "it is the package of late-parcel v1"),
    Forgery(
        "reference-emptied", blob("reference", lambda path: path.write_bytes(b"")), "the reference of late"
    ),
    Forgery(
        "reference-gone", blob("reference", Path.unlink), "is missing; it is the reference of late-parcel v1"
    ),
    Forgery(
        "cache-edited", replaced("cache/train/*", '"result":"', '"result":"0'), "cache/train/", served=False
    ),
    Forgery("cache-of-another", copied("cache/validate/*", "cache/train/*"), "cache/train/", served=False),
    Forgery("cache-garbage", longer("cache/reference/*"), "cache/reference/", served=False),
    Forgery("contract-texts-edited", forged_texts, "may hold", served=False),
    Forgery("digest-key-gone", gone("digest.key"), "digest.key is missing", served=False),
    Forgery("digest-key-emptied", emptied("digest.key"), "digest.key does not hold a key", served=False),
    Forgery("capture-edited", replaced(ASKED, '"epoch":1', '"epoch":2'), "capture/one/", served=False),
    Forgery("capture-row-removed", first_line_cut, "capture/one/", served=False),
    Forgery("capture-garbage", longer(ASKED, b"garbage\n"), "capture/one/", served=False),
    Forgery(
        "comparison-edited",
        replaced("comparison.json", '"name":"never"', '"name":"ever"'),
        "comparison.json is not what the ledger holds",
        served=False,
    ),
    Forgery(
        "policy-entry",
        lambda home: sql("UPDATE entries SET at = 1 WHERE seq = 9")(home / "policies/never"),
        "policies/never/ledger.db, table entries, entry 9 was edited",
        served=False,
    ),
    Forgery(
        "policy-rows",
        halved("policies/never/" + OUTCOMES + "[0-9]*"),
        f"policies/never/{OUTCOMES}",
        served=False,
    ),
)


@pytest.mark.parametrize("forgery", FORGERIES, ids=[forgery.name for forgery in FORGERIES])
def test_a_forgery_is_found_by_name_and_not_served(home, forgery):
    forgery.act(home)
    report = verify_report(home)
    assert not report.ok
    named = [f"{finding.place} {finding.problem}: expected {finding.expected}, found {finding.found}"
             for finding in report.findings]  # fmt: skip
    assert any(forgery.place in said for said in named), named
    assert all(finding.cure for finding in report.findings)
    if forgery.served:
        with pytest.raises(VarvError) as refused:
            serves(home)
        assert isinstance(refused.value, Corrupt), refused.value
        assert "restore" in refused.value.hint or "verify" in refused.value.hint


def serves(home):
    """Serve a home for as long as nothing is found; what lies before its snapshot is compared meanwhile."""
    found = lives(home)
    try:
        found.home.require_sound()
    finally:
        found.close()


def test_there_are_at_least_forty_kinds():
    assert len({forgery.name for forgery in FORGERIES}) >= 40


@pytest.mark.parametrize("forge", [forged_texts, emptied("digest.key")])
def test_rows_are_not_judged_by_a_forged_contract(home, forge):
    forge(home)
    with pytest.raises(Corrupt):
        lives(home)


def test_a_forged_prediction_is_not_explained(home):
    other_rows_and_digest(PREDICTED + ALONE, "score", SCORE)(home)
    path = file(PREDICTED + ALONE)(home)
    with closing(open_ledger(home, read_only=True)) as ledger, pytest.raises(Corrupt, match=path.stem):
        explain(home, ledger, open_views(ledger), "r-12")


def test_an_edited_entry_is_shown_by_no_view(home):
    sql("UPDATE entries SET at = at + 1 WHERE seq = 60")(home)
    with (
        closing(open_ledger(home, read_only=True)) as ledger,
        pytest.raises(Corrupt, match="entry '60'"),
        open_views(ledger).reading(RegistryView),
    ):
        pass


def test_an_untouched_home_verifies_and_is_served(home):
    report = verify_report(home)
    assert (report.findings, report.unchecked, report.unread) == ((), (), ())
    lives(home).close()
    assert verify_report(home).findings == ()


def test_a_file_that_nothing_names_is_mentioned_and_changes_nothing(home):
    path = file(PREDICTED + ALONE)(home)
    shutil.copy(path, path.with_name("20240601T000000000000.arrows"))
    report = verify_report(home)
    assert report.ok
    assert report.unread == (f"{PREDICTED}20240601T000000000000.arrows",)
    found = lives(home)
    assert "20240601T000000000000" not in [one.name for one in found.home.extents(found.parts.name)]
    found.close()


def test_nothing_is_signed_anew_beside_a_forgery(home):
    (home / "checkpoints.jsonl").unlink()
    (home / "signing.key").unlink()
    forged_champion(home)
    with pytest.raises(VarvError, match="another state"):
        sign_anew(home, 1_714_700_000_000_000)
    shutil.rmtree(home)


def test_signing_anew_is_an_entry_and_the_home_is_served_again(home):
    for name in ("checkpoints.jsonl", "signing.key"):
        (home / name).unlink()
    assert sign_anew(home, 1_714_700_000_000_000).ok
    with database(home) as db:
        names = [row[0] for row in db.execute("SELECT name FROM entries ORDER BY seq DESC LIMIT 1")]
    assert names == ["ledger.signed_anew"]
    lives(home).close()
    assert verify_report(home).ok


def test_a_home_rolled_back_whole_is_shown_by_a_checkpoint_kept_elsewhere(stored, home, tmp_path):
    older = shutil.copytree(home, tmp_path / "older")
    found = lives(home)
    found.later(2)
    found.close()
    kept = shutil.copy(home / "checkpoints.jsonl", tmp_path / "kept.jsonl")
    assert verify_report(home, against=kept).ok
    assert verify_report(older).ok
    (finding, *_) = verify_report(older, against=kept).findings
    assert "cut off" in finding.problem
