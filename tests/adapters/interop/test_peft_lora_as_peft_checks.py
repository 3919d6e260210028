"""What the peft library's own tests hold its LoRA to, where it applies here, and LoRA and VeRA alike."""

from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
import transformers
from architectures import ARCHITECTURES, inputs
from foreign_folders import WEIGHTS, as_peft_warns, change, loaded_by_peft, logits, move, save_trained, say
from plain_models import Layers, inputs_of_ten, named, normalised, perceptron
from safetensors.torch import load_file
from torch import Tensor, nn
from toy_checkpoints import assert_refused, trained

import vxlab
from vxlab.adapters import Family, write_peft

BOTH = [vxlab.LoRA(rank=4, alpha=2), vxlab.VeRA(rank=6, seed=3)]
THEIRS: dict[str, Callable[..., peft.PeftConfig]] = {"lora": peft.LoraConfig, "vera": peft.VeraConfig}


def attached(model: nn.Module, method: Family) -> nn.Module:
    """Return a model of torch alone with an adapter that is not at its start."""
    torch.manual_seed(1)
    vxlab.attach(model, method, ["lin0", "lin1"])
    move(model)
    return model


def saved_by_peft(model: nn.Module, folder: Path, config: peft.PeftConfig) -> nn.Module:
    """Put a config on a model of torch alone, move all that it trains, and save it."""
    with as_peft_warns():
        adapted = peft.get_peft_model(model, config).eval()
        move(adapted)
        adapted.save_pretrained(folder)
    return adapted


@torch.no_grad()
def outputs(model: nn.Module) -> Tensor:
    found: Tensor = model.eval()(inputs_of_ten())
    return found


