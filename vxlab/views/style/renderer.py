"""How a live notebook shows a plain figure: with the page's theme, and an image of its own name to download."""

from typing import Any

import plotly.io as pio
from plotly.io.base_renderers import PlotlyRenderer

from vxlab.views.style.theme import PAPER, plotly_config, theme_style

_NAME, _PLOTLY = "vxlab", "plotly_mimetype"


def show_themed() -> None:
    """Let plotly show figures of the house by :class:`HouseRenderer`, where its own renderer for notebooks is set."""
    names = (pio.renderers.default or "").split("+")
    if _PLOTLY in names:
        pio.renderers[_NAME] = HouseRenderer()
        pio.renderers.default = "+".join(_NAME if name == _PLOTLY else name for name in names)


class HouseRenderer(PlotlyRenderer):  # type: ignore[misc] # plotly says nothing of its types
    """Show figures as plotly does; those of the house with a style sheet before them, for dark pages."""

    def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, Any]:
        """Return what a notebook keeps of a figure."""
        bundle: dict[str, Any] = super().to_mimebundle(fig_dict)
        if fig_dict.get("layout", {}).get("paper_bgcolor") == PAPER:
            from IPython.display import HTML, display

            # With every figure: a sheet shown once would go with its cell's output.
            display(HTML(theme_style()))  # type: ignore[no-untyped-call]
            drawing = bundle["application/vnd.plotly.v1+json"]
            drawing["config"] = {**drawing.get("config", {}), **plotly_config(fig_dict)}
        return bundle
