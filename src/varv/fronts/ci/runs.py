"""A logged run beside a baseline, as one comment in Markdown and as JUnit's XML."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, tostring

from varv.fronts.ci.junit import plain as plain_xml
from varv.fronts.ci.markdown import MARKER, SIGNS, folded, plain, shortened, table
from varv.home.tracking.judging import ComparedMetric, ComparedRuns
from varv.kernel.wording import number, with_minus_signs
from varv.runs.comparing import RunLine

_SAID = {"passed": "passes", "failed": "does not pass", "unjudged": "cannot be judged"}


def run_markdown(found: ComparedRuns) -> str:
    """Return a comment about a run, of at most `markdown.LONGEST` characters."""
    title = f"### {SIGNS[found.standing]} {_named(found.run)} {_SAID[found.standing]}"
    head = [f"{title}, beside {_named(found.baseline)}"]
    if found.reason:
        head.append(f"\n{plain(found.reason)}")
    judged = [one for one in found.metrics if one.standing is not None]
    head += table(
        ("", "metric", "baseline", "run", "gain [95 %]", "folds", "allowed", "verdict"),
        [
            (
                SIGNS[one.standing or "unjudged"],
                plain(one.name),
                number(one.baseline, 4),
                number(one.run, 4),
                _gain(one),
                str(one.n_folds or "–"),
                number(one.tolerance, 4),
                plain(one.why),
            )
            for one in judged
        ],
    )
    if judged and all(one.interval is None for one in judged):
        head.append("\nEach run has one number a metric, so there is no interval: chance is not told apart.")
    told = [
        (plain(one.name), number(one.baseline, 4), number(one.run, 4), _gain(one))
        for one in found.metrics
        if one.standing is None
    ]
    rows = [
        (plain(one.part), plain(one.name), *(plain((value or "–")[:200]) for value in one.values))
        for one in found.differences
    ]
    details = [
        *folded("Metrics without a tolerance", table(("metric", "baseline", "run", "gain [95 %]"), told)),
        *folded("What differs", table(("", "", "baseline", "run"), rows)),
    ]
    return shortened(MARKER, ["\n".join(head) + "\n"], ["\n".join(details)])


def run_junit(found: ComparedRuns) -> str:
    """Return one suite, a case a metric with a tolerance; what cannot be judged is an error."""
    judged = [one for one in found.metrics if one.standing is not None]
    n = {standing: sum(one.standing == standing for one in judged) for standing in ("failed", "unjudged")}
    root = Element("testsuites", name="varv")
    suite = SubElement(
        root,
        "testsuite",
        name=plain_xml(found.run.name),
        tests=str(len(judged) or 1),
        failures=str(n["failed"]),
        errors=str(n["unjudged"] if judged else 1),
    )
    for one in judged:
        case = SubElement(suite, "testcase", classname=plain_xml(found.run.name), name=plain_xml(one.name))
        kind = {"passed": "system-out", "failed": "failure", "unjudged": "error"}[one.standing or "unjudged"]
        SubElement(case, kind).text = plain_xml(f"{one.why}: gain {_gain(one)}, allowed {one.tolerance}")
    if not judged:
        case = SubElement(suite, "testcase", classname=plain_xml(found.run.name), name="run")
        SubElement(case, "error", message=plain_xml(found.reason)).text = plain_xml(found.reason)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _named(one: RunLine) -> str:
    return plain(f"{one.name} ({one.run[:12]})")


def _gain(one: ComparedMetric) -> str:
    if one.gain is None:
        return "–"
    limits = "" if one.interval is None else f" [{one.interval[0]:+.4f}, {one.interval[1]:+.4f}]"
    return with_minus_signs(f" {one.gain:+.4f}{limits}").strip()
