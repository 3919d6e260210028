"""The figure of captured gradients draws what the table holds."""

import numpy as np
import pandas as pd
import pytest

from vxlab.studies.capture import CAPTURE_COLUMNS
from vxlab.views.figures.capture import capture_against_parameters


def _table():
    rows = []
    for family, sizes in (("LoRA", {1: 100, 4: 400}), ("LoRA-XS basis=top", {4: 16, 8: 64})):
        for rank, parameters in sizes.items():
            for block, role in ((0, "query"), (1, "query"), (0, "value")):
                share = 0.01 * rank * (block + 1)
                row = (f"{block}.{role}", block, role, f"{family} r={rank}", family, rank, parameters)
                rows.append((*row, share, share / 2, share * 2, 0.5, 0.001))
    described = ["layer", "block", "role", "method", "family", "rank", "parameters"]
    return pd.DataFrame(rows, columns=[*described, "share", "low", "high", "best", "chance"])


def _named(figure, name):
    return [trace for trace in figure.data if trace.name == name and trace.x[0] is not None]


def test_the_toy_table_has_the_real_ones_columns():
    assert set(_table().columns) == set(CAPTURE_COLUMNS)


def test_a_line_a_family_by_total_parameters_and_mean_share_with_whiskers():
    (lora,) = _named(capture_against_parameters(_table()), "LoRA")
    assert list(lora.x) == [300, 1200]
    assert list(lora.y) == pytest.approx([0.04 / 3, 0.16 / 3])
    assert list(lora.error_y.array) == pytest.approx([0.04 / 3, 0.16 / 3])
    assert list(lora.error_y.arrayminus) == pytest.approx([0.02 / 3, 0.08 / 3])
    assert list(lora.customdata[0]) == ["LoRA r=1", pytest.approx(0.01), pytest.approx(0.02)]


def test_best_and_chance_are_drawn_for_each_family_and_named_once():
    figure = capture_against_parameters(_table())
    for dash, level in (("dot", 0.5), ("dash", 0.001)):
        lines = [t for t in figure.data if t.line.dash == dash and t.x[0] is not None]
        assert [list(line.y) for line in lines] == [pytest.approx([level] * 2)] * 2
    legend = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert legend[:2] == ["LoRA", "LoRA-XS basis=top"]
    assert [name.partition(":")[0] for name in legend[2:]] == ["dotted", "dashed"]
    low, high = figure.layout.yaxis.range
    assert low < np.log10(0.001) < np.log10(0.5) < high


def test_a_panel_a_role_has_that_roles_layers_alone():
    figure = capture_against_parameters(_table(), by_role=True)
    query, value = _named(figure, "LoRA")
    assert list(query.x) == [200, 800]
    assert list(value.x) == [100, 400]
    assert figure.layout.xaxis.title.text == "query: trained parameters"
    assert figure.layout.xaxis2.title.text == "value: trained parameters"
    assert [query.showlegend, value.showlegend] == [True, False]


def test_zero_and_unknown_shares_leave_a_finite_axis():
    table = _table().assign(share=0.0, low=np.nan, high=np.nan, chance=0.0)
    assert np.isfinite(capture_against_parameters(table).layout.yaxis.range).all()
    assert np.isfinite(capture_against_parameters(table.assign(share=np.nan)).layout.yaxis.range).all()
