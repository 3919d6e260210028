"""Costs by rank: every row measured on one model, which is left as it was; what fails leaves a row that says why."""

import os

import image_models
import pytest
import torch
from architectures import ARCHITECTURES, inputs

import vxlab
from vxlab.experiments.costs import by_rank as module
from vxlab.experiments.costs.by_rank import FROZEN, FULL, HEAD, rank_costs
from vxlab.experiments.costs.step import StepMemory, random_batch
from vxlab.spectra import weights as spectra

FAMILIES = [vxlab.LoRA(rank=2), vxlab.VeRA(rank=4), vxlab.VeRA(rank=64), vxlab.LoRAXS(rank=3)]
LABELS = [FROZEN, HEAD, "LoRA r=2", "VeRA r=4", "VeRA r=64", "LoRA-XS r=3", FULL]


@pytest.fixture
def bert():
    return ARCHITECTURES["bert"]()


@pytest.fixture
def table(bert):
    return _measure(bert, FAMILIES)


def _measure(model, families, rounds=2, **changed):
    return rank_costs(model, families, random_batch(model, 2, 7), rounds=rounds, progress=False, **changed)


def _state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_there_is_a_row_for_each_method_and_rank_and_for_what_has_none(table):
    assert list(table["label"]) == LABELS
    assert list(table["rank"].fillna(0)) == [0, 0, 2, 4, 64, 3, 0]
    assert (table["error"] == "").all()
    assert all(len(seconds) == 2 for seconds in table["seconds"])
    numbers = ["step_seconds", "ratio", "parameters", "bytes", *StepMemory._fields]
    assert table[numbers].notna().all(axis=None)
    assert table[["ratio_low", "ratio_high"]].isna().all(axis=None)  # two rounds tell nothing of their noise


def test_six_rounds_have_an_interval_of_all_of_them(bert):
    table = _measure(bert, FAMILIES[:1], rounds=6).set_index("label")
    row, frozen = table.loc["LoRA r=2"], table.iloc[0]
    ratios = [ours / theirs for ours, theirs in zip(row["seconds"], frozen["seconds"], strict=True)]
    assert (row["ratio_low"], row["ratio_high"]) == pytest.approx((min(ratios), max(ratios)))
    assert (frozen["ratio_low"], frozen["ratio_high"]) == (1, 1)


def test_the_frozen_model_is_the_unit_and_trains_nothing(table):
    frozen = table.iloc[0]
    assert frozen["ratio"] == 1
    assert (frozen["parameters"], frozen["gradients"], frozen["optimizer"], frozen["bytes"]) == (0, 0, 0, 0)
    # Its gradient flows down to the embeddings, so it keeps what that needs, and the head alone does not.
    assert frozen["activations"] > 2 * table.set_index("label").loc[HEAD, "activations"]


def test_parameters_and_bytes_are_those_of_the_real_adapter(bert, table, tmp_path):
    vxlab.attach(bert, vxlab.VeRA(rank=4), "all-linear")
    saved = vxlab.save_adapter(bert, tmp_path / "a")
    row = table.set_index("label").loc["VeRA r=4"]
    assert row["parameters"] == vxlab.trainable_parameters(bert).backbone
    assert row["bytes"] == sum(path.stat().st_size for path in saved.iterdir())


def test_the_model_is_afterwards_what_it_was(bert):
    bert.classifier.weight.requires_grad_(False)
    before, trained = _state(bert), [p.requires_grad for p in bert.parameters()]
    modules = [type(each) for each in bert.modules()]
    _measure(bert, FAMILIES)
    assert all(torch.equal(tensor, before[name]) for name, tensor in bert.state_dict().items())
    assert [p.requires_grad for p in bert.parameters()] == trained
    assert [type(each) for each in bert.modules()] == modules
    assert all(p.grad is None for p in bert.parameters())
    assert not bert.training
    assert not bert.get_input_embeddings()._forward_hooks
    assert not hasattr(bert, "vxlab_attachment")


def test_the_callers_random_numbers_are_not_touched(bert):
    torch.manual_seed(3)
    expected = torch.randn(4)
    torch.manual_seed(3)
    _measure(bert, FAMILIES[:1], rounds=1)
    assert torch.equal(torch.randn(4), expected)


def test_each_rank_of_lora_xs_is_decomposed_once_and_then_comes_from_a_cache_of_its_own(bert, monkeypatch, tmp_path):
    calls = []
    real = spectra.decompose
    monkeypatch.setattr(spectra, "decompose", lambda *args: calls.append(1) or real(*args))
    monkeypatch.setenv("VXLAB_SPECTRA", str(tmp_path / "own"))
    table = _measure(bert, [vxlab.LoRAXS(rank=2), vxlab.LoRAXS(rank=3)], rounds=3)
    assert len(calls) == 2
    assert not (tmp_path / "own").exists()
    assert os.environ["VXLAB_SPECTRA"] == str(tmp_path / "own")
    assert (table["attach_seconds"].dropna() > 0).all()


def test_an_unset_cache_folder_stays_unset(bert, monkeypatch):
    monkeypatch.delenv("VXLAB_SPECTRA")
    _measure(bert, [vxlab.LoRAXS(rank=2)], rounds=1)
    assert "VXLAB_SPECTRA" not in os.environ


