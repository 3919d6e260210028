"""Bytes by what holds them against those counted by hand, and steps on each base."""

import pytest
import torch
from torch import nn

import vxlab
from vxlab.studies.quantised import HOLDERS, memory_by_scheme, weight_bytes

pytest.importorskip("bitsandbytes")
import toy_quantised as toy

SCHEMES = ["float", "nf4", "int8", "torchao-int8"]
NUMBERS = 128 * 64


class Toy(nn.Module):
    """An embedding, one linear layer, and an output layer that is tied to the embedding or not."""

    def __init__(self, scheme: str, tied: bool) -> None:
        super().__init__()
        self.embed, self.out, self.norm = nn.Embedding(10, 128), nn.Linear(128, 10, bias=False), nn.LayerNorm(64)
        linear = nn.Linear(128, 64)
        self.linear = linear if scheme == "float" else toy.quantised(linear, scheme)
        if tied:
            self.out.weight = self.embed.weight

    def get_output_embeddings(self) -> nn.Module:
        return self.out


@pytest.mark.parametrize(
    ("scheme", "linear", "scales"),
    [
        ("float", 4 * NUMBERS, 0),
        ("int8", NUMBERS, 4 * 64),
        # 128 blocks of 64 numbers, a byte each; these in one block with a float32; their mean; and two tables
        ("nf4", NUMBERS // 2, 128 + 4 + 4 + 4 * 16 + 4 * 256),
    ],
)
def test_every_byte_has_its_holder(scheme: str, linear: int, scales: int) -> None:
    held = weight_bytes(Toy(scheme, tied=False))
    assert tuple(held) == HOLDERS
    assert (held["linear"], held["scales"]) == (linear, scales)
    assert held["embeddings"] == held["head"] == 4 * 1280
    assert held["rest"] == 4 * (64 + 64 + 64)
    assert weight_bytes(Toy(scheme, tied=True))["head"] == 0


def test_torchaos_weight_is_counted_as_packed() -> None:
    held = weight_bytes(Toy("torchao-int8", tied=True))
    assert held["linear"] == NUMBERS
    assert 4 * 64 <= held["scales"] <= 8 * 64


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_forward_pass_changes_nothing_of_what_is_counted(scheme: str) -> None:
    model = Toy(scheme, tied=False).train()
    before = weight_bytes(model)
    model.linear(torch.randn(2, 128))
    assert weight_bytes(model) == before


def test_a_step_is_measured_on_every_base_and_leaves_the_model_bare(tiny_model: str) -> None:
    methods = [vxlab.LoRA(rank=2), vxlab.VeRA(rank=4)]
    table = memory_by_scheme(tiny_model, 2, SCHEMES, methods, "query-value", batch_size=2, tokens=8)
    assert list(zip(table["scheme"], table["candidate"], strict=True))[:3] == [
        ("float", "LoRA r=2"), ("float", "VeRA r=4"), ("nf4", "LoRA r=2"),
    ]  # fmt: skip
    assert (table["weights"] == table[list(HOLDERS)].sum(axis=1)).all()
    assert (table["peak"] >= table["weights"] + table["adapter"] + table["optimizer"]).all()
    by_scheme = table.groupby("scheme")
    assert (by_scheme["linear"].nunique() == 1).all()
    trained = table.set_index(["scheme", "candidate"])["optimizer"]
    assert trained.unstack("scheme").nunique(axis=1).eq(1).all()  # what trains does not depend on the base