@pytest.mark.parametrize("method", BOTH, ids=str)
def test_training_moves_every_adapter_and_nothing_else(method: Family) -> None:
    model = vxlab.attach(perceptron(), method, ["lin0", "lin1"])
    before = {name: each.clone() for name, each in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        model.train()(inputs_of_ten()).sum().backward()
        optimizer.step()
    moved = {name for name, each in model.named_parameters() if not torch.allclose(before[name], each, atol=1e-4)}
    names = {"lora": ("A", "B"), "vera": ("lambda_b", "lambda_d")}[method.name]
    assert moved == {f"{layer}.{each}" for layer in ("lin0", "lin1") for each in names}


@pytest.mark.parametrize("method", BOTH, ids=str)
@pytest.mark.parametrize("kind", ["peft", "lora"])
def test_a_trained_adapter_comes_back_with_its_outputs_and_its_parameters(
    method: Family, kind: str, tmp_path: Path
) -> None:
    model = attached(perceptron(), method)
    assert not torch.allclose(outputs(model), outputs(perceptron()), atol=1e-3)
    write_peft(model, tmp_path, as_lora=kind == "lora")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    torch.manual_seed(54321)
    loaded = vxlab.load_adapter(perceptron(), tmp_path)
    torch.testing.assert_close(outputs(loaded), outputs(model), rtol=0, atol=1e-5)
    if kind == "peft":
        own = dict(model.named_parameters())
        assert all(torch.equal(own[name], each) for name, each in loaded.named_parameters())


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama-lm", "vit"])
@pytest.mark.parametrize("kind", THEIRS)
def test_what_was_loaded_merges_unmerges_and_comes_off(name: str, kind: str, tmp_path: Path) -> None:
    save_trained(tmp_path, name, THEIRS[kind](r=4, target_modules="all-linear"))
    model = vxlab.load_adapter(ARCHITECTURES[name](), tmp_path)
    base = {key: each.clone() for key, each in ARCHITECTURES[name]().state_dict().items()}
    expected = logits(model, name)
    vxlab.merge(model)
    torch.testing.assert_close(logits(model, name), expected, rtol=0, atol=1e-4)
    vxlab.unmerge(model)
    assert torch.equal(logits(model, name), expected)
    vxlab.detach(vxlab.merge(model))
    torch.testing.assert_close(logits(model, name), expected, rtol=0, atol=1e-4)
    assert model.state_dict().keys() == base.keys()
    model.save_pretrained(tmp_path / "merged")
    again = type(model).from_pretrained(tmp_path / "merged")
    assert torch.equal(logits(again, name), logits(model, name))
    plain = vxlab.detach(vxlab.load_adapter(ARCHITECTURES[name](), tmp_path))
    differing = {key for key, each in plain.state_dict().items() if not torch.equal(each, base[key])}
    assert all(key.startswith(("classifier.", "score.")) for key in differing)


@pytest.mark.parametrize("method", BOTH, ids=str)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_update_that_is_not_finite_is_not_merged(method: Family, value: float) -> None:
    model = trained("bert", method)
    with torch.no_grad():
        next(iter(model.bert.encoder.layer[1].output.dense.trained_tensors().values()))[0] = value
    before = {name: each.clone() for name, each in model.named_parameters()}
    with pytest.raises(vxlab.VxlabError, match=r"update of `bert.encoder.layer.1.output.dense` holds NaN or infinite"):
        vxlab.merge(model)
    assert not any(layer.merged for layer in vxlab.adapted_layers(model).values())
    assert all(
        torch.equal(
            before[name],
            each,
        )
        or not each.isfinite().all()
        for name, each in model.named_parameters()
    )


@pytest.mark.parametrize("method", BOTH, ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_runs_and_keeps_its_type(method: Family, dtype: torch.dtype, autocast: bool) -> None:
    model = attached(perceptron() if autocast else perceptron().to(dtype), method)
    layers = vxlab.adapted_layers(model).values()
    assert {each.dtype for layer in layers for each in layer.trained_tensors().values()} == {torch.float32}
    x = inputs_of_ten() if autocast else inputs_of_ten().to(dtype)
    with torch.autocast("cpu", dtype, enabled=autocast):
        found = model(x)
    assert found.dtype == dtype
    assert found.isfinite().all()
    torch.testing.assert_close(found.float(), attached(perceptron(), method)(inputs_of_ten()), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("method", BOTH, ids=str)
def test_a_model_in_half_precision_merges(method: Family) -> None:
    model = trained("bert", method).to(torch.float16)
    vxlab.merge(model)
    assert model.bert.encoder.layer[0].output.dense.weight.isfinite().all()


@pytest.mark.parametrize("method", BOTH, ids=str)
def test_an_adapted_layer_says_its_sizes_weight_and_bias(method: Family) -> None:
    base = ARCHITECTURES["llama"]().model.layers[0].self_attn.v_proj
    layer = trained("llama", method).model.layers[0].self_attn.v_proj
    assert (layer.in_features, layer.out_features) == (base.in_features, base.out_features) == (32, 16)
    assert torch.equal(layer.weight, base.weight)
    assert layer.bias is None


@pytest.mark.parametrize("kind", THEIRS)
def test_what_was_loaded_trains_and_what_was_saved_alone(kind: str, tmp_path: Path) -> None:
    save_trained(tmp_path, "bert", THEIRS[kind](r=4, target_modules=["query"]))
    model = vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path)
    trains = {name for name, each in model.named_parameters() if each.requires_grad}
    expected = vxlab.attach(ARCHITECTURES["bert"](), model.vxlab_attachment.method, "query")
    assert trains == {name for name, each in expected.named_parameters() if each.requires_grad}
    model.train()(**inputs("bert")).logits.sum().backward()
    assert {name for name, each in model.named_parameters() if each.grad is not None} == trains


@pytest.mark.parametrize("kind", THEIRS)
def test_layers_of_one_block_are_fewer_and_come_back(kind: str, tmp_path: Path) -> None:
    for blocks in (None, [0], 1):
        config = THEIRS[kind](r=4, target_modules=["query", "value"], layers_to_transform=blocks)
        theirs = save_trained(tmp_path / str(blocks), "bert", config)
        ours = vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path / str(blocks))
        assert len(vxlab.adapted_layers(ours)) == (4 if blocks is None else 2)
        torch.testing.assert_close(logits(ours, "bert"), logits(theirs, "bert"), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", THEIRS)
def test_words_and_their_vectors_generate_what_they_do_with_peft(kind: str, tmp_path: Path) -> None:
    theirs = save_trained(tmp_path, "llama-lm", THEIRS[kind](r=4, target_modules=["q_proj", "v_proj"]))
    ours = vxlab.load_adapter(ARCHITECTURES["llama-lm"](), tmp_path)
    tokens = inputs("llama-lm")["input_ids"]
    asked = {"max_new_tokens": 5, "do_sample": False}
    with as_peft_warns():
        expected = theirs.generate(input_ids=tokens, **asked)
    assert torch.equal(ours.generate(tokens, **asked), expected)
    embedded = ours.get_input_embeddings()(tokens)
    with torch.no_grad():
        torch.testing.assert_close(ours(inputs_embeds=embedded).logits, ours(tokens).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}], ids=str)
