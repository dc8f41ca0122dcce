"""The gates of candidates as test results, in the XML that JUnit made and everybody reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from varv.home.candidate import CandidateReport, JudgedGate

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(reports: Sequence[CandidateReport]) -> str:
    """Return a suite a model, a case a gate; what cannot be judged is an error, not a failure."""
    root = Element("testsuites", name="varv")
    for report in reports:
        failed = sum(not gate.passed for gate in report.gates)
        is_error = report.standing == "unjudged"
        refused = report.standing == "failed" and not failed
        suite = SubElement(
            root,
            "testsuite",
            name=plain(report.model),
            tests=str(len(report.gates) + is_error + refused),
            failures=str(failed + refused),
            errors=str(int(is_error)),
        )
        for gate in report.gates:
            _case(suite, report, gate)
        if is_error or refused:
            case = SubElement(suite, "testcase", classname=plain(report.model), name="candidate")
            told = SubElement(case, "error" if is_error else "failure", message=plain(report.reason))
            told.text = plain(report.reason)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _case(suite: Element, report: CandidateReport, gate: JudgedGate) -> None:
    name = f"{gate.gate}, {gate.group}" if gate.group else gate.gate
    case = SubElement(suite, "testcase", classname=plain(report.model), name=plain(name))
    told = "\n".join([f"{gate.question} {gate.answer}".strip(), *gate.examples])
    if gate.passed:
        SubElement(case, "system-out").text = plain(told)
    else:
        SubElement(case, "failure", message=plain(gate.verdict)).text = plain(told)


def plain(text: str) -> str:
    """Return a text without what XML cannot hold."""
    return _NOT_IN_XML.sub("\ufffd", text)
