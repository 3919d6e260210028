"""The rank explorer: every number in it is what the library computes, in both faces and in JupyterLab."""

import json
import math

import pandas as pd
import plotly.graph_objects as go
import pytest
import torch
from toy_blocks import Blocks
from toy_records import IDENTITY, key_of, stored_record, toy_spec

import vxlab
from vxlab.errors import VxlabError
from vxlab.experiments.models.files import model_fingerprint
from vxlab.experiments.store.store import Store
from vxlab.experiments.sweeps.stored_scores import MEASURED_COLUMNS, Measured
from vxlab.spectra.weights import singular_values
from vxlab.studies.ranks.capture import captured_table
from vxlab.studies.ranks.table import FAMILIES, rank_tables
from vxlab.views.explorers.faces import explore
from vxlab.views.explorers.rank.explorer import RankExplorer
from vxlab.words import in_bytes, percent

ROLES = ["query", "value", "key", "attention-output", "up", "down"]
NOTHING = Measured(pd.DataFrame(columns=MEASURED_COLUMNS), "", "", 0)


@pytest.fixture(scope="module")
def model(tiny_model):
    torch.manual_seed(0)
    return vxlab.load_model(tiny_model, 2)


@pytest.fixture(scope="module")
def tables(model):
    return rank_tables(model)


@pytest.fixture(scope="module")
def runs():
    """LoRA r=8 and VeRA r=64 on the front, LoRA r=2 off it, all on query and value; the head alone."""
    rows = [
        ("LoRA", 8, 2048, 3, 0.80, True), ("LoRA", 2, 512, 1, 0.60, False), ("VeRA", 64, 384, 3, 0.70, True),
        ("head only", None, 0, 3, 0.50, True),
    ]  # fmt: skip
    table = pd.DataFrame(
        {
            "family": family, "rank": rank, "label": f"{family} r={rank}" if rank else family, "targets": "query-value",
            "backbone": backbone, "bytes_stored": 4 * backbone + 1000, "n": n, "diverged": 0, "mean": mean,
            "scores": tuple(mean + 0.01 * (i - (n - 1) / 2) for i in range(n)),
            "draws": 0, "low": mean - 0.01, "high": mean + 0.01, "learning_rate": 1e-3, "edge": "", "front": front,
        }
        for family, rank, backbone, n, mean, front in rows
    )  # fmt: skip
    return Measured(table.astype({"rank": "Int64"}), "accuracy", "toy (all training examples, 1 epoch)", 0)


@pytest.fixture
def explorer(tables, runs):
    return RankExplorer(tables, runs, None, model="tiny")


def _trace(explorer, view, name):
    names = [trace.name for trace in explorer.canvas().data]
    return view.traces[names.index(name)]


def test_all_methods_and_target_sets_can_be_chosen_the_given_ones_first(explorer):
    offered = explorer.offered()
    assert list(dict.fromkeys(family for family, _ in offered)) == list(FAMILIES)
    assert next(iter(offered)) == ("LoRA", "query-value")
    assert [label for label, _ in offered["LoRA", "mlp"]] == [f"r={2**i}" for i in range(6)]


def test_a_line_a_role_shows_the_energy_of_the_first_triplets(explorer, model):
    view = explorer.view(("LoRA", "attention"), 4)
    layers = vxlab.resolve_targets(model, "key")
    values = [each.square() for each in singular_values({name: layers[name].weight for name in layers}).values()]
    wanted = [float(each[:4].sum() / each.sum()) for each in values]
    assert _trace(explorer, view, "key")["y"] == pytest.approx(wanted, rel=1e-3)
    assert _trace(explorer, view, "key")["x"] == [0, 1]
    assert not _trace(explorer, view, "up")["visible"]
    assert _trace(explorer, view, "if all singular values were equal")["y"] == [4 / 32] * 2
    mean = [
        *wanted,
        *(value for role in ("query", "value", "attention-output") for value in _trace(explorer, view, role)["y"]),
    ]
    assert percent(float(f"{sum(mean) / len(mean):.4f}"))[:3] in view.words[2]


def test_words_say_parameters_bytes_and_how_many_fit(explorer):
    words = explorer.view(("LoRA", "query-value"), 8).words
    assert words[0].startswith("<b>LoRA r=8</b> on query-value (4 layers): <b>2,048</b> trained parameters")
    assert words[0].endswith("66 more in the task head")
    size = (
        4 * (2048 + 66)
        + 830
        + sum(len(f"bert.encoder.layer.0.attention.self.{name}") + 3 for name in ("query", "value")) * 2
    )
    assert in_bytes(size) in words[1]
    assert f"<b>{10**9 // size:,}</b> such adapters fit in 1 GB (10⁹ bytes)" in words[1]
    assert all(len(line) <= 150 for line in words[:-1])  # a few of them are markup; a score's line is broken


