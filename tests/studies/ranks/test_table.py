"""The numbers of the rank explorer: costs against attached and saved adapters, energies against full SVDs."""

import numpy as np
import pytest
import torch
from torch import nn
from toy_blocks import Blocks

import vxlab
from vxlab.errors import VxlabError
from vxlab.studies.capture import capture_table
from vxlab.studies.ranks import capture as rank_capture
from vxlab.studies.ranks import table as rank_table
from vxlab.studies.ranks.capture import captured_table
from vxlab.studies.ranks.table import FAMILIES, adapter, rank_tables, target_sets

METHODS = {"LoRA": vxlab.LoRA, "VeRA": vxlab.VeRA, "LoRA-XS": vxlab.LoRAXS}


@pytest.fixture
def model(tiny_model):
    torch.manual_seed(0)
    return vxlab.load_model(tiny_model, 2)


def _size(tables, family, rank, targets="query-value"):
    table = tables.sizes
    (row,) = table[(table["targets"] == targets) & (table["family"] == family) & (table["rank"] == rank)].itertuples()
    return row


@pytest.mark.parametrize("targets", ["query-value", "mlp"])
def test_parameters_are_those_of_an_attached_adapter(model, targets):
    tables = rank_tables(model, targets)
    for family, rank in [("LoRA", 8), ("VeRA", 1024), ("LoRA-XS", 32), ("LiDB", 16)]:
        layers = vxlab.resolve_targets(model, targets)
        vxlab.attach(model, adapter(family, rank, layers), targets)
        counts, row = vxlab.trainable_parameters(model), _size(tables, family, rank, targets)
        assert (row.backbone, row.head, row.layers) == (counts.backbone, counts.head, len(layers))
        vxlab.detach(model)
        assert row.share == pytest.approx(counts.backbone / sum(each.numel() for each in model.parameters()))


@pytest.mark.parametrize(("family", "rank"), [("LoRA", 1), ("LoRA", 32), ("VeRA", 64), ("LoRA-XS", 4), ("LiDB", 2)])
def test_bytes_are_nearly_those_of_a_saved_adapter(model, tmp_path, family, rank):
    row = _size(rank_tables(model), family, rank)
    vxlab.attach(model, adapter(family, rank, vxlab.resolve_targets(model, "query-value")), "query-value")
    saved = sum(path.stat().st_size for path in vxlab.save_adapter(model, tmp_path / "adapter").iterdir())
    assert row.bytes == pytest.approx(saved, abs=200)


def test_ranks_are_the_powers_of_two_that_fit_and_what_is_added(model):
    sizes = rank_tables(model, further={("query-value", "LoRA"): [5, 999]}).sizes
    ranks = sizes[sizes["targets"] == "query-value"].groupby("family", sort=False)["rank"].agg(list)
    assert list(ranks.index) == list(FAMILIES)
    assert ranks["LoRA"] == [1, 2, 4, 5, 8, 16, 32]
    assert ranks["LoRA-XS"] == [1, 2, 4, 8, 16, 32]
    assert ranks["VeRA"][-1] == 1024
    assert ranks["LiDB"] == [1, 2, 4, 8, 16, 32]  # the layers' width; the usual bases are larger


def test_vera_goes_up_to_the_largest_side():
    wide = nn.Sequential(nn.Sequential(nn.Linear(8, 1500)))
    sizes = rank_tables(wide, "all-linear").sizes
    assert sizes.loc[sizes["family"] == "VeRA", "rank"].max() == 2048


def test_given_ranks_are_all_that_is_offered(model):
    sizes = rank_tables(model, ranks=[3, 48, 3]).sizes
    assert sizes.loc[sizes["targets"] == "query-value", ["family", "rank"]].to_numpy().tolist() == [
        ["LoRA", 3], ["VeRA", 3], ["VeRA", 48], ["LoRA-XS", 3], ["LiDB", 3]
    ]  # fmt: skip


@pytest.mark.parametrize("rank", [1, 8, 32, 1024])
def test_energy_is_the_share_of_the_largest_singular_values(model, rank):
    energies = rank_tables(model, "mlp").energies
    own = energies[(energies["targets"] == "mlp") & (energies["rank"] == rank)].set_index(["role", "block"])
    for name, layer in vxlab.resolve_targets(model, "mlp").items():
        squares = np.linalg.svd(layer.weight.detach().double().numpy(), compute_uv=False) ** 2
        role = "up" if "intermediate" in name else "down"
        row = own.loc[role, int(name.split("layer.")[1][0])]
        assert row["share"] == pytest.approx(squares[:rank].sum() / squares.sum(), abs=1e-10)
        assert row["flat"] == min(rank, 32) / 32


