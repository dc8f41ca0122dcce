from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from varv.fronts.web.charts import (
    Cell,
    Curve,
    Level,
    Line,
    Mark,
    Point,
    Rung,
    Spot,
    heat_map,
    line_chart,
    plane_chart,
    step_ladder,
)
from varv.kernel.clock import DAY, Instant, instant

START = instant("2013-02-01")


def days(values: list[float | None], half: float | None = None) -> list[Point]:
    return [
        Point(
            Instant(START + n * DAY),
            value,
            None if value is None or half is None else value - half,
            None if value is None or half is None else value + half,
        )
        for n, value in enumerate(values)
    ]


def chart(*lines: Line, **options) -> str:
    return str(line_chart("Loss by day", lines, description="Three days.", **options))


def test_a_chart_is_well_formed_and_tells_its_title_and_description_to_those_who_do_not_see_it():
    svg = chart(
        Line("v1", days([0.4, 0.5, 0.45], 0.1)), marks=[Mark(Instant(START + DAY), "v2 promoted", "good")]
    )
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert [child.text for child in root[:2]] == ["Loss by day", "Three days. Events: v2 promoted."]
    assert root.get("aria-labelledby") == f"{root[0].get('id')} {root[1].get('id')}"


def test_a_chart_has_no_script_and_no_style_that_a_strict_policy_would_refuse():
    svg = chart(Line("v1", days([0.4, 0.5, 0.45], 0.1)), levels=[Level(0.5, "margin")])
    assert "style=" not in svg
    assert "<script" not in svg


def test_text_from_events_is_escaped():
    svg = chart(
        Line("<b>", days([1.0, 2.0])), marks=[Mark(START, "<script>x</script>")], levels=[Level(1.0, "a & b")]
    )
    assert "<script" not in svg
    assert "<b>" not in svg
    assert "a &amp; b" in svg


def test_a_line_breaks_where_a_value_is_missing():
    svg = chart(Line("v1", days([1.0, 2.0, None, 2.0, 1.0])))
    path = re.search(r'class="line one" d="([^"]+)"', svg)
    assert path is not None
    assert path[1].count("M") == 2


def test_the_axis_spans_what_has_a_value():
    assert chart(Line("loss", days([0.4, 0.5, None, None, None]))) == chart(Line("loss", days([0.4, 0.5])))


def test_a_single_point_is_drawn_as_a_dot():
    assert 'class="dot one"' in chart(Line("v1", days([1.0])))


def test_a_chart_without_values_is_nothing():
    assert chart(Line("v1", days([None, None]))) == ""
    assert chart() == ""


def test_an_early_interval_as_wide_as_the_world_does_not_flatten_the_rest():
    wild = Point(START, 0.0, -1e6, 1e6)
    svg = chart(Line("v1", [wild, *days([0.01, 0.02, 0.015], 0.01)]))
    ends = [float(y) for y in re.findall(r'text x="-8" y="[\d.−-]+" text-anchor="end">([\d.]+)<', svg)]
    assert max(ends) < 1.0


def test_intervals_that_are_always_wider_than_the_line_moves_are_drawn_whole():
    svg = chart(Line("v1", days([0.70, 0.71, 0.70, 0.71, 0.70], 0.2)))
    band = re.search(r'class="band one" d="([^"]+)"', svg)
    assert band is not None
    heights = [float(point.split(" ")[1]) for point in re.split("[ML]", band[1].rstrip("Z")) if point]
    assert min(heights) > 0
    assert max(heights) < 200


def test_a_value_that_never_changes_still_has_an_axis():
    assert "0.5" in chart(Line("v1", days([0.5, 0.5, 0.5])))


def test_names_of_marks_that_would_run_into_each_other_are_left_to_their_titles():
    marks = [Mark(Instant(START + n * 1_000_000), f"v{n} promoted", "good") for n in range(5)]
    svg = chart(Line("loss", days([1.0, 2.0, 3.0])), marks=marks)
    assert svg.count("<title>v") == 5
    assert len(re.findall(r">v\d</text>", svg)) == 1


def test_marks_outside_the_time_shown_are_left_out():
    svg = chart(Line("v1", days([1.0, 2.0])), marks=[Mark(Instant(START + 9 * DAY), "v9 promoted")])
    assert "v9" not in svg


def test_two_thousand_points_become_a_path_of_a_few_hundred_that_keeps_the_peak():
    values: list[float | None] = [0.0] * 2000
    values[1234] = 5.0
    svg = chart(Line("v1", days(values)))
    path = re.search(r'class="line one" d="([^"]+)"', svg)
    assert path is not None
    heights = [float(point.split(" ")[1]) for point in re.split("[ML]", path[1]) if point]
    assert len(heights) < 450
    assert min(heights) < 20 < max(heights)


def test_the_same_chart_is_the_same_byte_for_byte():
    assert chart(Line("v1", days([1.0, 2.0]))) == chart(Line("v1", days([1.0, 2.0])))


def test_a_ladder_says_how_far_a_rollout_came():
    rungs = [Rung("Shadow", 0.0, "done", "1 Feb"), Rung("5 %", 0.05, "now"), Rung("100 %", 1.0, "open")]
    root = ET.fromstring(str(step_ladder("Steps of v2", rungs)))
    assert root[0].text == "Steps of v2. Shadow done 1 Feb, 5 % under way, 100 % not reached"


def test_a_heat_map_leaves_what_was_not_measured_empty_and_rings_what_is_marked():
    rows = [("temp", [Cell(0), None, Cell(4, marked=True, title="<i>")])]
    svg = str(heat_map("Drift", rows, ["", "", "March"], description="One feature."))
    ET.fromstring(svg)
    assert svg.count("<rect") == 2
    assert svg.count('class="ring"') == 1
    assert "<i>" not in svg


def test_a_heat_map_without_rows_is_nothing():
    assert heat_map("Drift", [], [], description="") == ""


def test_a_plane_has_curves_with_names_at_their_ends_and_spots_that_say_what_they_are():
    curve = Curve("hindsight", [(0, 0.49), (5, 0.47), (20, 0.465)])
    spots = [Spot("never", 0, 0.49), Spot("<weekly>", 20, 0.468), Spot("weekly too", 20, 0.4681)]
    svg = str(plane_chart("Loss against trainings", [curve], spots, description="Three prices."))
    root = ET.fromstring(svg)
    assert [child.text for child in root[:2]] == ["Loss against trainings", "Three prices."]
    assert svg.count('class="ring"') == 3
    assert svg.count('class="dot one"') == 3
    assert "<weekly>" not in svg
    # Two spots in one place have one name beside them, and each its own when pointed at.
    assert svg.count(">weekly too<") == 1
    assert svg.count("&lt;weekly&gt;") == 2
    assert "style=" not in svg
    assert plane_chart("Nothing", [], [], description="") == ""
