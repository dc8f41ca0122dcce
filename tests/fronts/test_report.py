from __future__ import annotations

import re

import msgspec
import pytest
from msgspec.structs import replace
from tests.home.test_regret import asked, losses
from tests.monitoring.worlds import TASKS

from varv.fronts.web.report import write_report
from varv.home.accounts import PartRows, warnings_of
from varv.home.model import Measure
from varv.home.regret import Lived, price_text, regret
from varv.loop.weighing.model import Price
from varv.tasks import task_of

from .browsing import Tree
from .history import comparison, empty, history


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> str:
    views, _ = history()
    path = tmp_path_factory.mktemp("report") / "made" / "report.html"
    write_report(comparison(), views, path)
    return path.read_text()


def test_the_report_is_one_sound_file_that_fetches_nothing(report):
    tree = Tree(report)
    assert tree.faults == []
    assert tree.all("script") == tree.all("link") == tree.all("img") == []
    assert not re.search(r"(src|href)=\"(?!#)", report)
    assert "default-src &#39;none&#39;" in report or "default-src 'none'" in report


def test_the_verdict_has_a_word_and_an_interval_for_each_other_policy(report):
    text = " ".join(Tree(report).text.split())
    assert "Better than never: log-loss 0.0200 lower; difference 0.0200 [0.0120, 0.0280]" in text
    assert "No difference shown than monthly" not in text
    assert "No difference shown from monthly" in text
    assert "Worse than weekly: log-loss 0.0060 higher" in text


def test_every_policy_and_month_is_in_the_tables(report):
    text = " ".join(Tree(report).text.split())
    for name in ("declared", "never", "monthly", "weekly", "Feb 2013", "Dec 2013"):
        assert name in text
    assert "0.4760 [0.4660, 0.4860]" in text


def test_planted_versions_are_marked_and_shown_open(report):
    assert report.count('class="planted">planted') >= 4
    assert report.count("<details open>") == 1


def test_reasons_of_quarantine_and_hostile_names_are_shown_as_text(report):
    assert "batch: out of range of temp" in report
    assert "<script" not in report


def test_lost_rows_come_before_everything_else(report, tmp_path):
    views, _ = history()
    rows = PartRows(
        **{"dataset": "flights", "part": "arrived_at", "n_source": 1000, "n_outside": 100, "n_used": 850},
        **{"n_equal": 10, "n_different": 5, "n_waiting": 5, "n_early": 5, "n_quarantined": 25},
        **{"n_discarded": 0, "n_before_contract": 3, "reasons": {"impossible value of temp": 25}},
    )
    told = msgspec.structs.replace(comparison(), warnings=warnings_of([rows]), rows=(rows,))
    write_report(told, views, tmp_path / "lost.html")
    html = (tmp_path / "lost.html").read_text()
    warning = "4.4% of the rows of flights/arrived_at were not used, 40 of 900"
    assert html.index("Replay of") < html.index(warning) < html.index('id="verdict"')
    assert warning not in report
    assert Tree(html).faults == []
    assert next(iter(msgspec.to_builtins(told))) == "warnings"


@pytest.mark.parametrize("name", ["binary", *TASKS])
def test_models_of_every_task_have_a_report(name, tmp_path):
    views, _ = history()
    task = TASKS.get(name) or task_of(name)
    metrics = {metric: Measure(0.5, 0.4, 0.6) for metric in task.metrics}
    within = 0.7 if "auc" in task.metrics else None
    told = comparison()
    policies = tuple(
        msgspec.structs.replace(
            one,
            metrics=metrics,
            auc_within_days=within,
            months=tuple(
                msgspec.structs.replace(month, metrics=metrics, auc_within_days=within)
                for month in one.months
            ),
        )
        for one in told.policies
    )
    path = tmp_path / "report.html"
    write_report(replace(told, task=task.spec, policies=policies), views, path)
    tree = Tree(path.read_text())
    assert tree.faults == []
    assert ("AUC within days" in tree.text) == (within is not None and task.has_outcome)
    if task.loss is not None:
        assert task.loss.label in tree.text


def test_the_report_is_the_same_byte_for_byte(report, tmp_path):
    views, _ = history()
    write_report(comparison(), views, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == report


def test_a_replay_of_one_policy_that_did_nothing_still_has_a_report(tmp_path):
    views, _ = empty()
    alone = msgspec.structs.replace(comparison().policies[0], gains=(), months=())
    write_report(msgspec.structs.replace(comparison(), policies=(alone,)), views, tmp_path / "report.html")
    tree = Tree((tmp_path / "report.html").read_text())
    assert tree.faults == []
    assert "nothing to compare with" in tree.text


def test_regret_is_a_picture_and_two_tables_of_which_a_row_is_to_be_signed(tmp_path):
    views, _ = history()
    lived = [Lived("declared", 14_000 * 0.52, 12)]
    found = regret(losses(), lived, asked(Price(10.0)))
    write_report(replace(comparison(), regret=found), views, tmp_path / "report.html")
    report = (tmp_path / "report.html").read_text()
    assert Tree(report).faults == []
    assert "Log-loss against trainings" in report
    assert all(f">{one.name}<" in report for one in found.policies)
    assert all(f"<code>cost={price_text(row.price)}</code>" in report for row in found.frontier)
    assert "luck of hindsight" in report
