"""Labels in a home: requests that were answered are chosen, leased, labelled, and have outcomes."""

from __future__ import annotations

import pytest
from tests.home.labelling.labelled_home import Labelled, M

import varv
from varv.home.labelling.desk import Labelling
from varv.home.labelling.estimating import LabelsRequest, estimate, exposure
from varv.home.labelling.feedback import FeedbackRequest, RemarkGiven, give_feedback
from varv.home.labelling.looking import ErrorsRequest, agreement, errors
from varv.home.labelling.verbs import (
    GiveRequest,
    QueueRequest,
    ReturnRequest,
    TakeRequest,
    give,
    give_back,
    queue,
    take,
)
from varv.home.review.verbs import DecisionRequest, state
from varv.kernel.clock import DAY
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound, Unavailable


@pytest.fixture
def labelled(lived, tmp_path):
    lived(tmp_path).close()
    homes = []

    def opened(**options):
        homes.append(Labelled(tmp_path, **options))
        return homes[-1]

    yield opened
    for home in homes:
        home.close()


def test_requests_are_chosen_leased_labelled_and_have_outcomes(labelled):
    home = labelled()
    questions = home.take()
    assert len(questions) == 10
    assert questions[0].options == ("0", "1")
    assert {"load", "heat", "route"} <= questions[0].features.keys()
    assert not {"score", "champion_score", "outcome"} & questions[0].features.keys()
    shown = queue(home.labelling, QueueRequest())
    assert (shown.n_leased, shown.by_cause["random"]) == (10, 2)
    first, second, third = (one.key for one in questions[:3])
    assert home.give(first, 1).settled
    assert home.give(second, "0").said == "0", "commands and forms send texts"
    assert home.give(third, None, no_outcome=True).said == "no outcome"
    assert home.outcomes() == {first: 1, second: 0}
    shown = queue(home.labelling, QueueRequest())
    assert (shown.n_labelled, shown.n_no_outcome) == (2, 1)
    assert home.take("bo") == ()
    give_back(home.labelling, ReturnRequest(key=questions[3].key, by="ana"))
    assert [one.key for one in home.take("bo")] == [questions[3].key]


def test_what_cannot_be_a_label_is_refused_and_nothing_recorded(labelled):
    home = labelled()
    key = home.take()[0].key
    head = home.home.ledger.head().version
    for asked, error in (
        (GiveRequest(key=key, by="ana", value=2), InvalidInput),
        (GiveRequest(key=key, by="ana", value="late"), InvalidInput),
        (GiveRequest(key=key, by="ana"), InvalidInput),
        (GiveRequest(key=key, by="ana", value=1, no_outcome=True), InvalidInput),
        (GiveRequest(key=key, by=" ", value=1), InvalidInput),
        (GiveRequest(key=key, by="bo", value=1), FailedPrecondition),
        (GiveRequest(key="nobody", by="ana", value=1), NotFound),
        (GiveRequest(model="other", key=key, by="ana", value=1), NotFound),
    ):
        with pytest.raises(error):
            give(home.labelling, asked)
    with pytest.raises(InvalidInput):
        take(home.labelling, TakeRequest(by="ana", n=0))
    assert home.home.ledger.head().version == head
    alone = Labelling(**{**vars(home.labelling), "inbox": None, "versions": None})
    with pytest.raises(Unavailable, match="does not run"):
        give(alone, GiveRequest(key=key, by="ana", value=1))
    assert queue(home.labelling, QueueRequest()).n_labelled == 0


def test_two_labellers_are_compared_and_the_third_decides(labelled):
    home = labelled(double=1.0)
    keys = [one.key for one in home.take("ana")]
    assert [one.key for one in home.take("bo")] == keys
    for number, key in enumerate(keys):
        assert not home.give(key, number % 2, "ana").settled
        assert home.give(key, 1 if number == 0 else number % 2, "bo").settled is (number > 0)
    found = agreement(home.labelling, QueueRequest())
    [pair] = found.pairs
    assert (pair.first, pair.second, pair.n, pair.n_equal) == ("ana", "bo", 10, 9)
    assert pair.kappa == pytest.approx(0.8)
    assert pair.low < pair.kappa < pair.high
    assert keys[0] not in home.outcomes()
    assert [one.key for one in home.take("cy")] == [keys[0]]
    assert home.give(keys[0], 0, "cy").settled
    assert home.outcomes()[keys[0]] == 0


