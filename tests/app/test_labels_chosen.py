"""The server chooses requests to be labelled as their windows end, and goes on if it cannot."""

from __future__ import annotations

import threading

from tests.home.labelling.labelled_home import Labelled, M

from varv.app.server.labelling import keep_choosing, labelled_models
from varv.home.labelling.verbs import QueueRequest, queue
from varv.kernel.errors import Corrupt


class Rounds(threading.Event):
    """Ends after so many rounds, without waiting."""

    def __init__(self, n):
        super().__init__()
        self.left = n

    def wait(self, timeout=None):
        self.left -= 1
        return self.left < 0


def test_windows_that_have_ended_are_chosen_from_and_alarms_raised(lived, tmp_path, caplog):
    lived(tmp_path).close()
    home = Labelled(tmp_path, n=40, explored=0.9)
    try:
        assert labelled_models(home.labelling) == [M]

        def broken():
            labelling = home.labelling
            labelling.tables.predictions = _corrupt
            return labelling

        keep_choosing(broken, Rounds(1))
        assert "labels.not_chosen" in caplog.text
        assert queue(home.labelling, QueueRequest()).n_open == 0
        keep_choosing(lambda: home.labelling, Rounds(2))
        found = queue(home.labelling, QueueRequest())
        assert found.n_open == 10
        assert "explored" in found.alarm
        names = [entry.name for entry in home.home.ledger.read(stream=f"labels/{M}")]
        assert names == ["labels.chosen", "labels.exploration_low"]
    finally:
        home.close()


def _corrupt(*_, **__):
    raise Corrupt("file", "columns", "is not what was written", hint="")
