"""The subspace explorer: how much of a weight, and of what was learnt, lies in a band of the weight's spectrum."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, method_label
from vxlab.experiments.runs import require_updates
from vxlab.experiments.store import Where
from vxlab.studies.subspaces import SIDES, SIZES, Whereabouts, whereabouts
from vxlab.views.explorers import Choice, Stop, View, explore, is_live, spread
from vxlab.views.explorers.subspaces.canvas import BAND, BLOCK, CHANCE, LAYERS, MEASURED, colours, subspace_panels
from vxlab.views.explorers.subspaces.words import angle_words, energy_words
from vxlab.views.style import escape

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from vxlab.views.explorers import ExplorerWidget

MEAN = "mean of blocks"
_VIEWS, _BLOCKS = 200, 48
_NUMBERS = [column for column, _ in (*MEASURED, *CHANCE)]


def explore_subspaces(
    run: RunRecord,
    *,
    store: Where = None,
    targets: str | Sequence[str] | None = None,
    fractions: Sequence[float] = SIZES,
    interactive: bool | None = None,
) -> "go.Figure | ExplorerWidget":
    """Show where in the spectra of its weights a run's update lies, one band of singular vectors at a time.

    The weights are decomposed once, block by block with a progress bar; the tables are kept beside the store's runs.

    Args:
        run: a finished run of ``Full()``, or of an adapter.
        store: where the tables are kept, as :func:`vxlab.run` takes it.
        targets: the layers, as :func:`vxlab.attach` takes them; None: those that the run trained, of a full
            fine-tuning every linear layer.
        fractions: of a weight's singular triplets that a band holds, each above 0, at most 1.
        interactive: widgets (needs a kernel), or a figure with its own menu and slider, which shows means over blocks;
            None: widgets where there is a live notebook to show them.

    Raises:
        VxlabError: there is no trained run, it diverged or has no updates, or a fraction is out of its range.
    """
    require_updates(run)
    name = method_label(run.spec["method"])
    tables = whereabouts({name: run}, targets=targets, fractions=fractions, store=store)
    return explore_bands(tables, update=name, interactive=interactive)


def explore_bands(tables: Whereabouts, *, update: str, interactive: bool | None = None) -> "go.Figure | ExplorerWidget":
    """Show one band of one role at a time: where it lies in the spectra, and what of an update lies in it.

    Args:
        tables: from :func:`vxlab.studies.subspaces.bands.whereabouts`.
        update: whose ΔW, as the tables call it.
        interactive: as :func:`explore_subspaces` takes it.

    Raises:
        VxlabError: the tables hold no such update.
    """
    known = list(tables.energies["update"].unique())
    if update not in known:
        raise VxlabError(f"update={update!r} is not in the tables; they hold {', '.join(known) or 'none'}")
    live = is_live(interactive)
    return explore(_BandExplorer(tables, update, live), live)


class _BandExplorer:
    """Bands of each role's singular vectors, one at a time; single blocks where a kernel makes the views."""

    slider = "rank"

    def __init__(self, tables: Whereabouts, update: str, live: bool) -> None:
        self._update, self._live = update, live
        self.menus = ("role", "band", "block") if live else ("role", "band")
        self._drawn: dict[tuple[str, str], list[dict[str, Any]]] = {}
        own = [table[table["update"] == update] for table in (tables.energies, tables.angles)]
        self._spectra = dict(iter(tables.spectra.groupby(["of", "role"], sort=False)))
        at: list[Hashable] = ["role", "band", "fraction"]
        # Layers of one role in one block, as in a decoder with two attentions, count as one.
        places = own[0].groupby([*at, "block", "rank"], sort=False, as_index=False)[_NUMBERS].mean()
        self._energies: dict[Any, pd.DataFrame] = {
            key: rows.sort_values("block") for key, rows in places.groupby(at, sort=False)
        }
        self._angles = _by_place(own[1], at)
        self._angles_in = _by_place(own[1], [*at, "block"]) if live else {}
        self._roles = [str(role) for role in own[0]["role"].unique()]
        self._blocks = sorted(int(block) for block in own[0]["block"].unique())
        self._maps = {key: _times_chance(rows, self._roles, self._shown) for key, rows in
                      places.groupby(["band", "fraction"], sort=False)}  # fmt: skip

    @property
    def _shown(self) -> list[int]:
        """Blocks with a column in the map: a page without a kernel holds every map that can be chosen."""
        return self._blocks if self._live else spread(self._blocks, _BLOCKS)

    def offered(self) -> dict[Choice, list[Stop]]:
        blocks = [(MEAN,), *((str(block),) for block in self._blocks)] if self._live else [()]
        sizes: dict[tuple[str, str], list[Stop]] = {}
        for (role, band, fraction), rows in self._energies.items():
            sizes.setdefault((role, band), []).append((f"r={rows['rank'].iloc[0]}", fraction))
        there = {role: {MEAN, *map(str, rows["block"])} for (role, *_), rows in self._energies.items()}
        most = _VIEWS if self._live else max(2, _VIEWS // max(len(sizes), 1))
        return {
            (role, band, *block): spread(stops, most)
            for (role, band), stops in sizes.items()
            for block in blocks
            if not block or block[0] in there[role]
        }

    def canvas(self) -> "go.Figure":
        return subspace_panels(self._roles, self._shown)

    def view(self, choice: Choice, stop: float) -> View:
        choice = (*choice, MEAN)[:3]
        role, band, block = choice
        rows = self._energies[role, band, stop]
        chosen = rows if block == MEAN else rows[rows["block"] == int(block)]
        place = (role, band, stop) if block == MEAN else (role, band, stop, int(block))
        angles = (self._angles if block == MEAN else self._angles_in).get(place, _NO_ANGLES)
        drawn = rows[rows["block"].isin(self._shown)]
        lines = [{"x": drawn["block"].tolist(), "y": _rounded(drawn[column])} for column in _NUMBERS]
        traces = [*self._curves(role, block), *_angle_lines(angles), *lines, self._map(band, stop)]
        return View(traces, self._told(choice, stop, chosen, angles), self._marks(choice, stop))

    def _curves(self, role: str, block: str) -> list[dict[str, Any]]:
        """Return the spectra of W and of the update, computed once: every band and rank shows them."""
        if (role, block) not in self._drawn:
            self._drawn[role, block] = self._spectra_of(role, block)
        return self._drawn[role, block]

    def _spectra_of(self, role: str, block: str) -> list[dict[str, Any]]:
        curves = []
        for of in ("W", self._update):
            rows = self._spectra[of, role]
            rows = rows if block == MEAN else rows[rows["block"] == int(block)]
            mean = rows.groupby("position", as_index=False)["energy"].mean()
            curves.append({"x": [0.0, *_rounded(mean["position"])], "y": [0.0, *_rounded(mean["energy"])]})
        return curves

    def _map(self, band: str, fraction: float) -> dict[str, Any]:
        ratios = self._maps[band, fraction]
        text = [["" if np.isnan(value) else f"{value:.2g}" for value in row] for row in ratios]
        return {"z": colours(ratios), "text": text}

    def _marks(self, choice: Choice, fraction: float) -> dict[str, Any]:
        """Return where the canvas's shapes lie: the band's shade, and what marks the chosen layers."""
        role, band, block = choice
        start = {"top": 0.0, "middle": (1 - fraction) / 2, "bottom": 1 - fraction}[band]
        y, one = self._roles.index(role), block != MEAN
        x, at = (self._shown.index(int(block)), int(block)) if one else (0, 0)
        return {
            f"{BAND}.x0": start, f"{BAND}.x1": start + fraction,
            f"{BLOCK}.visible": one, f"{BLOCK}.x0": at, f"{BLOCK}.x1": at,
            f"{LAYERS}.x0": x - 0.5, f"{LAYERS}.x1": (x if one else len(self._shown) - 1) + 0.5,
            f"{LAYERS}.y0": y - 0.5, f"{LAYERS}.y1": y + 0.5,
        }  # fmt: skip

    def _told(self, choice: Choice, fraction: float, rows: pd.DataFrame, angles: pd.DataFrame) -> list[str]:
        role, band, block = choice
        where = f"mean of {len(rows)} blocks" if block == MEAN else f"block {block}"
        where = "its only block" if len(self._blocks) == 1 else where
        size = f"{band} {100 * fraction:.3g} % of the singular triplets (r={rows['rank'].iloc[0]})"
        head = f"<b>{escape(role)}, {where}: {size}</b>; ΔW is {escape(self._update)}'s"
        return [
            head,
            *energy_words(rows[_NUMBERS].mean(), escape(self._update)),
            *angle_words(angles),
            *self._left_out(),
        ]

    def _left_out(self) -> list[str]:
        if self._live or len(self._blocks) == 1:
            return []
        few = (
            f" Here are {len(self._shown)} of {len(self._blocks)} blocks."
            if len(self._shown) < len(self._blocks)
            else ""
        )
        return [f"A live notebook also shows every block by itself.{few}"]


_LEVELS = {"degrees": "mean", "chance": "mean", "chance_low": "min", "chance_high": "max"}
"""The mean angle over layers, and between which levels chance puts that of any."""
_NO_ANGLES = pd.DataFrame(columns=[*_LEVELS], index=pd.MultiIndex.from_arrays([[], []], names=["side", "number"]))


def _by_place(angles: pd.DataFrame, at: list[Hashable]) -> dict[Any, pd.DataFrame]:
    """Return for each place the angles by side and number."""
    levels = angles.groupby([*at, "side", "number"]).agg(_LEVELS)
    return {key: rows.droplevel(at) for key, rows in levels.groupby(at)}


def _times_chance(rows: pd.DataFrame, roles: list[str], blocks: list[int]) -> np.ndarray[Any, Any]:
    """Return roles by blocks how many times chance an update's energy in a band is; NaN where there is no layer."""
    ratios = rows.assign(ratio=rows["both"] / rows["chance_both"])
    table = ratios.pivot_table(index="role", columns="block", values="ratio", dropna=False)
    return table.reindex(index=roles, columns=blocks).to_numpy(dtype=float)


def _angle_lines(angles: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the points of the area and of the line of chance, and of the angles, side by side."""
    lines: list[dict[str, Any]] = []
    for side in SIDES:
        own = angles.loc[side] if side in angles.index.get_level_values(0) else angles.iloc[:0].droplevel(0)
        numbers = own.index.tolist()
        area = [*_rounded(own["chance_low"]), *_rounded(own["chance_high"])[::-1]]
        lines.append({"x": [*numbers, *numbers[::-1]], "y": area})
        lines += [{"x": numbers, "y": _rounded(own[column])} for column in ("chance", "degrees")]
    return lines


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 4) for value in values]
