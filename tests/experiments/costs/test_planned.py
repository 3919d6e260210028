"""A plan from the config alone against what a step on the real model is measured to hold."""

import image_models
import pandas as pd
import pytest
import torch
from architectures import ARCHITECTURES
from transformers import BertConfig, LlamaConfig, MixtralConfig, RobertaConfig

import vxlab
from vxlab.experiments.costs import planned, random_batch
from vxlab.experiments.costs.step import step_memory
from vxlab.experiments.tasks.kinds import answer_loss

BATCH, TOKENS = 4, 24
METHODS = {
    "lora": vxlab.LoRA(rank=4, dropout=0.1),
    "vera": vxlab.VeRA(rank=16),
    "xs": vxlab.LoRAXS(rank=8),
    "full": vxlab.Full(),
}
SETTINGS = {"batch_size": BATCH, "tokens": TOKENS, "device": "cpu"}
PARTS = ("weights", "adapter", "gradients", "optimizer")


@pytest.fixture
def config_of(tmp_path):
    def write(name):
        ARCHITECTURES[name]().config.save_pretrained(tmp_path / name)
        return str(tmp_path / name)

    return write


def _measured(model, precision, writes):
    model.train()
    batch = random_batch(model, BATCH, TOKENS)
    batch["attention_mask"][0, -1] = 0  # padded, as a plan takes texts to be
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=0.0)
    return step_memory(model, batch, optimizer, precision, answer_loss if writes else None)


CASES = [
    ("bert", "float32", False), ("bert", "bfloat16", True), ("mpnet", "float32", False), ("gpt2-lm", "float32", True),
    ("llama-lm", "float32", False), ("llama-lm", "bfloat16", False), ("gemma2", "bfloat16", False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "precision", "checkpointing"), CASES)
def test_a_plan_is_what_a_step_on_the_real_model_holds(name, precision, checkpointing, config_of):
    writes = name in ("gpt2-lm", "llama-lm", "gemma2")
    folder = config_of(name)
    table = vxlab.plan_memory(folder, 0 if writes else 2, METHODS, "all-linear", precision=precision,
                              gradient_checkpointing=checkpointing, **SETTINGS).set_index("method")  # fmt: skip
    for label, method in METHODS.items():
        model, told = vxlab.attach(ARCHITECTURES[name](), method, "all-linear"), table.loc[label]
        if checkpointing:
            model.activation_checkpointing_enable()
        real = _measured(model, precision, writes)
        assert told["error"] == ""
        assert {part: told[part] for part in PARTS} == {part: getattr(real, part) for part in PARTS}
        # The real loss keeps a truth value for each token where the planned one keeps two indices.
        assert told["activations"] - real.activations == (15 * BATCH * (TOKENS - 1) if writes else 0)
        # What kernels take for themselves is much of a tiny step.
        assert told["peak"] == pytest.approx(real.peak, rel=0.15)


@pytest.mark.parametrize("name", ["vit", "convnext"])
@pytest.mark.parametrize(("resolution", "precision"), [(None, "float32"), (48, "bfloat16")])
def test_a_plan_of_images_is_what_a_step_on_the_real_model_holds(name, resolution, precision, tmp_path):
    folder = str(image_models.write_model(tmp_path / name, name))
    table = vxlab.plan_memory(folder, 3, METHODS, "all-linear", precision=precision, resolution=resolution,
                              batch_size=BATCH, device="cpu").set_index("method")  # fmt: skip
    for label in ("lora", "vera", "xs"):
        model = vxlab.attach(vxlab.load_model(folder, 3), METHODS[label], "all-linear").train()
        batch = random_batch(model, BATCH, resolution=resolution or image_models.SIDE)
        optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=0.0)
        real, told = step_memory(model, batch, optimizer, precision), table.loc[label]
        assert told["error"] == ""
        assert {part: told[part] for part in PARTS} == {part: getattr(real, part) for part in PARTS}
        assert told["activations"] == pytest.approx(real.activations, rel=0 if precision == "float32" else 0.01)
        assert told["peak"] == pytest.approx(real.peak, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "num_labels"), [("minilm", 2), ("smollm2", 0)])
def test_a_plan_of_a_model_as_it_is_used_is_right_within_a_hundredth(model, num_labels):
    loaded = vxlab.load_model(model, num_labels)
    for precision in ("float32", "bfloat16"):
        methods = {name: METHODS[name] for name in ("lora", "vera", "xs")}
        table = vxlab.plan_memory(model, num_labels, methods, precision=precision, **SETTINGS).set_index("method")
        for label, method in methods.items():
            vxlab.attach(loaded, method)
            real = _measured(loaded, precision, not num_labels)
            vxlab.detach(loaded)
            assert {part: table.loc[label, part] for part in PARTS} == {part: getattr(real, part) for part in PARTS}
            assert table.loc[label, "peak"] == pytest.approx(real.peak, rel=0.01)


