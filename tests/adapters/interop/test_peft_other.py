"""What vxlab's own families cannot say, held as the peft library's own method."""

import re
from pathlib import Path

import peft
import pytest
import torch
from architectures import ARCHITECTURES
from foreign_folders import WEIGHTS, as_peft_warns, loaded_by_peft, logits, save_trained
from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING
from safetensors.torch import load_file
from toy_checkpoints import assert_refused, trained

import vxlab
from vxlab.adapters import write_peft
from vxlab.adapters.interop.keys import own_names

AT = {"target_modules": ["query", "value"]}
CASES = {
    "dora": peft.LoraConfig(r=4, use_dora=True, **AT),
    "ranks": peft.LoraConfig(r=4, rank_pattern={"value": 2}, alpha_pattern={"query": 3}, **AT),
    "a bias on B": peft.LoraConfig(r=4, lora_bias=True, **AT),
    "biases of the layers": peft.LoraConfig(r=4, bias="lora_only", **AT),
    "all biases": peft.LoraConfig(r=4, bias="all", **AT),
    "vera's biases": peft.VeraConfig(r=4, bias="vera_only", **AT),
    "tinylora": peft.TinyLoraConfig(r=2, **AT),
    "loha": peft.LoHaConfig(r=2, **AT),
    "fourierft": peft.FourierFTConfig(n_frequency=20, **AT),
    "ia3": peft.IA3Config(feedforward_modules=[], **AT),
    "adalora": peft.AdaLoraConfig(init_r=6, target_r=4, total_step=100, **AT),
    "adamss": peft.AdamssConfig(**AT),
    "beft": peft.BeftConfig(**AT),
    "boft": peft.BOFTConfig(boft_block_size=4, **AT),
    "c3a": peft.C3AConfig(block_size=4, **AT),
    "deft": peft.DeftConfig(**AT),
    "delora": peft.DeloraConfig(**AT),
    "glora": peft.GloraConfig(**AT),
    "gralora": peft.GraloraConfig(**AT),
    "hira": peft.HiraConfig(**AT),
    "hra": peft.HRAConfig(**AT),
    "lokr": peft.LoKrConfig(**AT),
    "miss": peft.MissConfig(r=4, **AT),
    "miss in its form bat": peft.MissConfig(r=4, init_weights="bat", **AT),
    "miss in its form mini": peft.MissConfig(r=4, mini_r=2, init_weights="mini", **AT),
    "a start without zeros": peft.LoHaConfig(init_weights=False, **AT),
    "oft": peft.OFTConfig(r=4, oft_block_size=0, **AT),
    "osf": peft.OSFConfig(**AT),
    "peanut": peft.PeanutConfig(**AT),
    "psoft": peft.PsoftConfig(r=4, **AT),
    "pvera": peft.PveraConfig(**AT),
    "randlora": peft.RandLoraConfig(r=4, **AT),
    "road": peft.RoadConfig(group_size=4, **AT),
    "shira": peft.ShiraConfig(r=2, **AT),
    "supertuning": peft.SupertuningConfig(**AT),
    "vblora": peft.VBLoRAConfig(vector_length=4, num_vectors=32, **AT),
    "waveft": peft.WaveFTConfig(n_frequency=20, **AT),
}


@pytest.mark.filterwarnings("ignore")  # peft's own: of extensions that it could compile, of sparse tensors
@pytest.mark.parametrize("case", CASES)
def test_an_adapter_of_peft_gives_the_same_logits_here_and_is_saved_here(case: str, tmp_path: Path) -> None:
    save_trained(tmp_path, "bert", CASES[case])
    ours = vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path)
    assert isinstance(ours.vxlab_attachment.method, vxlab.PEFT)
    expected = logits(ours, "bert")
    torch.testing.assert_close(expected, logits(loaded_by_peft("bert", tmp_path), "bert"), rtol=0, atol=1e-5)
    again = vxlab.load_adapter(ARCHITECTURES["bert"](), vxlab.save_adapter(ours, tmp_path / "ours"))
    assert torch.equal(logits(again, "bert"), expected)
    with as_peft_warns():
        write_peft(again, tmp_path / "back")
    back = loaded_by_peft("bert", tmp_path / "back")
    torch.testing.assert_close(logits(back, "bert"), expected, rtol=0, atol=1e-5)
    first, last = (load_file(folder / WEIGHTS) for folder in (tmp_path, tmp_path / "back"))
    assert {name: tuple(each.shape) for name, each in first.items() if "module" not in name} == {
        name: tuple(each.shape) for name, each in last.items()
    }


def test_layers_that_share_a_tensor_by_how_their_targets_are_written_are_refused(tmp_path: Path) -> None:
    save_trained(tmp_path, "bert", peft.LilyConfig(r=4, **AT))
    assert_refused(ARCHITECTURES["bert"](), tmp_path, "lily_B.weight in one with another layer's here")


def test_layers_that_share_a_tensor_are_written_so_that_they_share_it_there(tmp_path: Path) -> None:
    model = trained("bert", vxlab.PEFT("lily", r=4), "query-value")
    back = loaded_by_peft("bert", write_peft(model, tmp_path))
    torch.testing.assert_close(logits(back, "bert"), logits(model, "bert"), rtol=0, atol=1e-5)
    again = vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path)
    assert torch.equal(logits(again, "bert"), logits(model, "bert"))


@pytest.mark.filterwarnings("ignore:Unsupported layer type")  # of peft's, of layer norms
@pytest.mark.parametrize("config", ["unilora", "ln_tuning"])
def test_a_method_without_tensors_on_linear_layers_is_refused(config: str, tmp_path: Path) -> None:
    kind, message = {
        "unilora": (peft.UniLoraConfig(r=4, **AT), "holds no tensor of peft_type 'UNILORA'"),
        "ln_tuning": (peft.LNTuningConfig(target_modules=["LayerNorm"]), "trains layer norms"),
    }[config]
    save_trained(tmp_path, "bert", kind, head=False)
    assert_refused(ARCHITECTURES["bert"](), tmp_path, message)


def test_which_tensors_are_a_methods_own_is_as_peft_has_it() -> None:
    for kind, prefix in PEFT_TYPE_TO_PREFIX_MAPPING.items():
        assert re.fullmatch(own_names(kind.value), f"{prefix}A" if kind.value == "LORA" else f"{prefix}x")
