"""Figures of bands and spectra: what is drawn is what the tables hold."""

import numpy as np
import pandas as pd
import pytest
import torch

from vxlab.analysis.update import FullUpdate
from vxlab.studies.subspaces.bands import SIZES
from vxlab.studies.subspaces.tables import band_angles, band_energies, decompose_weights, spectra_table
from vxlab.studies.subspaces.truncation import REMOVED, UNTOUCHED
from vxlab.views.figures import subspaces as figures

ROLES = {"query": "attention.self.query", "down": "output.dense"}
LAYERS = {
    f"encoder.layer.{i}.{name}": (16, 40 if role == "down" else 16) for i in range(3) for role, name in ROLES.items()
}
FULL = "full fine-tuning"


def _normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


TRIPLETS = decompose_weights({layer: _normal(*shape) for layer, shape in LAYERS.items()})
UPDATES = {FULL: {layer: FullUpdate(_normal(*shape[::-1]).T + 1) for layer, shape in LAYERS.items()}}
ENERGIES, ANGLES = band_energies(TRIPLETS, UPDATES, fractions=SIZES), band_angles(TRIPLETS, UPDATES, directions=4)
SPECTRA = spectra_table({"W": TRIPLETS, **UPDATES})


@pytest.fixture
def scores():
    rows = [("", UNTOUCHED, 1.0, 0.9)]
    for role in ROLES:
        rows += [(role, REMOVED, 0.0, 0.5)]
        rows += [(role, band, f, 0.5 + f * k) for band, k in (("top", 0.5), ("bottom", 0.1)) for f in (0.25, 0.5)]
    table = pd.DataFrame(rows, columns=["role", "band", "fraction", "score"])
    return table.assign(what="weight", low=table["score"] - 0.05, high=table["score"] + 0.05)


def test_each_bands_line_runs_from_nothing_kept_to_the_whole(scores):
    figure = figures.truncation_by_role(scores, metric="accuracy", trivial=0.5)
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert len(lines) == 2 * 2
    for line in lines:
        assert [figure.layout.xaxis.ticktext[place] for place in line.x] == ["0%", "25%", "50%", "100%"]
        assert (line.y[0], line.y[-1]) == (0.5, 0.9)
        assert np.allclose(line.error_y.array, 0.05)
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert named == ["top triplets", "bottom triplets", "untouched: 0.900", "trivial answer: 0.500"]
    assert "weight's triplets" in figure.layout.xaxis.title.text


def test_shares_kept_stand_beside_each_other_with_their_intervals():
    table = pd.DataFrame(
        {
            "what": "weight", "role": ["query", "query", "down"], "band": ["top", REMOVED, "top"],
            "share": [0.9, 0.1, 0.5], "low": [0.8, 0.0, 0.4], "high": [1.0, 0.2, 0.7],
        }
    )  # fmt: skip
    figure = figures.kept_by_role(table, 0.25)
    top, removed = figure.data
    assert (top.name, removed.name) == ("top 25% kept", "all removed")
    assert top.error_x.array == pytest.approx([0.1, 0.2])
    assert top.error_x.arrayminus == pytest.approx([0.1, 0.1])
    assert list(figure.layout.yaxis.ticktext) == ["down", "query"]
    assert [round(y) for y in top.y] == [1, 0]
    assert top.y[0] != removed.y[0]


def test_the_map_shows_times_chance_in_its_own_cell():
    figure = figures.band_heat(ENERGIES, FULL, 0.25, side="input")
    assert [note.text for note in figure.layout.annotations] == ["<b>top</b>", "<b>middle</b>", "<b>bottom</b>"]
    row = ENERGIES.query("band == 'bottom' and fraction == 0.25 and role == 'query' and block == 2").iloc[0]
    bottom = figure.data[2]
    assert bottom.z[list(bottom.y).index("query")][2] == pytest.approx(np.log2(row["input"] / row["chance_input"]))
    assert bottom.zmax == -bottom.zmin >= 1


def test_layers_without_an_update_stay_empty_in_the_map():
    still = ENERGIES["role"] == "down"
    shares = ["output", "input", "both"]
    some = ENERGIES.assign(**{name: ENERGIES[name].mask(still) for name in shares})
    top = figures.band_heat(some, FULL, 0.25).data[0]
    assert list(top.y) == ["down", "query"]
    assert np.isnan(top.z[0]).all() and np.isfinite(top.z[1]).all()  # noqa: PT018
    assert list(top.text[0]) == ["", "", ""]
    none = figures.band_heat(ENERGIES.assign(**dict.fromkeys(shares, np.nan)), FULL, 0.25).data[0]
    assert (none.zmin, none.zmax) == (-1, 1)
    absent = figures.band_heat(ENERGIES.assign(both=0.0), FULL, 0.25).data[0]
    assert (np.array(absent.z) == absent.zmin).all()  # an update wholly outside of the band


def test_an_update_of_zeros_has_empty_panels():
    zeros = {FULL: {layer: FullUpdate(torch.zeros(shape)) for layer, shape in LAYERS.items()}}
    angles = band_angles(TRIPLETS, zeros)
    assert list(angles.columns) == list(ANGLES.columns)
    assert len(figures.angles_to_bands(angles, FULL).layout.annotations) == 6
    assert list(band_energies({}, {}).columns) == list(ENERGIES.columns)
    assert list(spectra_table({}).columns) == list(SPECTRA.columns)
    assert len(figures.band_heat(band_energies({}, {}), FULL, 0.25).data) == 0


def test_spectra_are_means_over_blocks_and_end_at_the_whole():
    figure = figures.energy_spectra(SPECTRA)
    query = next(trace for trace in figure.data if trace.name == "query")
    own = SPECTRA[(SPECTRA["of"] == "W") & (SPECTRA["role"] == "query") & (SPECTRA["rank"] == 4)]
    assert query.y[list(query.x).index(0.25)] == pytest.approx(own["energy"].mean())
    assert query.y[-1] == pytest.approx(1)


def test_angles_are_drawn_beside_chance():
    figure = figures.angles_to_bands(ANGLES, FULL)
    own = ANGLES.query("side == 'output' and band == 'top' and role == 'query' and number == 1")
    line = next(trace for trace in figure.data if trace.name == "query")
    assert line.y[0] == pytest.approx((own["degrees"] - own["chance"]).median())
    area = next(trace for trace in figure.data if trace.fill == "toself")
    assert min(area.y) < 0 < max(area.y)
