"""One look for every figure: palette, marks, template, and how all of it turns on a dark page.

Figures are drawn for a light page, and exported so. A page's style sheet (:func:`theme_css`) swaps the house's colours,
and no others, where the page is dark; :data:`PAPER` marks the figures that it may touch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import plotly.graph_objects as go

COLOURS = ("#0065a8", "#b84300", "#009e73", "#cc6fa6", "#be8a00", "#3399dd", "#555555")
"""Okabe and Ito's hues, told apart by colour-blind readers, as dark as a mark on white needs; symbols and dashes differ
too."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "triangle-down")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
LABELS = ("#0065a8", "#b84300", "#007a58", "#9a3f75", "#855a00", "#1b6a9e", "#555555")
"""The same hues for text, which needs more contrast than a mark."""
GREY, INK = "#555555", "#222222"
"""Of text and marks that carry no series' colour."""
PAPER, CHOSEN = "#fffffe", "#e8f0f7"
"""The page's own colour, a hair off white: behind a figure, a table's cells, and round marks that lie on others; and
behind a table's chosen row."""
AXIS, SHADE = "#8c8c8c", "rgba(128,128,128,0.2)"
"""Axis lines, and areas behind the marks: as they are on light and on dark pages."""
DIVERGING = ((0.0, "#4393c3"), (0.25, "#a6cfe4"), (0.5, "#f7f7f7"), (0.75, "#f6b799"), (1.0, "#d6604d"))
BLUE_ORANGE = ((0.0, "#5aa0d0"), (0.5, "#f7f7f7"), (1.0, "#f08a5d"))
"""Colour scales of heat maps: black text is readable on all of them; the second where words name the colours."""
ON_HEAT = "#000000"
RANKS = ("#7d5fd3", "#3380cc", "#11888a", "#3f8f3f", "#8a8410", "#c0661a")
"""Lines of rising ranks, from the lowest: whatever is between two of these hues has 3 to 1 on light and on dark pages,
where it stays as it is."""

_STEPS = ((0.01, None), (0.001, 0.01), (0.0001, 0.001), (None, 0.0001))
"""Between one tick and the next."""
SCORES = {"tickformatstops": [{"dtickrange": [*step], "value": f".{2 + i}f"} for i, step in enumerate(_STEPS)]}
SHARES = {"tickformatstops": [{"dtickrange": [*step], "value": f".{i}%"} for i, step in enumerate(_STEPS)]}
"""An axis of scores, or of shares in percent: as many decimals as its step needs, so that no two ticks say the same."""

_SERIES_AT_NIGHT = ("#4c9be0", "#f07f3c", "#2ec49a", "#eba3cc", "#f5c542", "#a5e3ff", "#b8b8b8")
_NIGHT = {"ink": "#e6e6e6", "paper": "var(--jp-layout-color0, #111111)", "chosen": "#22384c", "line": "#6b7480"}
_DAY = {"ink": INK, "paper": "#ffffff", "chosen": CHOSEN, "line": AXIS}
_SCOPES = {
    "jupyter": 'body[data-jp-theme-light="false"] {{ {} }}',
    "page": "@media screen and (prefers-color-scheme: dark) {{ body {{ {} }} }}",
}
_OURS = ".main-svg[style*='rgb(255, 255, 254)']"
"""A figure with PAPER behind it; plotly keeps its legend and menus in a second drawing beside the first."""


