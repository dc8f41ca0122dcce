"""`varv replay --search`: each combination is lived through once, in a folder of its own."""

from __future__ import annotations

import pytest
from tests.loop.synthetic import declared, fit, head_of, parcels, quietly

import varv
from varv.app.cli.comparison_blocks import comparison_blocks
from varv.app.cli.rendering import text
from varv.app.replaying import Extra, read_comparison, run_replay
from varv.kernel.errors import FailedPrecondition
from varv.project import project_of

pytestmark = pytest.mark.slow


def past() -> varv.Replay:
    replay = declared(parcels(changes=False), on=(), until="2024-05-02T00:00:00Z")
    [model] = replay.models
    search = varv.PolicySearch(
        retrain=[varv.Retrain(on=["schedule:9d"], cooldown="2d")],
        train=[model.train, varv.Train(fit, window="9d", validate="5d", params={"C": 0.001}, min_rows=200)],
    )
    return varv.Replay(
        model,
        since="2024-03-07",
        train_at="2024-03-16",
        until="2024-04-30",
        references=[],
        search=search,
        seed=7,
    )


def test_a_search_replays_every_combination_and_says_what_to_paste(tmp_path):
    replay = past()
    project_of("test", [replay]).validate()
    search = Extra(search=True)
    told: list[str] = []
    [found] = run_replay(replay, tmp_path, lambda name, *_: told.append(name), extra=search).models
    names = ["declared", "retrain-1-train-1", "retrain-1-train-2"]
    assert list(dict.fromkeys(told)) == names
    assert [one.name for one in found.search.tried] == names
    by_name = {one.name: one for one in found.search.tried}
    assert by_name["declared"].n_trainings == 0
    assert by_name["retrain-1-train-1"].n_trainings >= 2
    # A ridge that leaves no coefficient is worse, and shown to be.
    assert by_name["retrain-1-train-2"].high < 0
    assert by_name["declared"].loss == found.policies[0].loss
    shown = text(comparison_blocks(found))
    assert "chosen on what was before, judged on what came after" in shown
    assert found.search.paste in shown or "keep it" in shown
    assert read_comparison(tmp_path).models[0].search == found.search
    heads = [head_of(tmp_path / "search" / name) for name in names[1:]]
    [again] = run_replay(past(), tmp_path, quietly, extra=search).models
    assert again.search == found.search
    assert [head_of(tmp_path / "search" / name) for name in names[1:]] == heads


def test_a_replay_that_declares_no_search_says_how(tmp_path):
    with pytest.raises(FailedPrecondition, match="declares no search"):
        run_replay(declared(), tmp_path, quietly, extra=Extra(search=True))