def test_a_measured_score_has_its_interval_and_what_it_is_of(explorer):
    words = explorer.view(("LoRA", "query-value"), 8).words
    seeds = "3 seeds: 0.790, 0.800, 0.810; 95 % over test items and seeds 0.790 to 0.810"
    assert f"<b>Test accuracy 0.800 ({seeds})</b>, toy" in words[-1]
    assert words[-1].endswith("<b>on the Pareto front</b>")
    assert "one run; 95 % over test items 0.590 to 0.610" in explorer.view(("LoRA", "query-value"), 2).words[-1]


def test_what_is_of_the_atlas_says_so_beside_every_score(tables, runs):
    origin = "of the atlas, measured on a processor"
    explorer = RankExplorer(tables, runs._replace(origin=origin), None, model="tiny")
    view, canvas = explorer.view(("LoRA", "query-value"), 8), explorer.canvas()
    assert f"</b> {origin}, toy" in view.words[-1]
    assert view.table["atlas"].tolist()[0] == "3 runs"
    on = _trace(explorer, view, "measured accuracy of the atlas, on the Pareto front")
    assert all(told.endswith(f"<br>{origin}") for told in on["customdata"])
    assert "not measured yet</b>, nor in the atlas on toy" in explorer.view(("LoRA", "mlp"), 8).words[-1]
    assert not any((trace.name or "").startswith("measured accuracy,") for trace in canvas.data)


def test_what_was_not_measured_says_how_to_measure_it(explorer, tables):
    words = explorer.view(("LoRA", "mlp"), 8).words
    assert words[-1].endswith("vxlab report 02_rank_sweep -p model tiny -p targets mlp")
    bare = RankExplorer(tables, NOTHING, None, model=None)
    assert "this model was given as it is" in bare.view(("LoRA", "mlp"), 8).words[-1]


def test_measured_candidates_are_filled_on_the_front_and_hollow_off_it(explorer):
    canvas, view = explorer.canvas(), explorer.view(("VeRA", "query-value"), 64)
    on, off = (
        next(t for t in canvas.data if (t.name or "").endswith(end)) for end in ("on the Pareto front", "off it")
    )
    assert (on.marker.symbol, off.marker.symbol) == ("diamond", "diamond-open")
    assert _trace(explorer, view, on.name)["text"] == ["0.800", "0.700"]
    assert _trace(explorer, view, off.name)["x"] == [2]
    assert _trace(explorer, view, "chosen") == {"x": [64], "y": [384]}
    widths = {name: _trace(explorer, view, name)["line.width"] for name in FAMILIES}
    assert max(widths, key=widths.get) == "VeRA"


def test_beside_the_chosen_one_stand_the_nearest_in_size_and_the_front(explorer):
    table = explorer.view(("LoRA-XS", "query-value"), 16).table
    assert table[["", "method"]].to_numpy().tolist() == [
        ["chosen", "LoRA-XS r=16"], ["nearest in size", "LoRA r=4"], ["nearest in size", "VeRA r=256"],
        ["nearest in size", "LiDB r=4"], ["front, smaller", "VeRA r=64"], ["front, larger", "LoRA r=8"],
    ]  # fmt: skip
    assert table["parameters"].tolist()[:2] == ["1,024", "1,024"]
    assert table["test accuracy (95 %)"].tolist()[-1] == "0.800 (0.790 to 0.810)"
    assert table["runs"].tolist() == ["–", "–", "–", "–", "3", "3"]


def test_the_gradients_shares_stand_beside_chance_for_the_given_targets_alone(model, tables):
    torch.manual_seed(1)
    gradients = {
        name: torch.randn_like(each.weight) for name, each in vxlab.resolve_targets(model, "query-value").items()
    }
    captured = captured_table(model, gradients, tables.sizes)
    explorer = RankExplorer(tables, NOTHING, captured, model="tiny")
    view = explorer.view(("LoRA-XS", "query-value"), 4)
    own = captured[(captured["family"] == "LoRA-XS") & (captured["rank"] == 4)]
    place = len(ROLES) + 1  # behind the energies and their level
    assert view.traces[place]["y"] == pytest.approx(own.loc[own["role"] == "query", "share"].tolist(), rel=1e-3)
    assert view.traces[place + len(ROLES)]["y"] == pytest.approx([16 / 32**2] * 2, rel=1e-3)
    assert f"{percent(own['share'].mean())} is in reach" in view.words[3]
    other = explorer.view(("LoRA-XS", "mlp"), 4)
    assert other.traces[place]["y"] == []
    assert "computed for query-value alone" in other.words[3]
    assert len(view.traces) == len(explorer.canvas().data)