def test_the_numbers_of_parameters_and_bytes_are_those_of_the_adapter(config_of, tmp_path):
    methods = {**METHODS, "gradient": vxlab.LoRAXS(rank=8, basis="gradient"), "lidb": vxlab.LiDB(1, 8, 8)}
    by_layer = {"query": 2, "value": 5}
    methods |= {f"{kind.name} by layer": kind(rank=by_layer) for kind in (vxlab.LoRA, vxlab.VeRA, vxlab.LoRAXS)}
    table = vxlab.plan_memory(config_of("bert"), 2, methods, "query-value", **SETTINGS).set_index("method")
    for label, method in methods.items():
        bare = ARCHITECTURES["bert"]()
        layers = vxlab.resolve_targets(bare, "query-value")
        assert table.loc[label, "backbone"] == method.count(bare, layers)
        assert table.loc[label, "head"] == 2 * 32 + 2
    kept = 4 * 8 * (32 + 32)  # of a gradient's directions, in four layers
    assert table.loc["gradient", "stored"] == table.loc["xs", "stored"] + 4 * kept
    model = vxlab.attach(ARCHITECTURES["bert"](), methods["lora"], "query-value")
    saved = vxlab.save_adapter(model, tmp_path / "adapter")
    file = next(saved.glob("*.safetensors")).stat().st_size
    assert 0 < file - table.loc["lora", "stored"] < 5_000  # the tensors' names


def test_logits_are_what_the_output_layer_and_the_loss_keep(config_of):
    methods = {"lora": METHODS["lora"]}
    table = vxlab.plan_memory(config_of("llama-lm"), 0, methods, **SETTINGS).set_index("method")
    answers = BATCH * (TOKENS - 1)
    # The normalised logits, and where each stood. The input of the tied output layer is kept where that trains.
    of_logits = 4 * 64 * answers + 16 * answers
    assert table.loc["lora", "logits"] >= of_logits
    assert table.loc["lora", "logits"] - of_logits < 4 * 32 * BATCH * TOKENS
    labelled = vxlab.plan_memory(config_of("bert"), 2, methods, **SETTINGS)
    assert (labelled["logits"] == 0).all()


def test_more_of_anything_needs_more_and_half_precision_keeps_less(config_of):
    folder = config_of("llama-lm")

    def peak(**changed) -> int:
        return vxlab.plan_memory(folder, 0, {"lora": METHODS["lora"]}, **{**SETTINGS, **changed})["peak"][0]

    usual = peak()
    assert peak(batch_size=2 * BATCH) > usual
    assert peak(tokens=2 * TOKENS) > usual
    assert peak(gradient_checkpointing=True) < usual


def test_on_a_gpu_all_of_a_model_is_updated_at_once(tmp_path):
    BertConfig(vocab_size=64, hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512,
               max_position_embeddings=16).save_pretrained(tmp_path)  # fmt: skip
    few = {"batch_size": 1, "tokens": 2}
    rows = [vxlab.plan_memory(str(tmp_path), 2, {"full": vxlab.Full()}, device=each, **few).loc[0]
            for each in ("cpu", "cuda")]  # fmt: skip
    one_by_one, at_once = rows
    assert one_by_one["optimizer"] == at_once["optimizer"]
    assert one_by_one["temporary"] < 0.2 * one_by_one["gradients"]
    assert at_once["temporary"] >= 0.9 * at_once["gradients"]


def test_what_fits_is_told_where_the_memory_is_known(config_of, monkeypatch):
    folder, methods = config_of("bert"), {name: METHODS[name] for name in ("xs", "full")}
    table = vxlab.plan_memory(folder, 2, methods, **SETTINGS)
    assert table["fits"].isna().all()
    limit = int(table["peak"].mean())
    told = vxlab.plan_memory(folder, 2, methods, memory=limit, **SETTINGS)
    assert told["fits"].tolist() == [peak <= limit for peak in table["peak"]]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (limit, 2 * limit))
    assert planned.free_memory() == limit