def test_the_given_targets_come_first_and_sets_of_the_same_layers_once(model):
    sets, too_large = target_sets(model, ["value", "query"])
    names = ["value, query", "attention", "mlp", "all-linear", "lora-xs-paper", "lora-xs-released"]
    assert (list(sets), too_large) == (names, ())  # query-value is what was given
    assert list(target_sets(Blocks(2), "query")[0]) == ["query"]


def test_sets_whose_spectra_take_hours_are_left_out_and_named_but_never_the_given_one(model, monkeypatch):
    monkeypatch.setattr(rank_table, "_QUICK", 4 * 32**3)
    tables = rank_tables(model, "all-linear")
    assert set(tables.sizes["targets"]) == {"all-linear", "query-value"}
    assert tables.too_large == ("attention", "mlp", "lora-xs-paper", "lora-xs-released")


@pytest.mark.parametrize("blocks", [1, 1000])
def test_one_layer_or_a_thousand(blocks):
    energies = rank_tables(Blocks(blocks), "query").energies
    assert sorted(set(energies["block"])) == list(range(blocks))
    assert energies.loc[energies["rank"] == 4, "share"].tolist() == [1.0] * blocks


def test_what_cannot_be_explored_is_refused_in_words(model):
    with pytest.raises(VxlabError, match="a rank of ranks=0 is not a positive integer; choose 1 or more"):
        rank_tables(model, ranks=[8, 0])
    with pytest.raises(VxlabError, match="ranks is empty: no rank; give positive whole numbers"):
        rank_tables(model, ranks=[])
    with pytest.raises(VxlabError, match=r"ranks=\[9999\]: none fits a method"):
        rank_tables(model, ranks=[9999])
    with pytest.raises(VxlabError, match="matches no layer"):
        rank_tables(model, "quary")
    vxlab.attach(model, vxlab.LoRA(rank=2))
    with pytest.raises(VxlabError, match=r"already has LoRA\(rank=2.*call vxlab\.detach"):
        rank_tables(model)


@pytest.fixture
def gradients(model):
    torch.manual_seed(1)
    return {name: torch.randn_like(layer.weight) for name, layer in vxlab.resolve_targets(model, "query-value").items()}


def test_captured_shares_are_those_of_the_table_of_captures(model, gradients):
    table = captured_table(model, gradients, rank_tables(model, ranks=[2, 8]).sizes)
    assert set(zip(table["family"], table["rank"], strict=True)) == {
        (name, rank) for name in FAMILIES for rank in (2, 8)
    }
    for family, method in METHODS.items():
        wanted = capture_table(model, gradients, [method(rank=8)]).set_index(["role", "block"])
        found = table[(table["family"] == family) & (table["rank"] == 8)].set_index(["role", "block"])
        for column in ("share", "chance", "best"):
            assert found[column].to_dict() == pytest.approx(wanted[column].to_dict())


def test_captured_shares_are_kept_by_weights_gradients_and_ranks(model, gradients, tmp_path, monkeypatch):
    counted = []
    compute = rank_capture.capture_table
    monkeypatch.setattr(rank_capture, "capture_table", lambda *given: counted.append(given) or compute(*given))
    few, more = rank_tables(model, ranks=[2]).sizes, rank_tables(model, ranks=[2, 4]).sizes
    first = captured_table(model, gradients, few, store=tmp_path)
    assert captured_table(model, gradients, few, store=tmp_path).equals(first)
    assert len(counted) == 4
    captured_table(model, gradients, more, store=tmp_path)
    captured_table(model, {name: 2 * each.flip(0) for name, each in gradients.items()}, few, store=tmp_path)
    assert len(counted) == 4 + 8 + 4


def test_a_missing_gradient_is_named(model, gradients):
    gradients.pop(next(iter(gradients)))
    with pytest.raises(VxlabError, match=r"gradients has none of `bert\.encoder\.layer\.0\.attention\.self\.query`"):
        captured_table(model, gradients, rank_tables(model, ranks=[2]).sizes)
