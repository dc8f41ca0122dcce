"""The open alarms of data, features and labels in one list."""

from __future__ import annotations

from tests.fronts.history import empty
from tests.home.alarming import OVER, STANDING, TRIPS, alarming, put

from varv.data.alarms import declaration_facts
from varv.home.alarms import alarm_list
from varv.home.status import status_report
from varv.kernel.clock import Instant


def test_what_stands_is_in_the_list_and_what_is_over_is_not():
    found = alarm_list(alarming()[0])
    assert [(one.room, one.kind, one.subject) for one in found] == [
        ("data", "pull", "parcels"),
        ("data", "anomaly", "trips"),
        ("data", "contract", "trips"),
        ("data", "late", "trips"),
        ("features", "skew", "late-parcel"),
        ("labels", "exploration", "late-parcel"),
    ]
    assert len(found) == len(STANDING)


def test_an_alarm_says_why_it_stands_and_what_to_do():
    found = {one.kind: one for one in alarm_list(alarming()[0])}
    assert found["anomaly"].why == "0.700, usual 0.010 to 0.030 over 30 windows"
    assert found["anomaly"].next_step.endswith("varv data watch trips/at --every 1d")
    assert found["contract"].why == "of 9 rows of the last such batch: freshness of at in 7"
    assert found["pull"].why == "nobody answers"
    assert found["skew"].why.startswith("12 of 40 compared values")
    assert found["exploration"].since == "2026-03-02T06:00:00Z"


def test_without_alarms_the_list_is_empty():
    assert alarm_list(empty()[0]) == ()
    assert alarm_list(alarming(*OVER)[0]) == ()


def test_the_status_of_a_home_holds_the_list():
    views, ledger = alarming()
    assert status_report(views, ledger, Instant(0)).alarms == alarm_list(views)


def test_alarms_of_undeclared_datasets_are_left_out_until_they_are_again():
    views, ledger = alarming()
    before = alarm_list(views)
    put(ledger, *((fact.stream, fact.event) for fact in declaration_facts(views, [])))
    assert {one.room for one in alarm_list(views)} == {"features", "labels"}
    put(ledger, *((fact.stream, fact.event) for fact in declaration_facts(views, [TRIPS])))
    assert alarm_list(views) == tuple(one for one in before if one.kind != "pull")