def look(i: int) -> dict[str, Any]:
    """Return the line and marker of the i-th series."""
    colour = COLOURS[i % len(COLOURS)]
    return {
        "line": {"color": colour, "dash": DASHES[i % len(DASHES)]},
        "marker": {"color": colour, "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 9},
    }


def label_font(i: int) -> dict[str, str]:
    """Return the font of words that stand beside the i-th series, in its hue."""
    return {"color": LABELS[i % len(LABELS)]}


def tick_labels(values: Sequence[float], digits: int = 2) -> list[str]:
    """Return numbers as text, of so many significant digits or of as many as tell them apart.

    >>> tick_labels([0.001, 0.00316]), tick_labels([0.00101, 0.00102])
    (['0.001', '0.0032'], ['0.00101', '0.00102'])
    """
    several = (f"{{:.{each}g}}" for each in range(digits, 17))
    written = [[form.format(value) for value in values] for form in several]
    return next((labels for labels in written if len(set(labels)) == len(set(values))), written[-1])


def apply_style(figure: go.Figure, height: int, legend: bool = True, name: str = "figure") -> go.Figure:
    """Give a figure the house's look and return it.

    Args:
        figure: changed in place.
        height: in pixels.
        legend: whether there is one.
        name: what a downloaded image is called.
    """
    figure.update_layout(
        template="plotly_white", height=height, margin={"l": 70, "r": 30, "t": 40, "b": 60}, showlegend=legend,
        legend={"orientation": "h", "y": 1.03, "yanchor": "bottom", "x": 0}, font={"size": 14, "color": INK},
        paper_bgcolor=PAPER, plot_bgcolor="rgba(0,0,0,0)", meta={"name": name},
        hoverlabel={"bgcolor": PAPER, "bordercolor": GREY, "font": {"color": INK}},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": AXIS, "activecolor": COLOURS[5]},
    )  # fmt: skip
    figure.update_xaxes(automargin=True, showline=True, linecolor=AXIS)
    figure.update_yaxes(automargin=True, showline=True, linecolor=AXIS)
    return figure


def plotly_config(figure: Mapping[str, Any]) -> dict[str, Any]:
    """Return plotly's settings for showing a figure: its image is downloaded at twice the size, under its own name.

    Args:
        figure: as JSON has it.

    >>> plotly_config({"layout": {"meta": {"name": "learning curves"}}})["toImageButtonOptions"]["filename"]
    'learning_curves'
    """
    meta = figure.get("layout", {}).get("meta")
    name = meta.get("name", "figure") if isinstance(meta, Mapping) else "figure"
    image = {"format": "png", "scale": 2, "filename": str(name).replace(" ", "_")}
    return {"responsive": True, "displaylogo": False, "toImageButtonOptions": image}


def theme_css(scope: Literal["jupyter", "page"]) -> str:
    """Return the rules that give figures and vxlab's tables the colours of their page.

    Args:
        scope: whether JupyterLab's theme says that a page is dark, or the reader's system.
    """
    tables = (Path(__file__).parent / "theme.css").read_text(encoding="utf-8")
    return f"body {{ {_variables(_DAY)} }}\n{tables}\n{_SCOPES[scope].format(_variables(_NIGHT) + _swaps())}"


def theme_style() -> str:
    """Return :func:`theme_css` of JupyterLab as a ``<style>``."""
    return f'<style class="vx-theme">{theme_css("jupyter")}</style>'


def _variables(colours: Mapping[str, str]) -> str:
    return " ".join(f"--vx-look-{name}: {colour};" for name, colour in colours.items())


def _swaps() -> str:
    """Return a rule for every colour that a figure is drawn in: plotly writes them into each element's style."""
    night = {**dict(zip(COLOURS, _SERIES_AT_NIGHT, strict=True)), **dict(zip(LABELS, _SERIES_AT_NIGHT, strict=True))}
    night |= {INK: "var(--vx-look-ink)", PAPER: "var(--vx-look-paper)", CHOSEN: "var(--vx-look-chosen)"}
    # Of plotly_white: grids, and heads of tables; its menus and sliders.
    night |= {"#ebf0f8": "#2c3138", "#c8d4e3": "#2b3440"}
    night |= {"#bec8d9": "#6b7480", "#f8fafc": "#2c3138", "#f4faff": "#22384c", "#dbdde0": "#4a525c"}
    rules = [_rule(kind, light, dark) for light, dark in night.items() for kind in ("fill", "stroke")]
    # Text of plotly's own choice on a heat map is #444444 too: it keeps its colour.
    rules += [_rule("stroke", "#444444", "#a0a0a0"), _rule("stroke", "#333333", "#a0a0a0")]
    rules += [_rule("stroke", "#ffffff", "var(--vx-look-paper)")]
    behind = f"& {_OURS} {{ background: transparent !important; }}"
    return "\n".join(["", behind, f"& :is({_OURS}, {_OURS} ~ *) {{", *rules, "}"])


def _rule(kind: str, light: str, dark: str) -> str:
    rgb = ", ".join(str(int(light[i : i + 2], 16)) for i in (1, 3, 5))
    return f"& [style*='{kind}: rgb({rgb})'] {{ {kind}: {dark} !important; }}"
