"""LoRA-XS's released folders: the same outputs as that code's own forward pass, and refused wherever not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES, inputs, loaded_in_a_new_process
from released_lora_xs import FORMS, drawn, exact, randomised, released_model, rewrite, write_released
from safetensors.torch import load_file
from torch import Tensor, nn

import vxlab
from vxlab.adapters.placement.attached import attachment_of, stored_bases

# PEFT asks transformers for a property that transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

GLUE = ["query", "value", "attention.output.dense", "output.dense"]
MATH = ["q_proj", "o_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "down_proj"]
OF = {"roberta": (GLUE, "SEQ_CLS"), "bert": (GLUE, "SEQ_CLS"), "llama": (MATH, "SEQ_CLS"),
      "llama-lm": (MATH, "CAUSAL_LM")}  # fmt: skip
KEPT = "they are kept as given, and saved with the adapter"


def logits(model: Any, name: str) -> Tensor:
    with torch.no_grad():
        return model.eval()(**inputs(name)).logits


def released(name: str, **settings: Any) -> Any:
    targets, task = OF[name]
    return released_model(ARCHITECTURES[name](), targets, task_type=task, **settings)


def loaded(name: str, folder: Path) -> nn.Module:
    return vxlab.load_adapter(ARCHITECTURES[name](), folder)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", OF)
def test_outputs_are_those_of_the_released_forward_pass(name: str, form: str, tmp_path: Path) -> None:
    theirs = released(name)
    folder = write_released(theirs, tmp_path / "run" / "ft", form)
    with pytest.warns(vxlab.errors.VxlabWarning, match=KEPT):
        ours = loaded(name, folder)
    expected = logits(theirs, name)
    torch.testing.assert_close(logits(ours, name), expected, rtol=0, atol=1e-5)
    assert (expected - logits(ARCHITECTURES[name](), name)).abs().max() > 1e-2
    assert attachment_of(ours).method == vxlab.LoRAXS(rank=4, alpha=16, basis="given")
    used = len(attachment_of(ours).layers) * 3 + len(list(vxlab.adapters.placement.head_parameters(ours)))
    assert used == len(load_file(folder / "adapter_model.safetensors"))


@pytest.mark.parametrize("form", FORMS)
def test_exact_bases_are_recognised_and_r_is_said_in_their_signs(form: str, tmp_path: Path) -> None:
    theirs = released("bert", bases=exact, rank=5)
    ours = loaded("bert", write_released(theirs, tmp_path / "run" / "ft", form))
    torch.testing.assert_close(logits(ours, "bert"), logits(theirs, "bert"), rtol=0, atol=1e-5)
    assert attachment_of(ours).method == vxlab.LoRAXS(rank=5, alpha=16)
    assert stored_bases(ours) == {}
    folder = vxlab.save_adapter(ours, tmp_path / "saved")
    assert torch.equal(logits(loaded("bert", folder), "bert"), logits(ours, "bert"))


def test_given_bases_are_saved_whole_and_loaded_bit_for_bit(tmp_path: Path) -> None:
    with pytest.warns(vxlab.errors.VxlabWarning, match=KEPT):
        ours = loaded("roberta", write_released(released("roberta"), tmp_path / "ft"))
    folder = vxlab.save_adapter(ours, tmp_path / "saved")
    stored = load_file(tmp_path / "ft" / "adapter_model.safetensors")
    for key, basis in stored_bases(ours).items():
        layer, _, side = key.rpartition(".")
        theirs = "lora_B" if side == "left_basis" else "lora_A"
        assert torch.equal(basis, stored[f"base_model.model.{layer}.{theirs}.weight"])
    again = loaded("roberta", folder)
    assert torch.equal(logits(again, "roberta"), logits(ours, "roberta"))
    assert loaded_in_a_new_process([folder], "roberta") == [logits(ours, "roberta").numpy().tobytes().hex()]
    # Onto a model that has another adapter's bases, too.
    with torch.no_grad():
        for basis in stored_bases(again).values():
            basis.zero_()
    assert torch.equal(logits(vxlab.load_adapter(again, folder), "roberta"), logits(ours, "roberta"))


def test_how_far_given_bases_are_is_said_in_angles(tmp_path: Path) -> None:
    theirs = released("bert", bases=turned)
    folder = write_released(theirs, tmp_path / "ft")
    message = r"in 8 of 8 layers: the largest principal angle is 11° in `bert.*` \(median over the layers: 11°\)"
    with pytest.warns(vxlab.errors.VxlabWarning, match=message):
        loaded("bert", folder)


def turned(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return bases as an SVD that has not converged leaves them: U tilted by 0.2, and UᵀW."""
    U = torch.linalg.svd(weight.double(), full_matrices=True).U
    tilted = torch.cos(torch.tensor(0.2)) * U[:, :rank] + torch.sin(torch.tensor(0.2)) * U[:, -rank:]
    return (tilted.T @ weight.double()).float(), tilted.float()


