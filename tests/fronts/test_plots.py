from __future__ import annotations

import math
import re

import pytest

from varv.fronts.web.plots import (
    MOST_STYLES,
    Column,
    Labelled,
    curve_chart,
    parallel_chart,
    scatter_chart,
    style_of,
)
from varv.runs.curves import Drawn, curves_of
from varv.runs.points import packed, read

from .browsing import Tree

HOSTILE = "<script>x</script>"


def curves(*values, axis="step", **how):
    drawn = [
        Drawn(str(n), "loss", read([packed([(1, 0, 1000 * s, s, v) for s, v in enumerate(some)])]), 0)
        for n, some in enumerate(values)
    ]
    return curves_of(drawn, axis=axis, **how)


def chart(found, **how):
    labels = [Labelled(f"{HOSTILE}{n}", n) for n in range(len(found.groups or found.curves))]
    svg = str(curve_chart("loss", found, labels, description=HOSTILE, **how))
    assert Tree(svg).faults == []
    assert "<script" not in svg
    return svg


@pytest.mark.parametrize("axis", ["step", "relative", "wall"])
@pytest.mark.parametrize("log", [False, True])
def test_curves_are_sound_over_every_axis(axis, log):
    svg = chart(curves([1.0, 0.5, 0.1], [2.0], [-1.0, math.nan], axis=axis), log=log)
    assert svg.count('class="line') >= 2
    assert "nan" not in re.sub(r'class="nan"', "", svg).lower()


def test_values_beyond_all_measure_flatten_nothing():
    svg = chart(curves([1.0, 1.7976931348623157e308, 2.0]))
    assert len(svg) < 5000
    assert chart(curves([1.7976931348623157e308])) == ""


def test_what_is_no_number_is_marked_and_parts_the_line():
    svg = chart(curves([1.0, math.nan, 2.0]))
    path = re.search(r'class="line[^"]*" d="([^"]*)"', svg)[1]
    assert path.count("M") == 2
    assert svg.count('class="nan"') == 1


def test_nothing_to_draw_is_no_chart():
    assert chart(curves([])) == ""
    assert chart(curves([-1.0, -2.0]), log=True) == ""


def test_twenty_styles_differ():
    assert len({style_of(number) for number in range(MOST_STYLES)}) == MOST_STYLES


def test_a_scatter_places_numbers_and_texts():
    points = [
        (Labelled("a", 0), 1.0, 2.0),
        (Labelled(HOSTILE, 1), "tree", 3.0),
        (Labelled("c", 2), None, 1.0),
    ]
    svg = str(scatter_chart("y over x", points, description="Two runs."))
    assert Tree(svg).faults == []
    assert svg.count("<circle") == 2
    assert "<script" not in svg
    assert scatter_chart("nothing", [], description="") == ""


def test_parallel_lines_have_a_gap_where_a_run_has_no_value():
    columns = [Column("depth", [3.0, 4.0]), Column(HOSTILE, ["a", "b"]), Column("lr", [None, 0.1])]
    labels = [Labelled(HOSTILE, 0), Labelled("b", 1)]
    svg = str(parallel_chart("What varies", columns, labels, description="Two runs."))
    assert Tree(svg).faults == []
    assert "<script" not in svg
    assert [path.count("L") for path in re.findall(r'class="line[^"]*" d="([^"]*)"', svg)] == [1, 2]
    assert parallel_chart("one", columns[:1], labels, description="") == ""
    constant = parallel_chart("two", [Column("a", [1.0]), Column("b", [1e308])], labels[:1], description="")
    assert "inf" not in str(constant)
