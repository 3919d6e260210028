"""Figures of fits: what they draw of their tables."""

import numpy as np
import pytest

from vxlab.studies.expressivity.claims import equal_parameters, error_summary
from vxlab.studies.expressivity.fits import random_errors
from vxlab.views.figures.expressivity import equal_parameter_ratios, error_against

FAMILIES = ["LoRA", "VeRA", "LoRA-XS", "LiDB, rank 1", "full"]


@pytest.fixture(scope="module")
def errors():
    return random_errors([(6, 6), (4, 8), (8, 4)], matrices=3, vera_rank=6)


def _named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_a_family_is_a_line_of_its_means_with_intervals(errors):
    summary = error_summary(errors[errors["shape"] == "6×6"])
    figure = error_against(summary, title="error")
    for family in FAMILIES:
        (line,) = _named(figure, family)
        own = summary[summary["family"] == family]
        assert list(line.x) == list(own["parameters"])
        assert list(line.y) == list(own["mean"])
        assert list(line.y + line.error_y.array) == pytest.approx(list(own["high"]))
    looks = {(trace.line.color, trace.marker.symbol) for trace in figure.data if trace.name in FAMILIES}
    assert len(looks) == len(FAMILIES)


def test_the_dashed_line_is_one_parameter_for_one_entry(errors):
    figure = error_against(error_summary(errors[errors["shape"] == "6×6"]), title="error")
    (line,) = _named(figure, "any fixed linear family, random target")
    assert line.line.dash == "dash"
    assert list(line.y) == pytest.approx([1 - x / 36 for x in line.x])


def test_the_axis_may_count_dimensions(errors):
    summary = error_summary(errors[errors["shape"] == "6×6"])
    figure = error_against(summary, "freedom", title="error")
    (line,) = _named(figure, "LoRA")
    assert list(line.x) == sorted(summary[summary["family"] == "LoRA"]["freedom"])
    assert "dimensions" in figure.layout.xaxis.title.text


def test_shapes_have_panels_and_one_legend(errors):
    figure = error_against(error_summary(errors), title="error")
    assert [each.text for each in figure.layout.annotations if "×" in each.text] == ["6×6", "4×8", "8×4"]
    assert [trace.showlegend for trace in _named(figure, "LoRA")] == [True, False, False]


def test_one_matrix_has_no_interval_and_is_still_drawn(errors):
    figure = error_against(error_summary(errors[(errors["shape"] == "6×6") & (errors["matrix"] == 0)]), title="error")
    (line,) = _named(figure, "LoRA")
    assert np.isnan(line.error_y.array).all()
    assert not any("nan" in told for told in line.customdata)


def test_ratios_have_a_line_for_each_shape_and_a_band_of_equality(errors):
    table = equal_parameters(errors)
    figure = equal_parameter_ratios(table)
    for shape, rows in table.groupby("shape"):
        (line,) = _named(figure, shape)
        assert list(line.y) == list(rows["ratio"])
    band = next(shape for shape in figure.layout.shapes if shape.type == "rect")
    assert (band.y0, band.y1) == (0.95, 1.05)