def test_scales_by_layer_are_those_of_peft(settings: dict[str, bool], tmp_path: Path) -> None:
    config = peft.LoraConfig(
        r=4, lora_alpha=6, rank_pattern={"lin1": 8}, alpha_pattern={"lin2": 3}, target_modules="all-linear", **settings
    )
    theirs = saved_by_peft(perceptron(), tmp_path, config)
    saved = vxlab.adapters.read_saved(tmp_path)
    layers = {name: theirs.base_model.model.get_submodule(name) for name in saved.layers}
    assert saved.scalings == {name: layer.scaling["default"] for name, layer in layers.items()}
    assert saved.ranks == {"lin0": 4, "lin1": 8, "lin2": 4}
    for name, (left, right) in saved.factors().items():
        expected = layers[name].get_delta_weight("default")
        torch.testing.assert_close(left @ right, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(outputs(vxlab.load_adapter(perceptron(), tmp_path)), outputs(theirs), rtol=0, atol=1e-5)


def test_ranks_of_many_layers_by_their_names(tmp_path: Path) -> None:
    ranks = {f"block{block}_lin{each}": 10 - block for block in range(6) for each in range(2)}
    sizes = dict.fromkeys(ranks, (10, 10))
    alphas = {name: 2 * rank for name, rank in ranks.items()}
    config = peft.LoraConfig(r=4, target_modules=list(ranks), rank_pattern=ranks, alpha_pattern=alphas)
    theirs = saved_by_peft(named(sizes), tmp_path, config)
    assert vxlab.adapters.read_saved(tmp_path).ranks == ranks
    ours = vxlab.load_adapter(named(sizes), tmp_path)
    assert ours.vxlab_attachment.method.settings()["rank_pattern"] == ranks
    torch.testing.assert_close(outputs(ours), outputs(theirs), rtol=0, atol=1e-5)


AWKWARD = {
    "a module called lora_": {"lora_layer": (10, 10), "lin": (10, 4)},
    "called lora_A": {"lora_A": (10, 10), "lin": (10, 4)},
    "called weight": {"weight": (10, 10), "lin": (10, 4)},
    "called bias": {"bias_layer": (10, 10), "bias": (10, 4)},
    "called as the adapter": {"default": (10, 10), "lin": (10, 4)},
    "called vera_lambda_b": {"vera_lambda_b": (10, 10), "lin": (10, 4)},
    "called base_layer": {"base_layer": (10, 10), "lin": (10, 4)},
    "one the end of another": {"fc": (10, 10), "my_fc": (10, 4)},
    "one letter": {"a": (10, 10), "aa": (10, 4)},
}


@pytest.mark.parametrize("case", AWKWARD)
@pytest.mark.parametrize("kind", THEIRS)
def test_modules_named_like_parts_of_peft_keep_their_tensors(case: str, kind: str, tmp_path: Path) -> None:
    names = AWKWARD[case]
    theirs = saved_by_peft(named(names), tmp_path / "theirs", THEIRS[kind](r=2, target_modules=list(names)))
    ours = vxlab.load_adapter(named(names), tmp_path / "theirs")
    assert list(vxlab.adapted_layers(ours)) == list(names)
    torch.testing.assert_close(outputs(ours), outputs(theirs), rtol=0, atol=1e-5)
    write_peft(ours, tmp_path / "back")
    before, after = (load_file(tmp_path / each / WEIGHTS) for each in ("theirs", "back"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("case", ["a module called lora_", "called weight"])
def test_a_saved_module_named_like_parts_of_peft_comes_back(case: str, tmp_path: Path) -> None:
    first, last = names = AWKWARD[case]
    config = peft.LoraConfig(r=2, target_modules=[last], modules_to_save=[first])
    theirs = saved_by_peft(named(names), tmp_path, config)
    ours = vxlab.load_adapter(named(names), tmp_path)
    torch.testing.assert_close(outputs(ours), outputs(theirs), rtol=0, atol=1e-5)
    assert ours.get_submodule(first).weight.requires_grad


@pytest.mark.parametrize("kind", THEIRS)
def test_statistics_of_a_saved_batch_norm_come_back(kind: str, tmp_path: Path) -> None:
    config = THEIRS[kind](r=2, target_modules=["lin0", "lin1"], modules_to_save=["norm"])
    with as_peft_warns():
        theirs = peft.get_peft_model(normalised(), config)
    move(theirs)
    theirs.train()(inputs_of_ten() * 3 + 1)
    with as_peft_warns():
        theirs.save_pretrained(tmp_path / "theirs")
    ours = vxlab.load_adapter(normalised(), tmp_path / "theirs")
    torch.testing.assert_close(outputs(ours), outputs(theirs), rtol=0, atol=1e-5)
    again = vxlab.load_adapter(normalised(), vxlab.save_adapter(ours, tmp_path / "ours"))
    assert torch.equal(outputs(again), outputs(ours))
    write_peft(ours, tmp_path / "back")
    with as_peft_warns():
        back = peft.PeftModel.from_pretrained(normalised(), tmp_path / "back")
    torch.testing.assert_close(outputs(back), outputs(theirs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("start", ["pissa", "olora"])
@pytest.mark.parametrize(
    "more", [{}, {"use_rslora": True}, {"rank_pattern": {"lin0": 3}}, {"alpha_pattern": {"lin0": 5}}]
)
def test_an_adapter_that_started_from_the_weights_is_read_once_peft_has_converted_it(
    start: str, more: dict[str, object], tmp_path: Path
) -> None:
    config = peft.LoraConfig(r=4, target_modules=["lin0", "lin1"], init_lora_weights=start, **more)  # type: ignore[arg-type]
    with as_peft_warns():
        theirs = peft.get_peft_model(perceptron(), config).eval()
        theirs.peft_config["default"].init_lora_weights = True
        theirs.save_pretrained(tmp_path / "start")
        theirs.peft_config["default"].init_lora_weights = start
        move(theirs)
        expected = outputs(theirs)
        theirs.save_pretrained(tmp_path / "as it is")
        theirs.save_pretrained(tmp_path / "converted", path_initial_model_for_weight_conversion=str(tmp_path / "start"))
    ours = vxlab.load_adapter(perceptron(), tmp_path / "converted")
    torch.testing.assert_close(outputs(ours), expected, rtol=0, atol=1e-4)
    assert_refused(perceptron(), tmp_path / "as it is", "took a part out of the base's weights")


def test_magnitudes_under_their_earlier_name_are_read(tmp_path: Path) -> None:
    theirs = save_trained(tmp_path, "bert", peft.LoraConfig(r=4, use_dora=True, target_modules=["query"]))

    def rename(tensors: dict[str, Tensor]) -> None:
        for key in [key for key in tensors if key.endswith("magnitude_vector")]:
            tensors[f"{key}.weight"] = tensors.pop(key)

    ours = vxlab.load_adapter(ARCHITECTURES["bert"](), change(tmp_path, rename))
    torch.testing.assert_close(logits(ours, "bert"), logits(theirs, "bert"), rtol=0, atol=1e-5)


def test_fields_of_a_later_peft_that_say_nothing_are_passed_over(tmp_path: Path) -> None:
    theirs = save_trained(tmp_path, "bert", peft.LoraConfig(r=4, target_modules=["query"]))
    say(tmp_path, of_a_later_peft=None, another=False, third=[], peft_version="9.0")
    torch.testing.assert_close(
        logits(vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path), "bert"), logits(theirs, "bert"), rtol=0, atol=1e-5
    )


def test_a_config_of_an_early_peft_is_enough(tmp_path: Path) -> None:
    theirs = save_trained(tmp_path, "bert", peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query"]))
    (tmp_path / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["query"], "modules_to_save": ["classifier"]}'
    )
    ours = vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path)
    torch.testing.assert_close(logits(ours, "bert"), logits(theirs, "bert"), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (peft.LoraConfig(r=2, target_modules=["word_embeddings"]), "an adapter on an embedding"),
        (peft.LoraConfig(r=2, target_modules=["query"], trainable_token_indices=[1, 2]), "trainable_token_indices"),
    ],
)
def test_adapters_on_words_are_refused(config: peft.LoraConfig, message: str, tmp_path: Path) -> None:
    with as_peft_warns():
        save_trained(tmp_path, "bert", config, head=False)
    assert_refused(ARCHITECTURES["bert"](), tmp_path, message)


def test_an_adapter_on_a_convolution_is_refused(tmp_path: Path) -> None:
    model = lambda: Layers(conv=nn.Conv1d(10, 4, 1), lin=nn.Linear(1, 1))  # noqa: E731
    with as_peft_warns():
        adapted = peft.get_peft_model(model(), peft.LoraConfig(r=2, target_modules=["conv"]))
        adapted.save_pretrained(tmp_path)
    assert_refused(model(), tmp_path, "an adapter on a linear layer has two sides")


def test_an_adapter_on_an_untied_output_layer_is_read(tmp_path: Path) -> None:
    theirs = save_trained(tmp_path, "mistral", peft.LoraConfig(r=2, target_modules=["lm_head", "q_proj"]))
    ours = vxlab.load_adapter(ARCHITECTURES["mistral"](), tmp_path)
    assert "lm_head" in vxlab.adapted_layers(ours)
    assert "base_model.model.lm_head.base_layer.weight" in load_file(tmp_path / WEIGHTS)
    torch.testing.assert_close(logits(ours, "mistral"), logits(theirs, "mistral"), rtol=0, atol=1e-5)
    other = ARCHITECTURES["mistral"]()
    with torch.no_grad():
        other.lm_head.weight[0, 0] += 0.01
    assert_refused(other, tmp_path, "has `lm_head.weight`, and its config")


@pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings=True")
def test_an_adapter_on_a_tied_output_layer_is_read_and_changes_no_embedding(tmp_path: Path) -> None:
    theirs = save_trained(tmp_path, "llama-lm", peft.LoraConfig(r=2, target_modules=["lm_head", "q_proj"]))
    assert "base_model.model.lm_head.base_layer.weight" in load_file(tmp_path / WEIGHTS)
    ours = vxlab.load_adapter(ARCHITECTURES["llama-lm"](), tmp_path)
    torch.testing.assert_close(logits(ours, "llama-lm"), logits(theirs, "llama-lm"), rtol=0, atol=1e-5)
    with pytest.raises(vxlab.VxlabError, match="merging would change both"):
        vxlab.merge(ours)


@pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings=True")
@pytest.mark.parametrize("saved", [["embed_tokens"], ["lm_head"], ["embed_tokens", "lm_head"]], ids=str)
def test_embeddings_trained_apart_are_read_once_they_are_parted(saved: list[str], tmp_path: Path) -> None:
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=saved)
    theirs = save_trained(tmp_path, "llama-lm", config)
    parted = ARCHITECTURES["llama-lm"]()
    assert_refused(parted, tmp_path, r"trained `.+` apart from `.+`, and here the two are one tensor; part them first")
    parted.config.tie_word_embeddings = False
    parted.lm_head.weight = nn.Parameter(parted.lm_head.weight.detach().clone())
    ours = vxlab.load_adapter(parted, tmp_path)
    torch.testing.assert_close(logits(ours, "llama-lm"), logits(theirs, "llama-lm"), rtol=0, atol=1e-5)


def test_a_head_without_saved_modules_stays_the_bases(tmp_path: Path) -> None:
    theirs = save_trained(tmp_path, "bert", peft.LoraConfig(r=4, target_modules=["query"]), head=False)
    ours = vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path)
    torch.testing.assert_close(logits(ours, "bert"), logits(theirs, "bert"), rtol=0, atol=1e-5)


