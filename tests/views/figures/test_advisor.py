"""Figures of rank advice draw what the tables hold."""

import math

import pandas as pd
import pytest
from toy_advice import LEFT_OUT, toy_advice, toy_trial

from vxlab.studies.advisor import cell_scores, regret_table
from vxlab.views.figures.advisor import (
    differences_by_cell,
    differences_from_uniform,
    energy_by_budget,
    rank_cells,
    ranks_by_layer,
    regret_by_allocation,
    score_by_rank_kept,
)


def test_the_map_has_each_layers_rank_and_share_of_the_energy():
    figure = ranks_by_layer(toy_advice().layers)
    ranks, shares, dashes = figure.data
    assert list(ranks.y) == ["query", "value", "up"]
    assert [list(row) for row in ranks.text] == [["2", "4"], ["2", "4"], ["", "4"]]
    assert [list(row) for row in shares.text] == [["3.33 %", "30 %"]] * 3
    assert (list(dashes.x), list(dashes.y), list(dashes.text)) == (["0"], ["up"], ["–"])


def test_a_layer_that_is_left_out_has_no_colour():
    layers = toy_advice().layers
    z, _ = rank_cells(layers)
    assert layers.loc[layers["layer"] == LEFT_OUT, "rank"].tolist() == [0]
    assert z[2] == [None, pytest.approx(math.log2(5), abs=1e-3)]


def test_layers_of_one_role_and_block_share_a_cell_and_energies_below_0_count_as_none():
    layers = toy_advice().layers
    twice = pd.concat([layers, layers[layers["layer"] == LEFT_OUT].assign(rank=6, energy_all=-9.0)])
    figure = ranks_by_layer(twice)
    assert list(figure.data[0].text[2]) == ["–, 6", "4"]
    assert list(figure.data[1].text[2]) == ["3.33 %", "30 %"]


def test_zero_energy_everywhere_is_drawn():
    assert list(ranks_by_layer(toy_advice().layers.assign(energy_all=0.0)).data[1].text[0]) == ["<1 %", "<1 %"]


def test_a_map_of_many_blocks_writes_no_numbers():
    layers = pd.concat([toy_advice().layers.query("block == 0").assign(block=i) for i in range(40)])
    assert ranks_by_layer(layers).data[0].texttemplate is None


def test_energies_and_the_held_out_gain_stand_at_their_budgets():
    advice = toy_advice()
    figure = energy_by_budget(advice.budgets, advice.budget)
    lines = {trace.name: trace for trace in figure.data}
    assert list(lines["allocation"].y) == [0.55, 0.75, 0.9]
    assert list(lines["one rank for all"].y) == [0.4, 0.6, 0.8]
    advised, alike = lines["allocation advised"], lines["one rank is as good"]
    assert (list(advised.x), list(alike.x)) == ([288, 576], [1152])
    assert list(advised.error_y.array) == pytest.approx([0.05, 0.06])
    assert list(alike.error_y.arrayminus) == pytest.approx([0.04])
    assert not lines["the batches do not tell"].showlegend


def test_regret_has_a_panel_for_all_cells_and_each_task_and_method():
    regret = regret_table(toy_trial())
    figure = regret_by_allocation(regret)
    titles = [each.text for each in figure.layout.annotations]
    assert titles == [f"<b>{name}</b>" for name in ("all cells", "rotten_tomatoes", "sst2", "LoRA", "VeRA")]
    over_all = {trace.y[0]: trace.x[0] for trace in figure.data if trace.xaxis == "x"}
    wanted = regret[(regret["task"] == "all") & (regret["method"] == "all")].set_index("kind")["regret"]
    assert over_all == pytest.approx(wanted.to_dict())


def test_differences_are_in_points_and_leave_uniform_out():
    figure = differences_from_uniform(regret_table(toy_trial()))
    over_all = {trace.y[0]: trace.x[0] for trace in figure.data if trace.xaxis == "x"}
    assert "uniform" not in over_all
    assert over_all["by energy"] == pytest.approx(3.0)


def test_every_cell_has_its_mark():
    cells = cell_scores(toy_trial())
    figure = differences_by_cell(cells)
    drawn = sorted(value for trace in figure.data for value in trace.x)
    assert drawn == pytest.approx(sorted(100 * cells.loc[cells["kind"] != "uniform", "difference"]))
    assert {trace.name for trace in figure.data} == {"smallest budget", "middle budget", "largest budget"}


def test_scores_stand_at_the_mean_rank_that_is_kept():
    rows = [("LoRA r=2", seed, share, 2 * share, 0.8 - 0.1 * (1 - share) + 0.01 * seed)
            for seed in (1, 2) for share in (1.0, 0.5)]  # fmt: skip
    kept = pd.DataFrame(rows, columns=["candidate", "seed", "share", "rank", "score"])
    figure = score_by_rank_kept(kept, metric="accuracy")
    (mean,) = (trace for trace in figure.data if trace.name == "LoRA r=2")
    assert len(figure.data) == 3
    assert (list(mean.x), list(mean.y)) == ([1.0, 2.0], pytest.approx([76.5, 81.5]))
