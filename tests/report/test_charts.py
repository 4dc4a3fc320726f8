import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmend.errors import InputError
from seqmend.report import arm_chart_svg
from seqmend.report.arms import arm_points, group_points
from seqmend.report.detection_charts import curve_styles
from seqmend.report.record import Metrics
from seqmend.report.svg import DARK, LIGHT, Canvas, Scale


@given(st.floats(-1e3, 1e3), st.floats(1e-5, 1e4), st.integers(2, 9))
def test_ticks_are_few_round_and_inside(low, width, at_most):
    scale = Scale(low, low + width, 0, 100)
    ticks = scale.ticks(at_most)
    assert len(ticks) <= at_most + 1
    assert [text for _, text in ticks] == sorted({text for _, text in ticks}, key=float)
    for value, text in ticks:
        assert -1e-3 <= scale(value) <= 100 + 1e-3  # a hundred-millionth of the values is all that floats tell apart
        assert float(text) == pytest.approx(value, abs=1e-9)


@given(st.lists(st.floats(-10, 10), min_size=1))
def test_a_scale_holds_its_values(values):
    scale = Scale.around(values, 10, 90)
    assert all(10 <= scale(value) <= 90 for value in values)


def test_arms_are_means_over_seeds_without_recorded_intervals(metrics):
    metrics["arm_intervals"] = []
    metrics["arms"].append({**metrics["arms"][0], "split": "valid", "metrics": {"ndcg@10": 99.0}})
    points = {(p.arm, p.test_history): p for p in arm_points(Metrics.parse(metrics), "ndcg@10", "sasrec")}
    raw = points["raw", "as_is"]
    assert raw.mean == pytest.approx(0.0712)
    assert raw.ci95 is None
    assert raw.by_seed == pytest.approx([0.0703, 0.0712, 0.0721])


def test_arms_have_one_order_and_unknown_ones_come_last(metrics):
    extra = {**metrics["arms"][0], "arm": "someone's own"}
    metrics["arms"] = [extra, *reversed(metrics["arms"])]
    order = dict.fromkeys(point.arm for point in arm_points(Metrics.parse(metrics), "ndcg@10", "sasrec"))
    assert list(order) == ["raw", "random", "llm_free", "mended", "oracle_same_scope", "oracle", "someone's own"]


def test_groups_run_from_short_to_long(metrics):
    points = group_points(Metrics.parse(metrics), "ndcg@10", "sasrec")
    assert list(dict.fromkeys(point.group for point in points)) == ["short", "medium", "long"]
    assert {(point.group, point.n) for point in points} == {("short", 51), ("medium", 310), ("long", 582)}


def test_the_chart_file_stands_alone(metrics):
    metrics["dataset"]["name"] = "<script>alert(1)</script> & Söhne"
    text = arm_chart_svg(metrics)
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in text
    assert "script" not in text
    assert "& Söhne" in "".join(root.itertext())
    assert "0.0756" in text
    assert "HR@10" in arm_chart_svg(metrics, metric="hr@10")


def test_marks_stand_where_their_values_are(metrics):
    root = ElementTree.fromstring(arm_chart_svg(metrics))
    dots = [
        (float(re.search(r"\n([\d.]+)", mark.get("data-tip")).group(1)), float(mark.get("cx")))
        for mark in root.iter()
        if mark.get("data-tip")
    ]
    assert len(dots) == 11
    assert [x for _, x in sorted(dots)] == sorted(x for _, x in dots)


def test_a_run_without_arms_has_no_chart(metrics):
    with pytest.raises(InputError, match="no arm with ndcg@10"):
        arm_chart_svg({**metrics, "arms": []})
    with pytest.raises(InputError, match="no arm with ndcg@10 to draw for GRU4Rec"):
        arm_chart_svg(metrics, backbone="GRU4Rec")


def test_texts_are_escaped():
    canvas = Canvas(10, 10, '"><script>alert(1)</script>')
    canvas.text(0, 0, "<b>&</b>", "#000")
    canvas.dot(0, 0, 1, "#000", tip='" onload="alert(1)')
    root = ElementTree.fromstring(canvas.markup())
    assert [element.tag for element in root.iter()] == ["svg", "text", "circle"]
    assert root[0].text == "<b>&</b>"
    assert "onload" not in root[1].attrib


def test_curves_differ_in_more_than_colour():
    styles = curve_styles(["fused", "llm_free", *"abcdefgh"])
    assert len(set(styles.values())) == 10
    assert len({dash for _, dash in list(styles.values())[:7]}) == 6


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_colours_can_be_read(colours):
    """WCAG 2.2: text 4.5 to 1 on what it stands on, marks 3 to 1."""
    for role, colour in colours.items():
        if role in ("paper", "card", "line"):
            continue
        least = 3.0 if role == "random" or role.startswith("series") else 4.5  # these colour no text
        assert all(contrast(colour, colours[ground]) >= least for ground in ("paper", "card")), role


def contrast(a: str, b: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)
