"""Nouns of a search of policies; `home.searching` finds them."""

from __future__ import annotations

import msgspec

from varv.kernel.clock import Instant


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One combination over the whole replay, and by how much it costs less than the declared policy a
    request, trainings at their price included; 95 % interval.
    """

    name: str
    text: str
    loss: float
    n_trainings: int
    """After the first."""
    work: int
    gain: float
    low: float
    high: float


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """A combination chosen on the days before a cut, and by how much it costs less than the declared policy
    on the days after it; 95 % interval.
    """

    at: Instant
    share: float
    chosen: str
    gain_before: float
    """On the days that it was chosen on: what it promised."""
    gain: float
    low: float
    high: float
    n_days: int


class Searched(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found."""

    price: float | None
    """Of a training; None where none is declared, and trainings are not paid for."""
    tried: tuple[Tried, ...]
    cuts: tuple[Cut, ...]
    chosen: str
    """What the most past chose, which is what is to be pasted."""
    is_shown: bool
    """Whether it is shown to be better than the declared policy after the last cut."""
    paste: str
