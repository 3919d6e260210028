"""An explorer of three choices, small enough to know every answer."""

import pandas as pd
import plotly.graph_objects as go

from vxlab.views.explorers.explorer import View
from vxlab.views.style.theme import apply_style

SIZES = {("LoRA", "query"): [1, 2, 4], ("LoRA", "down"): [1, 2, 4], ("VeRA", "query"): [4, 16]}


class Toy:
    """The powers of a rank: a line, a heat map and a table."""

    menus, slider = ("method", "role"), "rank"

    def __init__(self, table=True):
        self.seen, self._table = [], table

    def offered(self):
        return {choice: [(f"r={rank}", rank) for rank in ranks] for choice, ranks in SIZES.items()}

    def canvas(self):
        figure = go.Figure()
        figure.add_scatter(x=[0, 1, 2], name="power")
        figure.add_heatmap(x=["a", "b"], y=["c"], colorbar={"title": "heat"}, yaxis="y2")
        figure.update_layout(yaxis={"domain": [0, 0.6]}, yaxis2={"domain": [0.7, 1], "anchor": "x"})
        return apply_style(figure, height=400)

    def view(self, choice, stop):
        self.seen.append((choice, stop))
        lines = [{"y": [stop**power for power in (0, 1, 2)]}, {"z": [[stop, -stop]]}]
        table = pd.DataFrame({"method": [choice[0]] * len(choice[1][:3]), "rank": stop})
        words = [f"<b>{', '.join(choice)}</b> at {stop}"]
        return View(lines, words, {"title.text": str(stop)}, table if self._table else None)
