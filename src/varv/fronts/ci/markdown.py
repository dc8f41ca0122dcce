"""A candidate beside the champion as one comment in Markdown.

The first line is a marker, by which a comment is found again and replaced. What comes from data is escaped:
it makes no link, no mention and no markup.

Limits: a comment may have 65,536 characters on GitHub, and more on GitLab.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from varv.home.candidate import Beside, CandidateReport, JudgedGate, Standing
from varv.kernel.wording import count, number, with_minus_signs

MARKER = "<!-- varv ci report -->"
LONGEST = 60_000
SIGNS = {"passed": "✅", "failed": "❌", "unjudged": "⚠️"}
_SPECIAL = re.compile(r"[\\`*_{}\[\]#|<>@~&$]|:(?=//)")
_SHORTENED = "\n\n*The details are left out, since a comment has a limit; see the report of the job.*\n"


def markdown(reports: Sequence[CandidateReport]) -> str:
    """Return a comment about candidates, of at most `LONGEST` characters."""
    heads = [_head(report) for report in reports] or ["### ⚠️ No model is declared here\n"]
    details = [_details(report) for report in reports] or [""]
    return shortened(MARKER, heads, details)


def shortened(marker: str, heads: Sequence[str], details: Sequence[str]) -> str:
    """Return heads with details below a marker, without the details if all is too long for a comment."""
    whole = "\n".join(f"{head}{detail}" for head, detail in zip(heads, details, strict=True))
    text = f"{marker}\n{whole}"
    if len(text) > LONGEST:
        text = f"{marker}\n" + "\n".join(heads)
    return text if len(text) <= LONGEST else text[: LONGEST - len(_SHORTENED)].rsplit("\n", 1)[0] + _SHORTENED


def _head(report: CandidateReport) -> str:
    candidate = "no candidate" if report.candidate is None else f"v{report.candidate}"
    champion = "no champion" if report.champion is None else f"champion v{report.champion}"
    said = {"passed": "passes its gates", "failed": "does not pass", "unjudged": "cannot be judged"}
    sign = SIGNS[report.standing]
    lines = [f"### {sign} {plain(report.model)}: {candidate} {said[report.standing]}, beside {champion}"]
    if report.reason:
        lines.append(f"\n{plain(report.reason)}")
    compared = [gate for gate in report.gates if gate.gain is not None]
    lines += _compared("", [gate for gate in compared if not gate.group])
    lines += _compared("by group", [gate for gate in compared if gate.group])
    failed = [gate for gate in report.gates if not gate.passed]
    lines += [f"\n- {SIGNS['failed']} **{_named(gate)}**: {plain(gate.answer)}" for gate in failed]
    return "\n".join(lines) + "\n"


def _compared(title: str, gates: Iterable[JudgedGate]) -> list[str]:
    rows = [
        (
            _named(gate),
            number(gate.champion, 4),
            number(gate.candidate, 4),
            _difference(gate),
            count(gate.n),
            plain(gate.verdict),
        )
        for gate in gates
    ]
    columns = (f"metric {title}".strip(), "champion", "candidate", "gain [95 %]", "rows", "verdict")
    return table(columns, rows)


def _difference(gate: JudgedGate) -> str:
    if gate.gain is None:
        return "–"
    limits = "" if gate.interval is None else f" [{gate.interval[0]:+.4f}, {gate.interval[1]:+.4f}]"
    return with_minus_signs(f" {gate.gain:+.4f}{limits}").strip()


def _details(report: CandidateReport) -> str:
    gates = [
        (
            SIGNS["passed" if gate.passed else "failed"],
            _named(gate),
            plain(gate.verdict),
            plain(gate.answer),
        )
        for gate in report.gates
    ]
    parts = [
        *folded("Gates", table(("", "gate", "verdict", "what the held-out rows answer"), gates)),
        *folded("Held-out metrics, each on rows of its own", _beside(report.metrics)),
        *folded("Data", _beside(report.data)),
        *folded("Package", _beside(report.package)),
        *folded("Signs of a leak", [f"- {plain(one)}" for one in report.leaks]),
        *folded("Why it was trained", [f"- {plain(one)}" for one in report.triggers]),
    ]
    return "\n".join(parts)


def _standing(gate: JudgedGate) -> Standing:
    return "passed" if gate.passed else "failed"


def _beside(found: Iterable[Beside]) -> list[str]:
    rows = [(plain(one.name), _value(one.champion, one), _value(one.candidate, one)) for one in found]
    return table(("", "champion", "candidate"), rows)


def _value(value: str | float | None, one: Beside) -> str:
    if isinstance(value, str):
        return plain(value)
    return count(value) if one.digits == 0 else number(value, one.digits)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; none without rows."""
    if not rows:
        return []
    head = [f"\n| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return head + [f"| {' | '.join(row)} |" for row in rows]


def folded(title: str, lines: Sequence[str]) -> list[str]:
    """Return lines below a title that unfolds them; none if there are none."""
    if not lines:
        return []
    return [f"\n<details><summary>{title}</summary>\n", *lines, "\n</details>"]


def _named(gate: JudgedGate) -> str:
    return plain(f"{gate.gate}, {gate.group}" if gate.group else gate.gate)


def plain(text: str) -> str:
    """Return a text that means nothing to Markdown, on one line.

    Examples
    --------
    >>> plain("a|b <img> @ana")
    'a&#124;b &#60;img&#62; &#64;&#8203;ana'
    """
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    return _SPECIAL.sub(_escaped, " ".join(line.split()))


def _escaped(sign: re.Match[str]) -> str:
    # Hosts look for mentions, numbers of issues and addresses in what Markdown has made: a space of no width
    # keeps them from being one.
    kept = "&#8203;" if sign[0] in "@#:" else ""
    return f"&#{ord(sign[0])};{kept}"
