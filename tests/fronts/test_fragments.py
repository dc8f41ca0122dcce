"""A piece of HTML for a notebook stands alone: sound, without script, and of no effect on its neighbours."""

from __future__ import annotations

import re

import msgspec
import pytest

from varv.fronts.web.fragments import (
    answer_fragment,
    models_fragment,
    progress_fragment,
    replay_fragment,
)
from varv.home.status import status_report
from varv.kernel.clock import Instant

from .browsing import Tree
from .history import comparison, history

HOSTILE = "</style><script>alert(1)</script>"


class Odd(msgspec.Struct, frozen=True):
    """An answer of a verb that nothing is known of."""

    some_name: str
    nothing: None = None
    several: tuple[int, ...] = (1, 2)


@pytest.fixture(scope="module")
def replayed() -> str:
    views, _ = history()
    return replay_fragment([(comparison(), views)])


def without_style(fragment: str) -> str:
    return re.sub(r"<style>.*?</style>", "", fragment, flags=re.DOTALL)


def test_a_replay_is_its_report_in_one_element_that_fetches_nothing(replayed):
    tree = Tree(without_style(replayed))
    assert tree.faults == []
    assert tree.elements[0] == ("div", {"class": "varv"})
    assert not {"html", "head", "body", "script", "link", "img", "main", "title"} & {
        name for name, _ in tree.elements if name != "title"
    }
    assert "Better than never: log-loss 0.0200 lower" in " ".join(tree.text.split())
    assert "url(" not in replayed
    assert "@import" not in replayed


def test_its_style_reaches_nothing_outside_and_follows_the_notebook_s_theme(replayed):
    style = re.search(r"<style>(.*?)</style>", replayed, flags=re.DOTALL)[1]
    assert style.startswith(".varv {")
    depth, outside = 0, ""
    for character in style:
        depth += (character == "{") - (character == "}")
        outside += character if depth == 0 else ""
    outside = re.sub(r"\([^()]*\)", "", outside)
    selectors = [one.strip() for one in outside.replace("}", ",").split(",") if one.strip()]
    assert depth == 0
    assert all(".varv" in one for one in selectors), selectors
    assert ":root" not in style
    assert '[data-jp-theme-light="false"] .varv' in style
    assert ".vscode-dark .varv" in style


def test_ids_of_two_pieces_differ_and_lead_to_their_own_elements(replayed):
    ids = re.findall(r' id="([^"]+)"', without_style(replayed))
    assert len(ids) == len(set(ids)) > 10
    others = re.findall(r' id="([^"]+)"', answer_fragment(report()) + models_fragment(report().models))
    assert not set(ids) & set(others)
    referred = re.findall(r'(?:aria-labelledby="|href="#)([^"]+)"', replayed)
    assert {name for names in referred for name in names.split()} <= set(ids)


def test_of_several_models_the_first_report_is_open():
    views, _ = history()
    found = replay_fragment([(comparison(), views), (comparison(), views)])
    assert found.count("<style>") == 1
    assert found.count("<details open><summary><strong>") == 1
    assert Tree(without_style(found)).faults == []


def report():
    views, ledger = history()
    return status_report(views, ledger, Instant(0), state=HOSTILE)


def test_what_others_wrote_is_shown_as_text():
    for fragment in (
        answer_fragment(report()),
        answer_fragment(Odd(HOSTILE)),
        progress_fragment([{"name": HOSTILE, "share": 0.5, "said": HOSTILE}], [HOSTILE]),
    ):
        assert "<script" not in fragment
        assert Tree(without_style(fragment)).faults == []


def test_an_answer_of_an_unknown_kind_is_names_and_values():
    text = " ".join(Tree(without_style(answer_fragment(Odd("value")))).text.split())
    assert text == "Odd Some namevalue Nothing– Several[1,2]"
    assert "Answer" in answer_fragment({"rate": 0.5})


def test_progress_shows_a_bar_for_each_policy():
    found = progress_fragment([{"name": "declared", "share": 0.25, "said": "3 Mar"}], ["v1 promoted"])
    assert Tree(without_style(found)).all("progress") == [
        {"max": "1", "value": "0.2500", "aria-label": "declared"}
    ]
    assert "v1 promoted" in found
