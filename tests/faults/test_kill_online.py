"""Processes that materialise are killed at any moment: what was online stays, and the next one goes on."""

from __future__ import annotations

import multiprocessing
import random

import pytest
from tests.faults.online_writer import LAST, RECENT, WHO, done, opened, rows_of, work

from varv.features.definitions import digest_of_view
from varv.features.online.model import OnlineView, note_of, table_name

N_KILLS = 20


@pytest.mark.slow
@pytest.mark.parametrize("act", ["materialise", "backfill"])
def test_twenty_kills_leave_every_row_online_once(tmp_path, act):
    home = opened(tmp_path)
    for batch in range(3):
        home.append("at", rows_of(batch))
        if not batch:
            for view in (LAST, RECENT):
                home.materialiser.materialise(view)
    home.ledger.close()
    moments = random.Random(act)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.online_writer"])
    n_killed = 0
    while n_killed < N_KILLS:
        ours, theirs = context.Pipe()
        child = context.Process(target=work, args=(str(tmp_path), act, theirs))
        child.start()
        theirs.close()
        assert ours.poll(120)
        assert ours.recv() == "begun"
        was_done = ours.poll(moments.uniform(0, 0.6))
        child.kill()
        child.join()
        n_killed += 1
        if was_done:
            # So the next one has new rows to take in.
            home = opened(tmp_path)
            home.n = 2 + n_killed
            home.append("at", rows_of(2 + n_killed))
            home.ledger.close()
        what_is_there_is_whole(tmp_path)
    done(opened(tmp_path), act)
    what_is_there_is_whole(tmp_path, is_last=True)


def what_is_there_is_whole(folder, *, is_last=False):
    """See that readers find one whole generation, and the ledger the one that they find or the one after."""
    home = opened(folder)
    n_rows = home.datasets.read_part(LAST.source, "at").height
    for view in (LAST, RECENT):
        pointer = home.store.current(table_name(view, digest_of_view(view)))
        note = note_of(pointer.note)
        with home.views.reading(OnlineView) as online:
            held = online.of(view.name, digest_of_view(view))
        assert held.last.generation in (pointer.generation, pointer.generation + 1)
        counted = home.datasets.read_part(view.source, "at", version=note.upto).height
        assert note.n_rows == counted
        (found,) = home.reader().read([view.name], {"who": WHO[:50]}, note.newest)
        assert None not in [one.values[0] for one in found.entities]
        if is_last:
            assert (held.n_rows, note.upto) == (n_rows, home.datasets.version(view.source))
            assert home.store.generations(table_name(view, digest_of_view(view))) == [pointer.generation]
    home.ledger.close()
