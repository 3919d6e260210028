"""The band slider: how much of a weight, and of what was learnt, lies in a band of the weight's singular vectors.

Two faces over one table: widgets in a live notebook, and a plotly figure with its own controls, which works in an
exported page without a kernel.
"""

from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.experiments.progress import in_live_notebook
from vxlab.views.figures import COLOURS, DASHES, SYMBOLS, styled

if TYPE_CHECKING:
    from vxlab.views.subspace_widget import SubspaceWidget

Choice = tuple[str, str]
"""a role and a band"""

_MEASURED = (
    ("weight", "W"),
    ("output", "ΔW, its outputs"),
    ("input", "ΔW, its inputs"),
    ("both", "ΔW, both"),
)
_CHANCE = (
    ("chance_output", "chance, outputs"),
    ("chance_input", "chance, inputs"),
    ("chance_both", "chance, both"),
)
_SHADE = {"yref": "y domain", "y0": 0, "y1": 1, "fillcolor": COLOURS[4], "opacity": 0.25, "line_width": 0}


def explore_bands(
    energies: pd.DataFrame, spectra: pd.DataFrame, *, update: str, interactive: bool | None = None
) -> "go.Figure | SubspaceWidget":
    """Show one band of one role at a time: where it lies in the spectra, and what lies in it, block by block.

    Args:
        energies: from ``band_energies``.
        spectra: from ``spectra_table``, of ``W`` and of the update.
        update: whose ΔW.
        interactive: widgets (needs a kernel), or a figure with its own menu and slider; None: widgets where there is
            a live notebook to show them.
    """
    own = energies[energies["update"] == update]
    if in_live_notebook() if interactive is None else interactive:
        from vxlab.views.subspace_widget import SubspaceWidget

        return SubspaceWidget(own, spectra, update)
    return _figure(own, spectra, update)


def choices(energies: pd.DataFrame) -> dict[Choice, list[tuple[str, float]]]:
    """Return what can be chosen: for each role and band its sizes, as (what the slider says, fraction)."""
    found: dict[Choice, list[tuple[str, float]]] = {}
    for (role, band), rows in energies.groupby(["role", "band"], sort=False):
        sizes = rows[["rank", "fraction"]].drop_duplicates("fraction").sort_values("fraction")
        said = zip(sizes["rank"], sizes["fraction"], strict=True)
        found[str(role), str(band)] = [(f"r={rank}", float(fraction)) for rank, fraction in said]
    return found


def shown(
    energies: pd.DataFrame, spectra: pd.DataFrame, update: str, choice: Choice, fraction: float
) -> tuple[list[dict[str, list[float]]], tuple[float, float], str]:
    """Return what a choice shows: the points of every trace, where the band lies, and a sentence.

    Args:
        energies: of one update.
        spectra: from ``spectra_table``.
        update: whose.
        choice: role and band.
        fraction: of the triplets that the band holds.
    """
    role, band = choice
    curves = [_curve(spectra, kind, role) for kind in ("W", update)]
    rows = energies[(energies["role"] == role) & (energies["band"] == band) & (energies["fraction"] == fraction)]
    rows = rows.sort_values("block")
    points = [{"x": list(rows["block"]), "y": _rounded(rows[column])} for column, _ in (*_MEASURED, *_CHANCE)]
    start = {"top": 0.0, "middle": (1 - fraction) / 2, "bottom": 1 - fraction}[band]
    mean = rows[[column for column, _ in (*_MEASURED, *_CHANCE)]].mean()
    told = (
        f"<b>{role}, {band} {100 * fraction:.3g} % of the triplets (r={rows['rank'].iloc[0]}), mean of blocks:</b> W "
        f"{mean['weight']:.1%}; ΔW {mean['output']:.1%} of its outputs (chance {mean['chance_output']:.1%}), "
        f"{mean['input']:.1%} of its inputs ({mean['chance_input']:.1%}), {mean['both']:.1%} both "
        f"({mean['chance_both']:.1%})"
    )
    return curves + points, (start, start + fraction), told