def test_both_faces_show_the_same_of_every_choice(tables, runs):
    live = explore(RankExplorer(tables, runs, None, model="tiny"), interactive=True)
    still = explore(RankExplorer(tables, runs, None, model="tiny", whole=False), interactive=False)
    assert type(still) is go.Figure
    for button, slider in zip(still.layout.updatemenus[0].buttons, still.layout.sliders, strict=True):
        live.menus[0].value, live.menus[1].value = button.label.split(", ", 1)
        for step in slider.steps[::3]:
            live.slider.value = int(step.label.removeprefix("r="))
            shown = {
                index: dict(zip(range(len(live.figure.data)), values, strict=False))
                for index, values in step.args[0].items()
            }
            for i, trace in enumerate(live.figure.data):
                assert list(shown["y"][i]) == list(trace.y)
            words = next(value for name, value in step.args[1].items() if name.endswith(".text"))
            assert words.replace("<br>", " ").startswith(live.words.value.replace("<br>", " "))


def test_a_page_has_room_for_few_target_sets_and_says_which_are_missing(model, runs):
    still = RankExplorer(rank_tables(model), runs, None, model="tiny", whole=False)
    count = sum(map(len, still.offered().values()))
    assert count <= 160
    assert "Left out of this page: " in still.view(("LoRA", "query-value"), 1).words[-1]
    assert len(json.dumps(explore(still, interactive=False).to_plotly_json(), default=list)) < 1_500_000


@pytest.mark.parametrize("blocks", [1, 1000])
def test_a_model_of_one_layer_or_a_thousand_has_both_faces(blocks):
    model = Blocks(blocks, width=64)
    live = vxlab.explore_rank(model, targets="query", interactive=True)
    live.slider.index = 3
    assert len(live.figure.data[0].x) == blocks
    still = vxlab.explore_rank(model, targets="query", interactive=False)
    assert len(still.to_json()) < 1_500_000
    ranks = [step.label for step in still.layout.sliders[0].steps]
    assert ranks[-1] == "r=64"


def test_a_zero_weight_leaves_a_gap():
    model = Blocks(3)
    model.layer[1]["query"].weight.data.zero_()
    view = vxlab.explore_rank(model, targets="query", interactive=False)
    assert math.isnan(rank_tables(model, "query").energies["share"][0]) is False
    assert view.data[0].y[1] is None


def test_what_cannot_be_shown_is_refused_in_words(model):
    with pytest.raises(VxlabError, match="gradients is a run on 'minilm', and the model is 'mpnet'"):
        vxlab.explore_rank("mpnet", gradients=vxlab.recipe("lora"))
    with pytest.raises(VxlabError, match="targets='quary' matches no layer"):
        vxlab.explore_rank(model, targets="quary")
    with pytest.raises(VxlabError, match="ranks="):
        vxlab.explore_rank(model, ranks=[0])


def test_scores_on_other_weights_of_one_name_are_not_shown(tiny_model, tmp_path):
    weights = {"now": model_fingerprint(tiny_model), "before": "ffff"}
    with Store(tmp_path) as store:
        for number, fingerprint in enumerate(weights.values()):
            spec = toy_spec(model=tiny_model, method=vxlab.LoRA(rank=4 + number))
            record = stored_record(store.folder, key_of(number), spec=spec, identity=IDENTITY | {"model": fingerprint})
            store.finish(record, "host:1:0.0:me")
        live = vxlab.explore_rank(tiny_model, ranks=[4, 5], store=store, interactive=True)
    assert "<b>Test accuracy" in live.words.value
    live.slider.index = 1
    assert "not measured yet</b> on these weights, though 1 run on others of this name" in live.words.value


NOTEBOOK = "import vxlab\nvxlab.explore_rank({model!r}, store={store!r})"


def test_in_jupyterlab_the_slider_moves_figure_and_numbers(tiny_model, tmp_path, lab):
    tables = rank_tables(vxlab.load_model(tiny_model, 2))
    energies = tables.energies.set_index(["targets", "rank", "role", "block"])["share"]
    cell = NOTEBOOK.format(model=tiny_model, store=str(tmp_path / "none.db"))
    with lab.opened(cell, width=900, height=1100) as tab:
        tab.run_all()
        tab.until("document.querySelectorAll('.js-plotly-plot .scatterlayer path.js-line').length > 5", timeout=60)
        for presses, rank in ((0, 1), (3, 8)):
            tab.move_slider(presses=presses)
            tab.until(f"document.body.innerText.includes('LoRA r={rank} on query-value')")
            tab.until(f"document.querySelector('.js-plotly-plot').data.at(-1).y[0] === {256 * rank}")
            shown = tab.page.evaluate("() => document.querySelector('.js-plotly-plot').data.map(t => [...(t.y ?? [])])")
            wanted = [energies["query-value", rank, "query", block] for block in (0, 1)]
            assert shown[0] == pytest.approx(wanted, rel=1e-3)
            assert shown[-1] == [256 * rank]
            assert f"{256 * rank:,} trained parameters" in tab.outputs()
        assert "not measured yet" in tab.outputs()
        tab.page.screenshot(path=tmp_path / "rank.png")
        width = "e => [e.offsetWidth, e._fullLayout.width]"
        page, drawn = tab.page.locator(".js-plotly-plot").first.evaluate(width)
        assert drawn <= page  # nothing is cut off
