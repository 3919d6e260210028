"""Error bars: their ends, their one look, and what is missing."""

import json
import re
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

import vxlab.views
from vxlab.views.style.bars import bar_look, error_bars


def test_bars_reach_from_the_lower_to_the_upper_end_on_the_axis():
    value, low, high = pd.Series([0.5, 0.7]), pd.Series([0.25, 0.5]), pd.Series([1.0, 0.75])
    bars = go.Scatter(y=100 * value, error_y=error_bars(value, low, high, "#123456", unit=100)).error_y
    assert list(bars.array) == [50.0, 100 * (0.75 - 0.7)]
    assert list(bars.arrayminus) == [25.0, 100 * (0.7 - 0.5)]
    assert bars.color == "#123456"


def test_a_missing_end_has_no_bar():
    bars = error_bars(pd.Series([0.5]), pd.Series([None], dtype=float), pd.Series([None], dtype=float), "#123456")
    assert json.loads(go.Figure(go.Scatter(y=[0.5], error_y=bars)).to_json())["data"][0]["error_y"]["type"] == "data"
    assert bars["array"].isna().all()


def test_bars_look_alike_in_every_figure():
    assert bar_look() == {"type": "data", "thickness": 1.5, "width": 4}
    assert bar_look("#123456", faint=True) == {"type": "data", "thickness": 1, "width": 2, "color": "#123456"}
    by_hand = re.compile(r"\"thickness\"")
    sources = {path.name for path in Path(vxlab.views.__path__[0]).rglob("*.py") if by_hand.search(path.read_text())}
    assert sources == {"bars.py"}
