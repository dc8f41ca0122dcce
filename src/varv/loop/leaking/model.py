"""Findings that speak for a leak, and the events that state them."""

from __future__ import annotations

from typing import Literal

import msgspec

from varv.kernel.codec import Event, event
from varv.kernel.ids import Version


class LeakFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that looks as if the past knew more than a request will: a warning with its numbers, never a
    verdict.
    """

    kind: Literal[
        "predicts alone",
        "holds its own outcomes",
        "nulls follow the outcome",
        "past rows changed",
        "worse than held out",
    ]
    subject: str
    """The feature, the dataset and column, or the version that it is about."""
    text: str
    evidence: dict[str, float | None]

    def line(self) -> str:
        """Return what speaks for a leak, in a sentence."""
        return f"{self.subject} {self.kind}: {self.text}"


@event("loop.leaks_examined")
class LeaksExamined(Event, frozen=True, kw_only=True):
    """The features of a first training were examined for what a request cannot know."""

    version: Version
    features: tuple[str, ...]
    findings: tuple[LeakFinding, ...]

    def line(self) -> str:
        """Return one line on what this event states."""
        findings = "; ".join(finding.line() for finding in self.findings)
        return f"{len(self.features)} features examined for leaks: {findings or 'nothing speaks for one'}"


@event("loop.leak_noticed")
class LeakNoticed(Event, frozen=True, kw_only=True):
    """Later, something else was seen that speaks for a leak."""

    finding: LeakFinding

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"WARNING {self.finding.line()}"