def test_losses_of_all_requests_come_from_those_labelled(labelled):
    home = labelled(budget=30, random=0.5)
    for one in home.take():
        home.give(one.key, int(one.key[1:]) % 2)
    home.outcomes()
    found = estimate(home.labelling, LabelsRequest())
    assert (found.n, found.n_requests) == (30, 60)
    assert found.covered == pytest.approx(1.0)
    assert found.low < found.value < found.high
    assert 15 < found.effective_n < 30
    assert found.known_at
    seen = exposure(home.labelling, LabelsRequest())
    assert (seen.n, seen.n_known, seen.n_explored) == (60, 30, 15)
    [version] = seen.versions
    assert (version.n, version.n_known) == (60, 30)
    assert version.effective_n == 30


def test_wrong_labels_are_listed_by_who_gave_them_and_stay(labelled):
    home = labelled(budget=60, random=1.0)
    scores = dict(home.labelling.rows(M, 0, home.clock.now()).select("key", "champion_score").iter_rows())
    questions = home.take()
    keys = sorted((one.key for one in questions), key=scores.__getitem__)
    for number, key in enumerate(keys):
        value = int(number >= len(keys) / 2)
        home.give(key, 1 - value if key == keys[-1] else value)
    before = home.outcomes()
    found = errors(home.labelling, ErrorsRequest(days=5))
    assert found.suspects[0].key == keys[-1]
    assert (found.suspects[0].label, found.suspects[0].likelier) == ("0", "1")
    assert found.suspects[0].sources == ("ana",)
    assert {one.source for one in found.by_source} >= {"ana"}
    assert home.outcomes() == before


def test_a_label_decides_the_review_of_an_answer_held_back(labelled):
    home = labelled(n=5, serving=varv.Serving(abstain_below=1.0, review=["abstained"]))
    questions = home.take()
    assert {one.cause for one in queue(home.labelling, QueueRequest()).items} == {"review"}
    home.give(questions[0].key, 1, note="seen it")
    found = state(home.labelling.reviews, DecisionRequest(key=questions[0].key))
    assert (found.state, found.decision, found.by, found.note) == ("decided", "1", "ana", "seen it")


def test_feedback_is_an_outcome_and_the_declared_one_stands(labelled):
    home = labelled()
    remark = [RemarkGiven(key="n7", value=1, weight=2.0)]
    taken = give_feedback(home.labelling, FeedbackRequest(source="app", remarks=remark))
    assert (taken.n, taken.revised) == (1, False)
    assert home.outcomes() == {"n7": 1}
    home.clock.move_to(home.clock.now() + DAY // 24)
    remark = [RemarkGiven(key="n7", value=0)]
    give_feedback(home.labelling, FeedbackRequest(source="app", remarks=remark))
    assert home.outcomes() == {"n7": 1}, "the first one stands"
    for wrong in ([], [*remark, *remark], [RemarkGiven(key="n7", value=1, weight=0.0)]):
        with pytest.raises(InvalidInput):
            give_feedback(home.labelling, FeedbackRequest(source="app", remarks=wrong))


def test_where_revisions_are_declared_the_latest_stands(labelled):
    home = labelled(revisions="latest")
    for value in (1, 0):
        home.clock.move_to(home.clock.now() + DAY // 24)
        remark = [RemarkGiven(key="n7", value=value)]
        taken = give_feedback(home.labelling, FeedbackRequest(source="app", remarks=remark))
        assert taken.revised
    assert home.outcomes() == {"n7": 0}
    now = home.clock.now()
    [requests] = [one for one in home.home.declared if one.name == "parcels"]
    before = home.home.datasets.read(requests, known_at=now - 1)
    assert before.filter(before["parcel"] == "n7")["late"].null_count() == 1