def test_a_head_that_was_drawn_and_is_not_in_the_folder_is_warned_of(tmp_path: Path) -> None:
    save_trained(tmp_path / "without", "bert", peft.LoraConfig(r=4, target_modules=["query"]), head=False)
    save_trained(tmp_path / "with", "bert", peft.LoraConfig(r=4, target_modules=["query"]))
    for folder in ("without", "with"):
        model = ARCHITECTURES["bert"]()
        model.vxlab_drawn = frozenset({"classifier.weight", "classifier.bias"})
        if folder == "with":
            vxlab.load_adapter(model, tmp_path / folder)
            continue
        with pytest.warns(UserWarning, match=r"holds no `classifier.bias`, and this BertForSequence.* drawn at random"):
            vxlab.load_adapter(model, tmp_path / folder)


def test_transformers_reads_and_writes_the_same_folder(tmp_path: Path) -> None:
    model = trained("llama-lm", vxlab.LoRA(rank=4, alpha=2))
    write_peft(model, tmp_path / "ours", task_type="CAUSAL_LM")
    theirs = ARCHITECTURES["llama-lm"]()
    with as_peft_warns():
        theirs.load_adapter(str(tmp_path / "ours"))
        torch.testing.assert_close(logits(theirs, "llama-lm"), logits(model, "llama-lm"), rtol=0, atol=1e-5)
        theirs.save_pretrained(tmp_path / "theirs")
    assert isinstance(theirs, transformers.PreTrainedModel)
    back = vxlab.load_adapter(ARCHITECTURES["llama-lm"](), tmp_path / "theirs")
    torch.testing.assert_close(logits(back, "llama-lm"), logits(model, "llama-lm"), rtol=0, atol=1e-5)


def test_tensors_lost_on_the_way_are_refused_where_peft_only_warns(tmp_path: Path) -> None:
    save_trained(tmp_path, "bert", peft.LoraConfig(r=4, target_modules=["query"]))
    change(tmp_path, lambda tensors: tensors.pop(min(key for key in tensors if "lora_B" in key)))
    with pytest.warns(UserWarning, match="missing adapter keys"):
        loaded_by_peft("bert", tmp_path)
    assert_refused(ARCHITECTURES["bert"](), tmp_path, "lacks lora_B.weight")
