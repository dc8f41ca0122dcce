"""Gates of every kind in a replay: equal seeds give equal bytes, whatever the machine was doing."""

from __future__ import annotations

import pytest
from tests.loop.synthetic import declared, entries_of, head_of, replayed

import varv
from varv.loop.model import GatesJudged


def misses(rows):
    return (rows["score"] > 0.5).cast(int) != rows["outcome"]


@pytest.mark.slow
def test_a_replay_with_every_gate_gives_equal_bytes_and_measures_no_time(tmp_path):
    heads = []
    for name in ("one", "other"):
        replay = declared(until="2024-04-13T00:00:00Z")
        replay.models[0].gates = (
            varv.gate.beats_champion(),
            varv.gate.beats_champion("auc", slice=varv.slice("route", "north", "south")),
            varv.gate.at_most("log_loss", 5.0),
            varv.gate.latency(p99="1ms"),
            varv.gate.size(max="20MB"),
            varv.gate.check(misses, at_most=0.5),
            varv.behaviour.invariant("heat", change=lambda rows: rows, tolerance=0.0),
            varv.behaviour.direction("load", feature="load", by=1, prediction="up", share=0.9),
            varv.behaviour.minimum("light", rows=[{"load": -4.0, "route": "north"}], at_most=0.2),
        )
        replayed(replay, tmp_path / name)
        heads.append(head_of(tmp_path / name))
    assert heads[0] == heads[1]
    judged = [entry.event for entry in entries_of(tmp_path / "one") if isinstance(entry.event, GatesJudged)]
    assert len(judged) >= 2
    first, *later = judged
    assert first.passed
    assert first.results[0].verdict == "no champion"
    assert {result.gate: result.verdict for result in first.results}["latency p99"] == "not measured"
    assert "better" in {event.results[0].verdict for event in later}
