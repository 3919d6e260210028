"""The band slider: how much of a weight, and of what was learnt, lies in a band of the weight's singular vectors."""

from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.views.explorer import Choice, Stop, View, explore
from vxlab.views.look import COLOURS, DASHES, SYMBOLS, styled

if TYPE_CHECKING:
    from vxlab.views.explorer_widget import ExplorerWidget

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
) -> "go.Figure | ExplorerWidget":
    """Show one band of one role at a time: where it lies in the spectra, and what lies in it, block by block.

    Args:
        energies: from ``band_energies``.
        spectra: from ``spectra_table``, of ``W`` and of the update.
        update: whose ΔW.
        interactive: widgets (needs a kernel), or a figure with its own menu and slider; None: widgets where there is
            a live notebook to show them.
    """
    own = energies[energies["update"] == update]
    return explore(_BandExplorer(own, spectra, update), interactive)


class _BandExplorer:
    """Bands of each role's singular vectors, one at a time."""

    menus, slider = ("role", "band"), "rank"

    def __init__(self, energies: pd.DataFrame, spectra: pd.DataFrame, update: str) -> None:
        self._tables, self._update = (energies, spectra, update), update

    def offered(self) -> dict[Choice, list[Stop]]:
        return {choice: list(sizes) for choice, sizes in choices(self._tables[0]).items()}

    def frame(self) -> go.Figure:
        return frame(self._update)

    def view(self, choice: Choice, stop: float) -> View:
        role, band = choice
        points, (x0, x1), told = shown(*self._tables, (role, band), stop)
        return View(points, told, {"shapes[0].x0": x0, "shapes[0].x1": x1})


def choices(energies: pd.DataFrame) -> dict[tuple[str, str], list[tuple[str, float]]]:
    """Return what can be chosen: for each role and band its sizes, as (what the slider says, fraction)."""
    found: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for (role, band), rows in energies.groupby(["role", "band"], sort=False):
        sizes = rows[["rank", "fraction"]].drop_duplicates("fraction").sort_values("fraction")
        said = zip(sizes["rank"], sizes["fraction"], strict=True)
        found[str(role), str(band)] = [(f"r={rank}", float(fraction)) for rank, fraction in said]
    return found


def shown(
    energies: pd.DataFrame, spectra: pd.DataFrame, update: str, choice: tuple[str, str], fraction: float
) -> tuple[list[dict[str, list[float]]], tuple[float, float], list[str]]:
    """Return what a choice shows: the points of every trace, where the band lies, and lines of words.

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
    told = [
        f"<b>{role}, {band} {100 * fraction:.3g} % of the triplets (r={rows['rank'].iloc[0]}), mean of blocks:</b> W "
        f"{mean['weight']:.1%};",
        f"ΔW {mean['output']:.1%} of its outputs (chance {mean['chance_output']:.1%}), "
        f"{mean['input']:.1%} of its inputs ({mean['chance_input']:.1%}), {mean['both']:.1%} both "
        f"({mean['chance_both']:.1%})",
    ]
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
    figure.update_xaxes(title="share of the triplets, the largest first", tickformat=".0%", range=[0, 1], col=1)
    figure.update_xaxes(title="transformer block, from the input", col=2)
    figure.update_yaxes(title="share of ‖·‖²<sub>F</sub>", tickformat=".0%", range=[0, 1.02])
    styled(figure, height=480)
    figure.update_layout(margin={"t": 100}, legend={"y": 1.1, "font_size": 12})
    return figure


def _curve(spectra: pd.DataFrame, kind: str, role: str) -> dict[str, list[float]]:
    own = spectra[(spectra["of"] == kind) & (spectra["role"] == role)]
    mean = own.groupby("position", as_index=False)["energy"].mean()
    return {"x": [0.0, *_rounded(mean["position"])], "y": [0.0, *_rounded(mean["energy"])]}


def _rounded(values: "pd.Series[float]") -> list[float]:
    return [round(float(value), 4) for value in values]
