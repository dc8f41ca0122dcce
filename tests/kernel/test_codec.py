"""Events of other packages are found when they are read; one that nobody brings is said to be unknown."""

from __future__ import annotations

import pytest

from varv.kernel import codec
from varv.kernel.codec import Event, canonical, decode_event, event
from varv.kernel.errors import Corrupt


class Point:
    """An entry point whose module declares an event."""

    n_loaded = 0

    def load(self):
        self.n_loaded += 1

        @event("test.brought")
        class Brought(Event, frozen=True, kw_only=True):
            n: int

        return Brought


@pytest.fixture
def point(monkeypatch):
    found = Point()
    monkeypatch.setattr(codec, "_EVENTS", dict(codec._EVENTS))
    named = {"test.brought": [found]}
    monkeypatch.setattr(codec, "entry_points", lambda group, name: named.get(name, []))
    return found


def test_an_event_of_another_package_is_loaded_when_it_is_first_read(point):
    data = canonical({"n": 3})
    assert decode_event("test.brought", 1, data).n == 3
    assert decode_event("test.brought", 1, data).n == 3
    assert point.n_loaded == 1


def test_an_event_that_nobody_brings_is_not_known(point):
    with pytest.raises(Corrupt, match=r"'test.other' is not known to this version .* install the package"):
        decode_event("test.other", 1, b"{}")
    assert point.n_loaded == 0
