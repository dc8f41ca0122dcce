"""Progress in a notebook: displayed once, updated in place, without a widget."""

from __future__ import annotations

import sys
import types

import pytest

from varv.app.progress import ReplayProgress
from varv.home.replay import Progress
from varv.kernel.clock import DAY, Instant, instant

SINCE, UNTIL = instant("2024-01-01"), instant("2024-01-11")


class Display:
    """What a notebook's `display` does, as far as it is used."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def __call__(self, thing, *, display_id: bool) -> Display:
        assert display_id
        self.update(thing)
        return self

    def update(self, thing) -> None:
        self.shown.append(thing._repr_html_())


@pytest.fixture
def display(monkeypatch):
    found = Display()
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    module.display = types.SimpleNamespace(display=found)
    monkeypatch.setitem(sys.modules, "IPython", module)
    return found


def test_a_notebook_shows_bars_that_end_full(display, capsys):
    progress = ReplayProgress(SINCE, UNTIL, ["m"])
    for day in range(1, 11):
        progress.tick("declared", Progress(Instant(SINCE + day * DAY), 100 * day), [])
    progress.tick("never", Progress(Instant(SINCE + 5 * DAY), 500), [])
    progress.close()
    assert capsys.readouterr() == ("", "")
    assert "Reading the data" in display.shown[0]
    last = display.shown[-1]
    assert last.count("<progress") == 2
    assert 'value="1.0000" aria-label="declared"' in last
    assert 'value="0.5000" aria-label="never"' in last
    assert len(display.shown) < 6  # not at every tick


def test_a_shell_on_a_terminal_is_no_notebook(monkeypatch, capsys):
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", module)
    progress = ReplayProgress(SINCE, UNTIL, ["m"])
    progress.tick("declared", Progress(UNTIL, 100), [])
    progress.close()
    assert capsys.readouterr().out == ""
