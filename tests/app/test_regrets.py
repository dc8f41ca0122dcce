"""`varv replay --regret`: a version a week beside a finished replay, and regret in all that is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.loop import synthetic
from tests.loop.synthetic import declared, entries_of, parcels, quietly

import varv
from varv.app import regrets
from varv.app.cli.comparison_blocks import comparison_blocks
from varv.app.cli.rendering import text
from varv.app.replaying import Extra, read_comparison, run_replay
from varv.home.model import Comparison, PoliciesCompared
from varv.home.regret import BEST
from varv.kernel.clock import Instant
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ledger import Ledger
from varv.labels.counting import Counted
from varv.labels.counting import counted as counts_of
from varv.loop.weighing.model import Price
from varv.project import project_of

pytestmark = pytest.mark.slow
FITS: list[int] = []
COUNTED: list[tuple[str, int]] = []
REGRET = Extra(regret=True, price=Price(5.0))


def counted(train: varv.TrainingSet, params: Mapping[str, Any]) -> Any:
    """Fit as the synthetic past does, and count it."""
    FITS.append(len(train.y))
    return synthetic.fit(train, params)


def past() -> varv.Replay:
    replay = declared(parcels(changes=False), on=("schedule:14d",), references=("never",))
    replay.models[0].train.fit = counted
    replay.models[0].train.weights = varv.inverse_propensity()
    return replay


def noted(ledger: Ledger, model: str, known_by: Instant) -> Counted:
    """Return what outcomes count for, and note by when."""
    COUNTED.append((model, known_by))
    return counts_of(ledger, model, known_by)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    home = tmp_path_factory.mktemp("regret")
    replay = past()
    project_of("test", [replay]).validate()
    [plain] = run_replay(replay, home, quietly).models
    FITS.clear()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(regrets, "counted", noted)
        [found] = run_replay(replay, home, quietly, extra=REGRET).models
    return home, plain, found, list(FITS)


def test_regret_is_found_beside_the_finished_replay_by_the_models_own_function(shown):
    _, plain, found, fits = shown
    regret = found.regret
    assert len(fits) == regret.n_versions == 6
    assert regret.n == found.policies[0].n
    assert [one.name for one in regret.policies if one.lived] == ["declared", "never"]
    assert [one.regret for one in next(o for o in regret.policies if o.name == BEST).at] == [0.0] * 3
    declared_one = next(one for one in regret.policies if one.name == "declared")
    assert declared_one.at[0].loss == pytest.approx(found.policies[0].loss, abs=1e-6)
    assert declared_one.at[0].n_trainings == found.policies[0].n_trainings - 1
    # The first version alone is what the policy never lives with: the same model, on the same requests.
    lived = next(one for one in regret.policies if one.name == "never" and one.lived)
    scored = next(one for one in regret.policies if one.name == "never" and not one.lived)
    assert scored.at[0].loss == pytest.approx(lived.at[0].loss, abs=0.01)
    assert found.policies[0].loss == plain.policies[0].loss


def test_rows_of_regret_count_for_what_was_on_record_by_each_cut_off(shown):
    assert {model for model, _ in COUNTED} == {"late-parcel"}
    assert len({known_by for _, known_by in COUNTED}) == len(shown[3])


def test_a_replay_without_regret_says_nothing_of_it_in_file_and_ledger(shown):
    _, plain, found, _ = shown
    assert b"regret" not in _encoded(plain)
    assert "regret" in json.loads(_encoded(found))


def test_fits_are_found_again_and_the_result_is_in_the_file_the_ledger_and_the_report(shown):
    home, _, found, _ = shown
    FITS.clear()
    [again] = run_replay(past(), home, quietly, extra=REGRET).models
    assert FITS == []
    assert again.regret == found.regret
    assert read_comparison(home).models[0].regret == found.regret
    last = entries_of(home)[-1].event
    assert isinstance(last, PoliciesCompared)
    assert last.comparison.regret == found.regret
    html = (home / "report.html").read_text()
    assert "What retraining is worth" in html
    assert "cost=" in html
    told = text(comparison_blocks(found))
    assert "regret per 1,000" in told
    assert 'varv.Retrain(on=["benefit", "performance"], cost=5)' in told
    assert "luck of hindsight" in told


def test_the_matrix_is_what_the_models_versions_lose(shown):
    _, _, found, _ = shown
    every_week = next(one for one in found.regret.policies if one.name == "every week")
    never = next(one for one in found.regret.policies if one.name == "never" and not one.lived)
    # Nothing changes here, so losses are near each other, and near the lived ones.
    assert every_week.at[0].loss == pytest.approx(never.at[0].loss, abs=0.02)
    assert np.isfinite([each.loss for one in found.regret.policies for each in one.at]).all()


def test_a_past_that_is_too_short_is_refused(tmp_path):
    replay = declared(until="2024-03-30T00:00:00Z")
    project_of("test", [replay]).validate()
    with pytest.raises(FailedPrecondition, match="too short for regret"):
        run_replay(replay, tmp_path, quietly, declared_only=True, extra=Extra(regret=True))


def _encoded(one: Comparison) -> bytes:
    return msgspec.json.encode(one)