@pytest.mark.parametrize("told", [{"replacement_module_random_init": True}, {}])
def test_random_bases_are_kept_and_said_to_tell_no_base(told: dict[str, bool], tmp_path: Path) -> None:
    theirs = released("bert", bases=drawn)
    folder = write_released(theirs, tmp_path / "ft", reconstruction=told)
    with pytest.warns(vxlab.errors.VxlabWarning, match="no SVD's .*which base they belong to cannot be"):
        ours = loaded("bert", folder)
    torch.testing.assert_close(logits(ours, "bert"), logits(theirs, "bert"), rtol=0, atol=1e-5)


def test_square_layers_that_store_wt_are_as_the_released_code_had_them(tmp_path: Path) -> None:
    """It decomposes their weight as if it were (out, in), which fits square layers alone."""
    theirs = released_model(ARCHITECTURES["gpt2-lm"](), ["attn.c_proj"], task_type="CAUSAL_LM", fan_in_fan_out=True)
    folder = write_released(theirs, tmp_path / "ft")
    with pytest.warns(vxlab.errors.VxlabWarning, match=KEPT):
        ours = loaded("gpt2-lm", folder)
    torch.testing.assert_close(logits(ours, "gpt2-lm"), logits(theirs, "gpt2-lm"), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("alpha", "rank_stabilised", "scaling"), [(8, False, 2.0), (6, True, 3.0)])
def test_the_scale_is_the_released_one(alpha: float, rank_stabilised: bool, scaling: float, tmp_path: Path) -> None:
    theirs = released("bert", bases=exact, alpha=alpha, use_rslora=rank_stabilised)
    ours = loaded("bert", write_released(theirs, tmp_path / "ft"))
    assert attachment_of(ours).method.scaling == scaling
    torch.testing.assert_close(logits(ours, "bert"), logits(theirs, "bert"), rtol=0, atol=1e-5)


def test_dropout_of_the_run_is_said_to_be_left_out(tmp_path: Path) -> None:
    folder = write_released(released("bert", bases=exact, lora_dropout=0.05), tmp_path / "ft")
    with pytest.warns(vxlab.errors.VxlabWarning, match="trained with lora_dropout=0.05, which LoRA-XS here does not"):
        loaded("bert", folder)


@pytest.mark.parametrize("bases", [randomised, exact])
@pytest.mark.parametrize("part", [1.0, 1e-3])
def test_another_base_is_refused_with_how_far_it_is(part: float, bases: Any, tmp_path: Path) -> None:
    folder = write_released(released("bert", bases=bases), tmp_path / "ft")
    other = ARCHITECTURES["bert"]()
    with torch.no_grad():
        weight = other.get_parameter("bert.encoder.layer.1.attention.self.value.weight")
        weight.add_(torch.randn_like(weight) * weight.std() * part)
    refused(other, folder, r"of another base's weights in 1 of 8 layers: in `bert.*1.attention.self.value` UᵀW differs")


def test_a_base_in_half_precision_is_the_same_base(tmp_path: Path) -> None:
    folder = write_released(released("bert"), tmp_path / "ft")
    with pytest.warns(vxlab.errors.VxlabWarning, match=KEPT):
        half = vxlab.load_adapter(ARCHITECTURES["bert"]().bfloat16(), folder)
    assert attachment_of(half).method == vxlab.LoRAXS(rank=4, alpha=16, basis="given")


def refused(model: nn.Module, folder: Path, message: str) -> None:
    before = {name: each.clone() for name, each in model.state_dict().items()}
    with pytest.raises(vxlab.VxlabError, match=message):
        vxlab.load_adapter(model, folder)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(each, after[name]) for name, each in before.items())