def frame(update: str) -> go.Figure:
    """Return the figure with empty traces, in the order of :func:`shown`, and the band's shade as its first shape."""
    titles = ("energy of the first triplets of each", "energy in the band, by block")
    figure = make_subplots(cols=2, subplot_titles=titles, horizontal_spacing=0.1)
    for i, name in enumerate(("spectrum of W", f"spectrum of ΔW ({update})")):
        line = {"color": COLOURS[i], "dash": DASHES[i], "width": 2.5}
        figure.add_scatter(mode="lines", name=name, line=line, row=1, col=1)
    for i, (_, name) in enumerate(_MEASURED):
        look = {"marker": {"symbol": SYMBOLS[i], "size": 9, "color": COLOURS[i]}, "line": {"color": COLOURS[i]}}
        figure.add_scatter(mode="lines+markers", name=name, **look, row=1, col=2)
    for i, (_, name) in enumerate(_CHANCE):
        line = {"color": COLOURS[i + 1], "dash": "dot", "width": 1.5}
        figure.add_scatter(mode="lines", name=name, line=line, row=1, col=2)
    figure.add_shape(type="rect", xref="x", x0=0, x1=0, **_SHADE)
    figure.add_annotation(
        x=0, y=1.12, xref="paper", yref="paper", xanchor="left", yanchor="bottom", showarrow=False, text="",
        font_size=13,
    )  # fmt: skip
    figure.update_xaxes(title="share of the triplets, the largest first", tickformat=".0%", range=[0, 1], col=1)
    figure.update_xaxes(title="transformer block, from the input", col=2)
    figure.update_yaxes(title="share of ‖·‖²<sub>F</sub>", tickformat=".0%", range=[0, 1.02])
    styled(figure, height=640)
    figure.update_layout(margin={"t": 175, "b": 150}, legend={"y": 1.2, "font_size": 12})
    return figure


def _figure(energies: pd.DataFrame, spectra: pd.DataFrame, update: str) -> go.Figure:
    offered, figure = choices(energies), frame(update)
    steps = {
        choice: [(said, _change(energies, spectra, update, choice, size)) for said, size in sizes]
        for choice, sizes in offered.items()
    }
    traces, layout = next(iter(steps.values()))[0][1]
    for i, trace in enumerate(figure.data):
        trace.update(x=traces["x"][i], y=traces["y"][i])
    figure.layout.shapes[0].update(x0=layout["shapes[0].x0"], x1=layout["shapes[0].x1"])
    figure.layout.annotations[-1].text = layout["annotations[2].text"]
    figure.update_layout(sliders=_sliders(steps), updatemenus=[_menu(steps)])
    return figure


def _change(
    energies: pd.DataFrame, spectra: pd.DataFrame, update: str, choice: Choice, fraction: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the changes to all traces and to the layout that show a choice."""
    points, (x0, x1), told = shown(energies, spectra, update, choice, fraction)
    traces = {"x": [each["x"] for each in points], "y": [each["y"] for each in points]}
    return traces, {"shapes[0].x0": x0, "shapes[0].x1": x1, "annotations[2].text": told}


def _sliders(steps: dict[Choice, list[tuple[str, Any]]]) -> list[dict[str, Any]]:
    """Return a slider over each choice's sizes, of which the menu shows one."""
    return [
        {
            "steps": [{"label": said, "method": "update", "args": list(change)} for said, change in sizes],
            "active": 0, "visible": i == 0, "x": 0.3, "len": 0.7, "y": -0.2, "yanchor": "top",
            "pad": {"t": 0}, "currentvalue": {"visible": False},
        }
        for i, sizes in enumerate(steps.values())
    ]  # fmt: skip


def _menu(steps: dict[Choice, list[tuple[str, Any]]]) -> dict[str, Any]:
    """Return the menu of roles and bands; choosing one brings its slider, at its smallest band."""
    buttons = []
    for i, ((role, band), sizes) in enumerate(steps.items()):
        traces, layout = sizes[0][1]
        sliders = {f"sliders[{j}].visible": i == j for j in range(len(steps))} | {f"sliders[{i}].active": 0}
        buttons.append({"label": f"{role}: {band}", "method": "update", "args": [traces, layout | sliders]})
    return {"buttons": buttons, "x": 0, "xanchor": "left", "y": -0.2, "yanchor": "top", "direction": "up"}


def _curve(spectra: pd.DataFrame, kind: str, role: str) -> dict[str, list[float]]:
    own = spectra[(spectra["of"] == kind) & (spectra["role"] == role)]
    mean = own.groupby("position", as_index=False)["energy"].mean()
    return {"x": [0.0, *_rounded(mean["position"])], "y": [0.0, *_rounded(mean["energy"])]}


def _rounded(values: "pd.Series[float]") -> list[float]:
    return [round(float(value), 4) for value in values]
