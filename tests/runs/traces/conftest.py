"""Traces of a home over real files, told in few words."""

from __future__ import annotations

import pytest

from varv.runs.traces import reading
from varv.runs.traces.assessing import assess
from varv.runs.traces.model import Assessment, AssessmentId, Span, TraceId, TraceInfo
from varv.runs.traces.search import TraceQuery, trace_page
from varv.runs.traces.service import Exported

MS = 1_000_000


class TracedHome:
    def __init__(self, home):
        self.home = home

    @property
    def traces(self):
        return self.home.desk.traces

    def do(self, write):
        return self.home.do(write)

    def begin(self, id, at_ms=1000, experiment="0", assessments=(), **said):
        info = TraceInfo(id=TraceId(id), experiment=experiment, at_ms=at_ms, **said)
        return self.do(self.traces.begin(info, assessments))

    def take(self, *spans, resource=None, experiment="0", run=""):
        exported = [Exported(resource or {}, list(spans))]
        return self.do(self.traces.take(experiment, exported, run=run))

    def judge(self, trace, id="a-1", value="true", kind="feedback", **said):
        said = {"name": "ok", "body": f'{{"value":{value}}}', **said}
        made = Assessment(id=AssessmentId(id), kind=kind, **said)
        return self.do(assess(trace, made, self.traces.blobs))

    def read(self, id):
        with self.traces.recorder.reading() as db:
            return reading.trace(db, id)

    def spans(self, id, *, partial=False):
        with self.traces.recorder.reading() as db:
            return reading.spans(db, reading.trace(db, id), partial=partial)

    def page(self, filter="", orders=(), most=100, token="", experiments=("0",)):
        with self.traces.recorder.reading() as db:
            page = trace_page(db, TraceQuery(experiments, filter, tuple(orders), most, token))
            return [one.info.id for one in reading.traces(db, page.traces)], page.token

    def found(self, filter="", orders=(), **more):
        return self.page(filter, orders, **more)[0]


@pytest.fixture
def traced(home):
    return TracedHome(home)


def span(id=1, trace=1, parent=0, started_ms=1000, took_ms=5, **said):
    """A span; ids are small numbers."""
    started = started_ms * MS
    return Span(
        trace=f"{trace:032x}",
        id=f"{id:016x}",
        parent=f"{parent:016x}" if parent else "",
        started_ns=started,
        ended_ns=started + took_ms * MS if took_ms is not None else 0,
        **{"name": f"step {id}", **said},
    )


def id_of(trace=1):
    return f"tr-{trace:032x}"
