"""Reports reach whoever waits for them, and the answer comes back."""

from __future__ import annotations

import math
import threading
from contextlib import closing

import pytest

from varv.kernel.errors import FailedPrecondition, Unavailable
from varv.pipelines import PostOffice, Report
from varv.pipelines.reporting import post_over


@pytest.fixture
def office():
    with closing(PostOffice()) as office:
        yield office


def test_a_report_over_the_socket_gets_the_answer(office):
    heard = []

    def post(step, value):
        heard.append((step, value))
        return step == 2

    with office.address(post) as address:
        report = Report(post_over(address))
        report(0, 0.1 + 0.2)
        report(1, math.nan)
        with pytest.raises(FailedPrecondition, match="was pruned"):
            report(2, -math.inf)
    assert heard[0] == (0, 0.1 + 0.2)
    assert math.isnan(heard[1][1])
    assert heard[2] == (2, -math.inf)


def test_reports_of_several_go_to_their_own(office):
    heard = {"one": [], "two": []}
    with (
        office.address(lambda step, value: heard["one"].append(value)) as one,
        office.address(lambda step, value: heard["two"].append(value)) as two,
    ):
        threads = [
            threading.Thread(target=lambda to=to, by=by: [post_over(to)(n, n * by) for n in range(5)])
            for to, by in ((one, 1.0), (two, 10.0))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert heard == {"one": [0.0, 1.0, 2.0, 3.0, 4.0], "two": [0.0, 10.0, 20.0, 30.0, 40.0]}


def test_who_has_no_ticket_is_told_to_stop_and_asks_nobody(office):
    with office.address(lambda step, value: pytest.fail("asked")) as address:
        assert post_over(f"{address.partition('#')[0]}#guessed")(1, 1.0)
    assert post_over(address)(1, 1.0)


def test_a_closed_office_is_reached_by_nobody(office):
    with office.address(lambda step, value: False) as address:
        office.close()
        with pytest.raises(Unavailable, match="report '1' reached nobody"):
            post_over(address)(1, 1.0)
    office.close()
