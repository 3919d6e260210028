"""Models inside other modules: of torch's for devices and its compiler, and of one's own around several encoders."""

import copy
import warnings
from pathlib import Path

import pytest
import torch
import transformers
from architectures import ARCHITECTURES, GPT2, TEXT, inputs
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from toy_checkpoints import logits, trained

import vxlab
from vxlab.adapters.placement.targets import backbones, head_parameters

HEAD = ["classifier.weight", "classifier.bias"]


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return transformers.BertModel(transformers.BertConfig(**TEXT)).eval()


class Pair(nn.Module):
    """Two encoders and a head, as in a model of pairs of texts."""

    def __init__(self) -> None:
        super().__init__()
        self.towers = nn.ModuleDict({"left": encoder(), "right": encoder()})
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 2)

    def forward(self, **batch: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(torch.cat([tower(**batch).pooler_output for tower in self.towers.values()], -1)))


class UsersOwn(transformers.PreTrainedModel):
    """One's own transformers model, which names no prefix."""

    config_class = transformers.BertConfig

    def __init__(self, config: transformers.BertConfig) -> None:
        super().__init__(config)
        self.inside, self.head = transformers.BertModel(config), nn.Linear(32, 2)


def test_the_head_is_what_stands_outside_every_encoder() -> None:
    pair = Pair()
    assert backbones(pair) == list(pair.towers.values())
    assert list(head_parameters(pair)) == ["norm.weight", "norm.bias", "head.weight", "head.bias"]
    assert list(head_parameters(nn.Sequential(encoder(), nn.Linear(32, 2)))) == ["1.weight", "1.bias"]
    assert list(head_parameters(UsersOwn(transformers.BertConfig(**TEXT)))) == ["head.weight", "head.bias"]
    assert list(head_parameters(nn.ModuleDict({"a": ARCHITECTURES["bert"]()}))) == [f"a.{name}" for name in HEAD]
    language = transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2, tie_word_embeddings=False))
    assert list(head_parameters(nn.ModuleList([language, nn.Linear(2, 2)]))) == ["1.weight", "1.bias"]


def test_the_head_of_ones_own_module_learns() -> None:
    pair = vxlab.attach(Pair(), vxlab.LoRA(rank=2))
    assert vxlab.trainable_parameters(pair).head == 2 * 64 + 2 * 64 + 2
    assert len(vxlab.adapted_layers(pair)) == 8
    optimizer = torch.optim.AdamW([p for p in pair.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(12):
        loss = nn.functional.cross_entropy(pair(**inputs("bert")), torch.tensor([0, 1]))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_an_adapter_of_ones_own_module_loads_again(tmp_path: Path) -> None:
    torch.manual_seed(5)
    pair, again = Pair(), Pair()
    vxlab.attach(pair, vxlab.VeRA(rank=4))
    with torch.no_grad():
        for parameter in pair.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
        vxlab.load_adapter(again, vxlab.save_adapter(pair, tmp_path / "a"))
        assert torch.equal(again(**inputs("bert")), pair(**inputs("bert")))


def test_the_model_inside_data_parallel_is_adapted_merged_and_saved(tmp_path: Path) -> None:
    source, bare = trained("bert", vxlab.LoRA(rank=2)), ARCHITECTURES["bert"]()
    outside = nn.DataParallel(bare)
    assert vxlab.load_adapter(outside, vxlab.save_adapter(source, tmp_path / "a")) is outside
    assert vxlab.trainable_parameters(outside) == vxlab.trainable_parameters(source)
    assert torch.equal(logits(outside, "bert"), logits(source, "bert"))
    vxlab.save_adapter(outside, tmp_path / "b")
    again = vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path / "b")
    assert torch.equal(logits(again, "bert"), logits(source, "bert"))
    torch.testing.assert_close(logits(vxlab.merge(outside), "bert"), logits(source, "bert"))
    vxlab.detach(vxlab.unmerge(outside))
    assert torch.equal(logits(outside, "bert"), logits(vxlab.detach(source), "bert"))
    assert not hasattr(bare, "vxlab_attachment")
    vxlab.attach(outside, vxlab.Head())
    with pytest.raises(vxlab.VxlabError, match=r"already has Head\(\) attached"):
        vxlab.attach(bare, vxlab.LoRA(rank=2))


def test_a_model_that_is_compiled_already_is_adapted_and_traced_anew() -> None:
    torch._dynamo.reset()
    bare, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)), torch.ones(2, 4)
    compiled = torch.compile(bare, backend="eager")
    with warnings.catch_warnings():  # torch's own, while it traces
        warnings.simplefilter("ignore", DeprecationWarning)
        before = compiled(x)
        assert vxlab.attach(compiled, vxlab.LoRA(rank=2), targets="all-linear") is compiled
        assert vxlab.trainable_parameters(compiled) == vxlab.trainable_parameters(bare) == (32, 0, 40)
        with torch.no_grad():
            for layer in vxlab.adapted_layers(compiled).values():
                layer.trained_tensors()["B"].fill_(0.5)
        assert not torch.allclose(compiled(x), before)
        torch.testing.assert_close(compiled(x), bare(x))
        torch.testing.assert_close(vxlab.detach(compiled)(x), before)


def test_attaching_inside_distributed_data_parallel_is_refused(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        inside = DistributedDataParallel(ARCHITECTURES["bert"]())
        with pytest.raises(vxlab.VxlabError, match=r"inside DistributedDataParallel, .* attach to model.module, then"):
            vxlab.attach(inside, vxlab.LoRA(rank=2))
        source = trained("bert", vxlab.LoRA(rank=2))
        folder = vxlab.save_adapter(DistributedDataParallel(copy.deepcopy(source)), tmp_path / "a")
        with pytest.raises(vxlab.VxlabError, match="inside DistributedDataParallel"):
            vxlab.load_adapter(inside, folder)
        attached = vxlab.attach(ARCHITECTURES["bert"](), vxlab.LoRA(rank=2), targets="all-linear")
        vxlab.load_adapter(DistributedDataParallel(attached), folder)
        assert torch.equal(logits(attached, "bert"), logits(source, "bert"))
    finally:
        torch.distributed.destroy_process_group()