def test_every_other_round_goes_backwards(bert, monkeypatch):
    attached = []
    real = module.attach
    monkeypatch.setattr(module, "attach", lambda model, method, *_: attached.append(method) or real(model, method))
    _measure(bert, FAMILIES[:2], rounds=2)
    forwards = [vxlab.Head(), *FAMILIES[:2], vxlab.Full()]
    assert attached == forwards + forwards + forwards[::-1]


def test_a_rank_that_does_not_fit_leaves_a_row_that_says_so(bert):
    table = _measure(bert, [vxlab.LoRAXS(rank=33), vxlab.LoRAXS(rank=32)]).set_index("label")
    row = table.loc["LoRA-XS r=33"]
    assert "LoRAXS rank=33 is more than min(in_features, out_features)=32" in row["error"]
    assert row["seconds"] == ()
    assert row[["ratio", "bytes", "peak", "attach_seconds"]].isna().all()
    assert table.loc["LoRA-XS r=32", "error"] == ""
    assert table.loc[FULL, "ratio"] > 0


@pytest.mark.parametrize("step", [1, 3], ids=["weighing", "a later round"])
def test_a_step_out_of_memory_leaves_a_row_and_the_others_go_on(bert, monkeypatch, step):
    before, count, real = _state(bert), [], module.training_step
    measured = module.step_memory

    def fails(model, *args):
        if getattr(model.vxlab_attachment, "method", None) == FAMILIES[1] if _attached(model) else False:
            count.append(1)
            if len(count) == step:
                raise RuntimeError("can't allocate memory: you tried to allocate 8 GB\nmore lines")

    monkeypatch.setattr(module, "training_step", lambda *args: fails(*args) or real(*args))
    monkeypatch.setattr(module, "step_memory", lambda *args: fails(*args) or measured(*args))
    table = _measure(bert, FAMILIES[:3], rounds=3).set_index("label")
    assert table.loc["VeRA r=4", "error"] == "can't allocate memory: you tried to allocate 8 GB"
    assert table.loc["VeRA r=4", "seconds"] == ()
    assert [label for label in table.index if table.loc[label, "error"]] == ["VeRA r=4"]
    assert len(count) == step
    assert all(torch.equal(tensor, before[name]) for name, tensor in bert.state_dict().items())
    assert not _attached(bert)


def _attached(model):
    return hasattr(model, "vxlab_attachment")


def test_a_language_model_has_no_head_to_train_alone():
    model, batch = ARCHITECTURES["gpt2-lm"](), inputs("gpt2-lm")
    batch["labels"] = batch["input_ids"]
    table = rank_costs(model, [vxlab.LoRA(rank=2)], batch, rounds=1, progress=False).set_index("label")
    assert "needs a task head" in table.loc[HEAD, "error"]
    assert table.loc["LoRA r=2", "error"] == ""


@pytest.mark.parametrize("name", image_models.CONFIGS)
def test_models_of_images_are_measured_down_to_their_patches(name):
    model = image_models.bare_model(name)
    batch = random_batch(model, 2, resolution=image_models.SIDE)
    table = rank_costs(model, [vxlab.LoRA(rank=2)], batch, rounds=1, progress=False).set_index("label")
    assert (table["error"] == "").all()
    assert table.loc[FROZEN, "activations"] > table.loc[HEAD, "activations"]
    assert not any(module._forward_hooks for module in model.modules() if isinstance(module, torch.nn.Conv2d))


def test_a_frozen_step_that_fails_leaves_nothing_to_compare_with(bert):
    batch = {name: value[:, :3] for name, value in random_batch(bert, 2, 7).items() if name != "labels"}
    batch["input_ids"] = batch["input_ids"] + 10_000  # outside the vocabulary
    with pytest.raises((vxlab.VxlabError, IndexError), match=r"frozen model's own step fails|out of range"):
        rank_costs(bert, FAMILIES, batch, rounds=1, progress=False)


def test_what_cannot_be_measured_at_all_is_refused(bert):
    with pytest.raises(vxlab.VxlabError, match="rounds=0 is not a positive integer; choose 1 or more"):
        _measure(bert, FAMILIES, rounds=0)
    with pytest.raises(vxlab.VxlabError, match="no_such_layer"):
        _measure(bert, FAMILIES, targets="no_such_layer")
    vxlab.attach(bert, vxlab.LoRA(rank=2))
    with pytest.raises(vxlab.VxlabError, match=r"already has LoRA\(rank=2.*call vxlab\.detach"):
        _measure(bert, FAMILIES)


def test_progress_is_one_bar_of_visits(bert, capsys):
    rank_costs(bert, FAMILIES[:1], random_batch(bert, 2, 7), rounds=1)
    assert "8/8" in capsys.readouterr().out


def test_on_a_machine_with_several_gpus_nothing_is_guessed(bert, monkeypatch):
    monkeypatch.setattr(torch.random, "_fork_rng_warned_already", False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # torch warns where none of them is named
    assert (_measure(bert, FAMILIES[:1], rounds=1)["error"] == "").all()