def test_what_cannot_be_attached_leaves_a_row_that_says_why(config_of):
    methods = {"large": vxlab.LoRAXS(rank=33), "probe": vxlab.Probe(), "good": vxlab.LoRA(rank=2)}
    table = vxlab.plan_memory(config_of("bert"), 2, methods, memory=10**9, **SETTINGS).set_index("method")
    assert "rank=33 is more than min(in_features, out_features)=32" in table.loc["large", "error"]
    assert "trains nothing in a model" in table.loc["probe", "error"]
    assert pd.isna(table.loc["large", "peak"])
    assert pd.isna(table.loc["large", "fits"])
    assert table.loc["good", "error"] == ""
    assert table.loc["good", "fits"]


@pytest.mark.parametrize("name", ["deberta", "mixtral"])
def test_a_model_whose_steps_go_by_values_says_so_and_torch_logs_nothing(name, config_of, tmp_path, caplog):
    if name == "mixtral":
        MixtralConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
                      intermediate_size=48, num_local_experts=4).save_pretrained(tmp_path)  # fmt: skip
    folder, labels = (str(tmp_path), 0) if name == "mixtral" else (config_of(name), 2)
    table = vxlab.plan_memory(folder, labels, {"lora": METHODS["lora"]}, precision="bfloat16", **SETTINGS)
    assert "takes no step on shapes alone" in table["error"][0]
    assert caplog.records == []


def test_methods_of_peft_are_not_planned(config_of):
    pytest.importorskip("peft")
    table = vxlab.plan_memory(config_of("llama-lm"), 0, {"dora": vxlab.PEFT("dora", r=4)}, **SETTINGS)
    assert "is put on by peft, which needs a model with values" in table["error"][0]
    assert pd.isna(table["peak"][0])


def test_a_model_of_seven_billion_is_planned_in_next_to_no_memory(tmp_path):
    LlamaConfig(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
                num_attention_heads=32).save_pretrained(tmp_path)  # fmt: skip
    before = torch.get_rng_state()
    table = vxlab.plan_memory(str(tmp_path), 0, {"lora": vxlab.LoRA(rank=8)}, batch_size=8, tokens=512,
                              precision="bfloat16", memory=80 * 10**9, device="cuda").loc[0]  # fmt: skip
    assert torch.equal(torch.get_rng_state(), before)
    assert table["backbone"] == 2 * 32 * 8 * (4096 + 4096)
    assert table["weights"] - 4 * 6_738_415_616 < 10_000  # and the turning of positions
    assert table["optimizer"] - 2 * 4 * table["backbone"] == 4 * 2 * 2 * 32  # each tensor's count of steps
    # At the least every layer's input, its square's root apart, and the MLP's in bfloat16.
    assert 20e9 < table["activations"] < 40e9
    assert table["fits"]


def test_bad_input_is_refused_before_anything_is_planned(config_of, tmp_path):
    folder = config_of("bert")

    def plan(model=folder, num_labels=2, **changed):
        return vxlab.plan_memory(model, num_labels, METHODS, **{**SETTINGS, **changed})

    with pytest.raises(vxlab.VxlabError, match="tokens=513 is more than the 512 positions"):
        plan(tokens=513)
    RobertaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48,
                  max_position_embeddings=20).save_pretrained(tmp_path / "roberta")  # fmt: skip
    with pytest.raises(vxlab.VxlabError, match="tokens=19 is more than the 18 positions"):
        plan(str(tmp_path / "roberta"), tokens=19)
    with pytest.raises(vxlab.VxlabError, match="batch_size=0"):
        plan(batch_size=0)
    with pytest.raises(vxlab.VxlabError, match="precision='int8'"):
        plan(precision="int8")
    with pytest.raises(vxlab.VxlabError, match="device"):
        plan(device="tpu")
    with pytest.raises(vxlab.VxlabError, match="memory=-1"):
        plan(memory=-1)
    with pytest.raises(vxlab.VxlabError, match="matches no layer"):
        plan(targets="nothing")
    with pytest.raises(vxlab.VxlabError, match=r"preprocessor_config.json file; or give resolution"):
        plan(config_of("vit"))
    with pytest.raises(vxlab.VxlabError, match=r"resolution=30: .* reads patches of 8 pixels"):
        plan(config_of("vit"), resolution=30)
    with pytest.raises(vxlab.VxlabError, match=r"resolution=32: .* reads no images"):
        plan(resolution=32)
    with pytest.raises(vxlab.VxlabError, match="leaves a model that writes nothing to learn"):
        plan(config_of("llama-lm"), 0, tokens=1)
    with pytest.raises(vxlab.VxlabError, match="is not a method"):
        vxlab.plan_memory(folder, 2, {"lora": "lora"}, **SETTINGS)
