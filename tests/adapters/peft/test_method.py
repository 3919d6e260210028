"""Methods of the peft library on our targets: counting, starting, saving and taking off, each against peft itself."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES, inputs, loaded_in_a_new_process
from torch import nn
from toy_checkpoints import altered

import vxlab
from vxlab.adapters.core.fingerprint import values_probe
from vxlab.experiments.costs.counts import cost_table

peft = pytest.importorskip("peft")

SETTINGS: dict[str, dict[str, Any]] = {
    "lora": {"r": 4},
    "dora": {"r": 4, "lora_alpha": 2},
    "adalora": {"init_r": 6, "target_r": 2},
    "vera": {"r": 12, "projection_prng_key": 3},
    "fourierft": {"n_frequency": 20},
    "randlora": {"r": 4},
    "tinylora": {"u": 4},
    "boft": {"boft_block_size": 8},
    "vblora": {"r": 2, "num_vectors": 16, "vector_length": 4},
    "ia3": {},
    "oft": {"oft_block_size": 8},
    "loha": {"r": 4},
    "lokr": {"r": 4},
    "road": {"group_size": 8},
}
METHODS = [vxlab.PEFT(config, settings) for config, settings in SETTINGS.items()]
# FourierFT starts from a random spectrum, VB-LoRA from random vectors; the others promise the base's own outputs.
MOVES_AT_START = ("peft:fourierft", "peft:vblora")


def logits(model: nn.Module, name: str = "bert") -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**inputs(name)).logits


def trained(method: vxlab.PEFT, name: str = "bert") -> nn.Module:
    """Return a model whose trained tensors are no longer at their start."""
    model = vxlab.attach(ARCHITECTURES[name](), method, targets="all-linear")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_attach_leaves_outputs_unchanged_where_the_method_promises_it(method: vxlab.PEFT) -> None:
    model = ARCHITECTURES["bert"]()
    before = logits(model)
    weights = {name: parameter.clone() for name, parameter in model.named_parameters()}
    after = logits(vxlab.attach(model, method, targets="all-linear"))
    assert torch.equal(after, before) != (method.name in MOVES_AT_START)
    base = {name.replace(".base_layer.", "."): parameter for name, parameter in model.named_parameters()}
    assert all(torch.equal(base[name], weight) for name, weight in weights.items())


@pytest.mark.filterwarnings("ignore")  # peft's own way of making a model warns of BOFT's extension and of transformers
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_trained_parameters_are_those_that_peft_counts(method: vxlab.PEFT) -> None:
    model = ARCHITECTURES["bert"]()
    total = sum(parameter.numel() for parameter in model.parameters())
    names = list(vxlab.resolve_targets(model, ["query", "down"]))
    count = vxlab.trainable_parameters(vxlab.attach(model, method, ["query", "down"]))
    theirs = peft.get_peft_model(ARCHITECTURES["bert"](), _their_config(method, names))
    assert count.backbone == theirs.get_nb_trainable_parameters()[0]
    assert (count.head, count.total) == (32 * 2 + 2, total)
    assert {name for name, module in model.named_modules() if hasattr(module, "base_layer")} == set(names)


def _their_config(method: vxlab.PEFT, names: list[str]) -> Any:
    settings = {**method.settings(), "target_modules": names}
    if method.config == "dora":
        return peft.LoraConfig(use_dora=True, **settings)
    extra = {
        "adalora": {"total_step": 10},
        "ia3": {"feedforward_modules": [name for name in names if name.endswith("output.dense")]},
    }
    config = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[method.config.upper()]
    return config(**settings, **extra.get(method.config, {}))


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_few_bytes_give_the_same_logits_bit_for_bit(method: vxlab.PEFT, tmp_path: Path) -> None:
    model = trained(method)
    expected = logits(model)
    assert not torch.equal(expected, logits(ARCHITECTURES["bert"]()))
    folder = vxlab.save_adapter(model, tmp_path / "a")
    stored = sum(path.stat().st_size for path in folder.iterdir())
    assert stored < sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad) + 4096
    torch.manual_seed(99)  # what peft draws must not come from here
    loaded = vxlab.load_adapter(ARCHITECTURES["bert"](), folder)
    assert torch.equal(logits(loaded), expected)
    assert vxlab.trainable_parameters(loaded) == vxlab.trainable_parameters(model)
    again = vxlab.attach(ARCHITECTURES["bert"](), method, targets="all-linear")
    assert torch.equal(logits(vxlab.load_adapter(again, folder)), expected)


def test_loading_in_a_new_process_gives_the_same_logits_bit_for_bit(tmp_path: Path) -> None:
    drawn = [vxlab.PEFT(config, SETTINGS[config]) for config in ("vera", "tinylora", "randlora", "fourierft")]
    expected = [logits(trained(method)).numpy().tobytes().hex() for method in drawn]
    folders = [vxlab.save_adapter(trained(method), tmp_path / method.config) for method in drawn]
    assert loaded_in_a_new_process(folders) == expected


def test_what_peft_draws_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = vxlab.save_adapter(trained(METHODS[3]), tmp_path / "a")
    altered(folder, settings=METHODS[3].settings() | {"projection_prng_key": 4})
    model = ARCHITECTURES["bert"]()
    with pytest.raises(vxlab.VxlabError, match=r"the frozen basis of `bert.encoder.*` does not reproduce here"):
        vxlab.load_adapter(model, folder)
    assert not hasattr(model, "vxlab_attachment")
    assert not any("vera" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_detach_gives_back_the_model_as_it_was(method: vxlab.PEFT) -> None:
    model = ARCHITECTURES["bert"]()
    model.bert.embeddings.requires_grad_(False)
    before = {name: (p.clone(), p.requires_grad) for name, p in model.named_parameters()}
    modules = {name: type(module) for name, module in model.named_modules()}
    attributes = set(vars(model))
    vxlab.detach(vxlab.attach(model, method, targets="all-linear"))
    assert {name: type(module) for name, module in model.named_modules()} == modules
    after = dict(model.named_parameters())
    assert list(after) == list(before)
    assert all(torch.equal(p, after[n]) and grad == after[n].requires_grad for n, (p, grad) in before.items())
    assert set(vars(model)) == attributes
    assert not model._forward_hooks


def test_a_copy_of_the_model_is_whole_and_its_own() -> None:
    model = trained(vxlab.PEFT("adalora", SETTINGS["adalora"]))
    other = copy.deepcopy(model)
    assert torch.equal(logits(other), logits(model))
    vxlab.detach(other)
    assert not any("lora_" in name for name, _ in other.named_parameters())
    assert any("lora_" in name for name, _ in model.named_parameters())
    assert other._forward_hooks == {}
    assert len(model._forward_hooks) == 1


@pytest.mark.parametrize("name", ["gpt2", "vit", "llama"])
@pytest.mark.parametrize("config", ["dora", "ia3"])
def test_other_architectures_carry_them_too(config: str, name: str, tmp_path: Path) -> None:
    model = trained(vxlab.PEFT(config, SETTINGS[config]), name)
    folder = vxlab.save_adapter(model, tmp_path / "a")
    loaded = vxlab.load_adapter(ARCHITECTURES[name](), folder)
    assert torch.equal(logits(loaded, name), logits(model, name))


def test_only_the_targets_are_adapted_also_where_names_end_alike() -> None:
    model = nn.ModuleDict({"dense": nn.Linear(8, 8), "inner": nn.ModuleDict({"dense": nn.Linear(8, 8)})})
    vxlab.attach(model, vxlab.PEFT("lora", {"r": 2}), targets="^dense$")
    assert type(model["inner"]["dense"]) is nn.Linear
    assert vxlab.trainable_parameters(model).backbone == 2 * (8 + 8)


def test_adapters_of_a_model_in_half_precision_train_in_float32() -> None:
    model = vxlab.attach(ARCHITECTURES["bert"]().bfloat16(), vxlab.PEFT("lora", {"r": 2}))
    assert {p.dtype for name, p in model.named_parameters() if "lora_" in name} == {torch.float32}


def test_what_a_layer_cannot_carry_leaves_the_model_as_it_was() -> None:
    model = ARCHITECTURES["bert"]()
    before = {name: (p.clone(), p.requires_grad) for name, p in model.named_parameters()}
    method = vxlab.PEFT("boft", {"boft_block_size": 5})
    with pytest.raises(vxlab.VxlabError, match=r"peft cannot put PEFT\('boft', .*5.* on these layers: .*32"):
        vxlab.attach(model, method)
    with pytest.raises(vxlab.VxlabError, match=r"PEFT\('loha'.*on these layers: .*Conv1D'> not supported"):
        vxlab.attach(ARCHITECTURES["gpt2"](), vxlab.PEFT("loha"))
    after = dict(model.named_parameters())
    assert list(after) == list(before)
    assert all(torch.equal(p, after[n]) and grad == after[n].requires_grad for n, (p, grad) in before.items())
    vxlab.attach(model, vxlab.PEFT("boft", {"boft_block_size": 8}))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of transformers', at what peft asks it
def test_a_model_with_pefts_own_adapter_is_refused_for_its_base() -> None:
    import peft

    theirs = peft.get_peft_model(ARCHITECTURES["bert"](), peft.LoraConfig(r=2, target_modules=["query"]))
    with pytest.raises(vxlab.VxlabError, match=r"an adapter of the peft library's on it \(PeftModel\), whose layers"):
        vxlab.attach(theirs, vxlab.LoRA(rank=2))
    assert vxlab.trainable_parameters(vxlab.attach(theirs.unload(), vxlab.LoRA(rank=2))).backbone == 512


def test_merging_is_refused() -> None:
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.PEFT("lora", {"r": 2}))
    with pytest.raises(vxlab.VxlabError, match=r"a model with PEFT\('lora', .* has no adapted layers to merge; attach"):
        vxlab.merge(model)
    with pytest.raises(vxlab.VxlabError, match=r"already has PEFT\('lora', .*call vxlab.detach"):
        vxlab.attach(model, vxlab.LoRA(rank=2))


def test_counting_without_attaching_agrees_and_leaves_the_model_and_the_random_numbers_alone() -> None:
    model = ARCHITECTURES["bert"]()
    before = {name: (p.clone(), p.requires_grad) for name, p in model.named_parameters()}
    methods = {**{method.name: method for method in METHODS}, "too large": vxlab.PEFT("boft", {"boft_block_size": 5})}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    table = cost_table(model, methods, "all-linear").set_index("method")
    assert torch.equal(torch.rand(3), expected)
    assert list(table.index) == [method.name for method in METHODS]
    for method in METHODS:
        attached = vxlab.attach(ARCHITECTURES["bert"](), method, targets="all-linear")
        assert table.loc[method.name, "backbone"] == vxlab.trainable_parameters(attached).backbone
    after = dict(model.named_parameters())
    assert all(torch.equal(p, after[n]) and grad == after[n].requires_grad for n, (p, grad) in before.items())


def test_the_probe_sees_signs_order_and_size() -> None:
    tensor = torch.randn(40, 30, generator=torch.Generator().manual_seed(3))
    turned, swapped, scaled = tensor.clone(), tensor.flip(0), tensor.clone()
    turned[:, 0] *= -1
    scaled[0] *= 2
    probe = values_probe([tensor])
    assert all(abs(values_probe([each]) - probe) > 2e-3 for each in (turned, swapped, scaled))
    assert abs(values_probe([tensor * (1 + 1e-6 * torch.rand_like(tensor))]) - probe) < 1e-5


def test_equal_settings_are_equal_methods_and_come_back_from_json() -> None:
    method = vxlab.PEFT("dora", {"lora_alpha": 2, "r": 4})
    same = vxlab.method_from_name("peft:dora", **json.loads(json.dumps(method.settings())))
    assert method == same == vxlab.PEFT("dora", {"r": 4, "lora_alpha": 2})
    assert hash(method) == hash(same)
    assert method != vxlab.PEFT("lora", method.settings())
    assert (method.name, method.rank) == ("peft:dora", 4)
    assert re.fullmatch(r"PEFT\('dora', \{'lora_alpha': 2, 'r': 4\}\)", repr(method))


def test_settings_come_by_keyword_or_together_and_are_the_same_method() -> None:
    method = vxlab.PEFT("dora", r=4, lora_alpha=2)
    together = vxlab.PEFT("dora", {"lora_alpha": 2, "r": 4})
    assert method == together
    assert (hash(method), repr(method), method.settings()) == (hash(together), repr(together), together.settings())
    with pytest.raises(vxlab.VxlabError, match=r"settings=\{'r': 4\} and lora_alpha by keyword; give all one"):
        vxlab.PEFT("dora", {"r": 4}, lora_alpha=2)
    with pytest.raises(vxlab.VxlabError, match=r"no setting 'rank'.* r"):
        vxlab.PEFT("dora", rank=4)