def without(*ends: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """Drop the first layer's keys with these ends."""
    return lambda tensors: {
        key: each for key, each in tensors.items() if not (".0.attention.self.query" in key and key.endswith(ends))
    }


def both_forms(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    older = {key.replace(".default_lora", "_lora"): each + 1 for key, each in tensors.items() if "latent" in key}
    return tensors | older


def second_adapter(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {
        key.replace("lora_A", "lora_A.other"): each + 1 for key, each in tensors.items() if "lora_A" in key
    }


def of_rank(rank: int) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {key: each[:rank, :rank] if "latent" in key else each for key, each in tensors.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            without("latent_mapping.weight"),
            r"`bert.*0.*query` lacks R \(lora_latent_mapping.weight\); loading that is not strict loses it silently",
        ),
        (
            lambda tensors: {key: each for key, each in tensors.items() if "latent" not in key},
            r"lacks R .* in every layer, and reconstr_config.json there or around it says .*if this is a plain LoRA",
        ),
        (without("lora_A.weight"), r"`bert.*0.*query` lacks lora_A.weight; get the whole folder"),
        (without("lora_B.weight"), r"`bert.*0.*query` lacks lora_B.weight; get the whole folder"),
        (without("lora_A.weight", "lora_B.weight"), "lacks lora_A.weight and lora_B.weight"),
        (
            lambda tensors: {key: each for key, each in tensors.items() if "0.attention.self.query" not in key},
            r"lacks the tensors of `bert.*0.attention.self.query`, one of 8 layers",
        ),
        (
            lambda tensors: {key: each for key, each in tensors.items() if "classifier" not in key},
            "lacks `classifier.bias`",
        ),
        (of_rank(3), r"A, B and R of `bert.*` are \(4, 32\), \(32, 4\), \(3, 3\), and rank 4 in adapter_config.json"),
        (both_forms, "R under both forms of its key"),
        (second_adapter, r"has 'bert.*lora_A.other.weight', which is of no LoRA-XS, or of another adapter beside it"),
    ],
)
def test_files_that_are_not_whole_are_refused(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str, tmp_path: Path
) -> None:
    folder = write_released(released("bert"), tmp_path / "ft")
    rewrite(folder, change(load_file(folder / "adapter_model.safetensors")))
    refused(ARCHITECTURES["bert"](), folder, message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 3}, r"adapter_config.json says rank 3 and reconstr_config.json 4: they are of two runs"),
        ({"rank_pattern": {"query": 2}}, "has rank_pattern=.*which LoRA-XS's released code does not know"),
        ({"use_dora": True}, "has use_dora=True, which LoRA-XS's released code does not know"),
        ({"bias": "all"}, "has bias='all', which LoRA-XS's released code does not know"),
    ],
)
def test_a_config_that_does_not_belong_is_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = write_released(released("bert"), tmp_path / "ft")
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    refused(ARCHITECTURES["bert"](), folder, message)


def test_another_models_layers_are_refused(tmp_path: Path) -> None:
    folder = write_released(released("bert"), tmp_path / "ft")
    refused(ARCHITECTURES["roberta"](), folder, r"adapts `bert.encoder.*`, which this Roberta.* lacks")
    from transformers import BertConfig, BertForSequenceClassification

    wider = BertForSequenceClassification(BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=64
    ))  # fmt: skip
    refused(wider, folder, r"are of a layer \(out, in\) = \(32, 48\), and this model's is \(32, 64\)")


@pytest.mark.parametrize("bases", [randomised, exact])
def test_one_that_lost_its_r_and_its_runs_file_is_no_lora(bases: Any, tmp_path: Path) -> None:
    folder = write_released(released("bert", bases=bases), tmp_path / "ft")
    (folder / "reconstr_config.json").unlink()
    tensors = load_file(folder / "adapter_model.safetensors")
    rewrite(folder, {key: each for key, each in tensors.items() if "latent" not in key})
    refused(ARCHITECTURES["bert"](), folder, r"says LoRA, and its A and B are singular triplets .* in all 8 layers")
    # A LoRA that was trained is one.
    trained = {key: each + 1e-3 * each.std() * torch.randn_like(each) for key, each in tensors.items()}
    rewrite(folder, {key: each for key, each in trained.items() if "latent" not in key})
    assert attachment_of(loaded("bert", folder)).method == vxlab.LoRA(rank=4, alpha=16)


def test_a_damaged_file_of_the_run_is_refused(tmp_path: Path) -> None:
    folder = write_released(released("bert"), tmp_path / "ft")
    (folder / "reconstr_config.json").write_text("{")
    refused(ARCHITECTURES["bert"](), folder, "reconstr_config.json cannot be read")


def test_given_bases_come_from_a_folder_alone() -> None:
    model = ARCHITECTURES["bert"]()
    with pytest.raises(vxlab.VxlabError, match=r"acts on bases that an adapter's folder holds.*vxlab.load_adapter"):
        vxlab.attach(model, vxlab.LoRAXS(rank=4, basis="given"))
    assert not vxlab.adapted_layers(model)
    with pytest.raises(vxlab.VxlabError, match="LoRAXS sigma='output' moves nothing in bases that are given"):
        vxlab.LoRAXS(basis="given", sigma="output")
