"""A table follows the log of its database, however files of changes come and wherever pulls are killed."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.ingestion.sources import Pulls
from tests.data.sources.changes import (
    ENCODINGS,
    created,
    deleted,
    event,
    flattened,
    row,
    truncated,
    updated,
    wrapped,
    write,
)

from varv.data import Debezium
from varv.data.sources import steps as stepping
from varv.kernel.clock import HOUR, Instant, SystemClock
from varv.kernel.faults import Crash, Faults


def pulls_of(folder: Path, **more) -> Pulls:
    source = Debezium(str(folder / "changes"), key="id", encodings=ENCODINGS)
    pulls = Pulls(folder, source, updates="merge", **more)
    pulls.clock.move_to(Instant(SystemClock().now() + HOUR))
    return pulls


def test_late_and_repeated_files_change_nothing_twice(tmp_path):
    changes = tmp_path / "changes"
    write(changes / "2.jsonl", updated("a", 30, 3, done=True), created("b", 20, 2))
    pulls = pulls_of(tmp_path)
    pulls.pull()
    assert pulls.rows() == {"a": (3, True), "b": (2, None)}
    version = pulls.datasets.version(pulls.dataset)
    write(changes / "1.jsonl", created("a", 10, 1), deleted("a", 15), created("a", 16, 2))
    shutil.copy(changes / "2.jsonl", changes / "3.jsonl")
    assert pulls.pull().n_read == 0
    assert pulls.datasets.version(pulls.dataset) == version
    write(changes / "4.jsonl", deleted("b", 25), updated("a", 31, 4))
    assert pulls.pull().n_removed == 2
    assert pulls.rows() == {"a": (4, None)}
    write(changes / "5.jsonl", updated("b", 24, 9), created("c", 5, 5))
    pulls.pull()
    assert pulls.rows() == {"a": (4, None), "c": (5, None)}


def test_a_truncation_empties_and_what_comes_late_from_before_it_stays_away(tmp_path):
    changes = tmp_path / "changes"
    write(
        changes / "1.jsonl", event("r", 10, None, row("a", 1, done=True)), event("r", 10, None, row("b", 2))
    )
    pulls = pulls_of(tmp_path)
    pulls.pull()
    write(changes / "2.jsonl", truncated(30))
    assert pulls.pull().n_removed == 3
    assert pulls.rows() == {}
    write(changes / "3.jsonl", created("a", 20, 7), created("b", 40, 8))
    pulls.pull()
    assert pulls.rows() == {"b": (8, None)}


def test_a_late_change_is_put_aside_once_what_came_after_it_is_gone(tmp_path):
    changes = tmp_path / "changes"
    first = write(changes / "1.jsonl", created("a", 10, 1), deleted("b", 20))
    pulls = pulls_of(tmp_path)
    pulls.pull()
    first.unlink()
    write(changes / "2.jsonl", created("b", 15, 2), deleted("a", 5), created("c", 30, 3))
    done = pulls.pull()
    assert (done.n_aside, done.n_removed) == (2, 0)
    assert pulls.rows() == {"a": (1, None), "c": (3, None)}


def test_a_value_that_postgresql_does_not_say_puts_its_row_aside(tmp_path):
    changes = tmp_path / "changes"
    write(changes / "1.jsonl", created("a", 10, 1, done=True))
    pulls = pulls_of(tmp_path)
    pulls.pull()
    unsaid = {**row("a", 2), "price": "__debezium_unavailable_value"}
    write(changes / "2.jsonl", event("u", 20, None, unsaid))
    assert pulls.pull().n_aside == 1
    assert pulls.rows() == {"a": (1, True)}


OPS = st.tuples(st.sampled_from("cccuuudddt"), st.sampled_from("abc"), st.booleans())
FORMS = st.sampled_from([dict, wrapped, flattened])
POINTS = st.sampled_from(
    ["pull.after_step", "pull.after_remove", "pull.after_merge", "columns.before_rename"]
)
DELIVERIES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 9), FORMS, POINTS, st.integers(1, 3)), max_size=6
)


def log_of(ops) -> list[dict]:
    """Return events that a database could give: nobody creates what is there, or changes what is not."""
    log, there = [], dict[str, bool]()
    for lsn, (op, key, done) in enumerate(ops, 2):
        if op == "t":
            log.append(truncated(lsn))
            there.clear()
        elif key not in there:
            log.append(created(key, lsn, lsn, done or None))
            there[key] = True
        elif op == "d":
            log.append(deleted(key, lsn))
            del there[key]
        else:
            log.append(updated(key, lsn, lsn, done or None))
    return log


def folded(events) -> dict[str, tuple[int, bool | None]]:
    state = {}
    for one in sorted(events, key=lambda one: one["source"]["lsn"]):
        if one["op"] == "t":
            state.clear()
        elif one["op"] == "d":
            state.pop(one["before"]["id"], None)
        else:
            state[one["after"]["id"]] = (one["after"]["size"], one["after"]["late"])
    return state


@pytest.mark.slow
@given(st.lists(OPS, max_size=14), DELIVERIES, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_last_change_in_the_log_wins_wherever_pulls_are_killed(ops, deliveries, chance):
    folder = Path(tempfile.mkdtemp())
    waiting, seen = log_of(ops), [created("z", 1, 0)]
    chance.shuffle(waiting)
    write(folder / "changes" / "0.jsonl", *seen)
    pulls = pulls_of(folder)
    with patch.object(stepping, "BATCH_ROWS", 2):
        for number, (n_again, name, form, point, nth) in enumerate([*deliveries, (0, 5, dict, "", 1)]):
            n_new = len(waiting) if number == len(deliveries) else max(1, len(waiting) // 3)
            came, waiting = waiting[:n_new], waiting[n_new:]
            came += chance.sample(seen, min(n_again, len(seen)))
            # The order of names is not that in which they come.
            write(folder / "changes" / f"{name}-{number}.jsonl", *(form(one) for one in came), None)
            seen += came
            pulls.faults = Faults(point, nth=nth) if point else None
            pulls.reopen()
            with suppress(Crash):
                pulls.pull()
            pulls.faults = None
            pulls.reopen()
            pulls.pull()
            assert pulls.rows() == folded(seen)
            version = pulls.datasets.version(pulls.dataset)
            assert pulls.pull().version == version
    assert dict(pulls.source.load().select("id", "size").iter_rows()) == {
        key: size for key, (size, _) in folded(seen).items()
    }
    shutil.rmtree(folder)
