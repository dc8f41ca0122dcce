"""What `varv labels` shows, over a real home that is only read."""

from __future__ import annotations

import json

import pytest
from tests.home.labelling.labelled_home import Labelled, M

from varv.app.cli import main


@pytest.fixture
def labelled(lived, tmp_path):
    lived(tmp_path).close()
    home = Labelled(tmp_path, n=40, budget=20, random=0.5, double=0.5, explored=0.9)
    for by in ("ana", "bo"):
        for one in home.take(by):
            home.give(one.key, int(one.key[1:]) % 2, by)
    home.outcomes()
    home.close()
    return tmp_path


def test_every_table_of_labels_is_shown_as_text_and_as_json(labelled, capsys):
    def shown(act, *more):
        assert main(["labels", act, M, *more, "--home", str(labelled)]) == 0
        return capsys.readouterr().out

    queue = shown("ls")
    assert "20 labelled, 0 without an outcome" in queue
    assert "too little is explored: 25 % of requests explored, 90 % declared" in queue
    assert "random" in queue
    agreement = shown("agreement")
    assert "ana" in agreement
    assert "kappa" in agreement
    assert "1.00" in agreement
    estimate = shown("estimate", "--days", "3600")
    assert "log_loss on all requests: " in estimate
    assert "from 20 of 40 requests" in estimate
    exposure = shown("exposure", "--days", "3600")
    assert "25 % of 40 requests explored, 90 % declared; 20 outcomes" in exposure
    errors = shown("errors", "--days", "3600")
    assert "labels are probably wrong" in errors
    assert "nothing was changed" in errors
    found = json.loads(shown("estimate", "--days", "3600", "--json"))
    assert found["known_at"]
    assert found["low"] < found["value"] < found["high"]
