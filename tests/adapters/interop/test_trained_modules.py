"""What trained beside the adapters, as the peft library saves it: in whole modules, or refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES
from foreign_folders import CONFIG, loaded_by_peft, logits, move
from plain_models import Layers, Tree
from torch import nn

import vxlab
from vxlab.adapters import write_peft
from vxlab.adapters.interop.trained_modules import trained_modules


def adapted(name: str, change: Callable[[Any], object], targets: str | list[str] = "query-value") -> nn.Module:
    """Return a model with a LoRA on it, and something else that trains."""
    model = vxlab.attach(ARCHITECTURES[name](), vxlab.LoRA(rank=4), targets)
    change(model)
    move(model)
    return model


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("bert", lambda model: None, ["classifier"]),
        ("roberta", lambda model: None, ["classifier"]),
        ("gpt2", lambda model: None, ["score"]),
        ("gpt2-lm", lambda model: None, []),
        ("bert", lambda m: m.bert.pooler.requires_grad_(True), ["bert.pooler", "classifier"]),
        (
            "bert",
            lambda m: m.bert.embeddings.LayerNorm.bias.requires_grad_(True),
            ["bert.embeddings.LayerNorm", "classifier"],
        ),
        ("mistral", lambda m: m.lm_head.requires_grad_(True), ["lm_head"]),
    ],
)
def test_whole_modules_are_saved_and_peft_has_the_same_logits(
    name: str, change: Callable[[Any], object], expected: list[str], tmp_path: Path
) -> None:
    model = adapted(name, change)
    assert trained_modules(model) == expected
    write_peft(model, tmp_path)
    assert json.loads((tmp_path / CONFIG).read_text())["modules_to_save"] == (expected or None)
    torch.testing.assert_close(logits(loaded_by_peft(name, tmp_path), name), logits(model, name), rtol=0, atol=1e-5)
    back = vxlab.load_adapter(ARCHITECTURES[name](), tmp_path)
    assert torch.equal(logits(back, name), logits(model, name))


def test_a_pooler_that_loading_drew_is_of_the_head(tmp_path: Path) -> None:
    def drawn() -> Any:
        model = ARCHITECTURES["bert"]()
        model.vxlab_drawn = frozenset({"bert.pooler.dense.weight", "bert.pooler.dense.bias"})
        return model

    model = vxlab.attach(drawn(), vxlab.LoRA(rank=4))
    move(model)
    write_peft(model, tmp_path)
    assert json.loads((tmp_path / CONFIG).read_text())["modules_to_save"] == ["bert.pooler", "classifier"]
    assert torch.equal(logits(vxlab.load_adapter(drawn(), tmp_path), "bert"), logits(model, "bert"))


def test_modules_in_a_list_are_saved_one_by_one() -> None:
    model = Layers(body=nn.Linear(4, 4), heads=nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 3)]))
    vxlab.attach(model, vxlab.LoRA(rank=1), "body")
    model.heads.requires_grad_(True)
    assert trained_modules(model) == ["heads.0", "heads.1"]


class OwnParameter(nn.Module):
    """A layer and a parameter of the model's own."""

    def __init__(self) -> None:
        super().__init__()
        self.lin, self.scale = nn.Linear(4, 4), nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * self.lin(x)


@pytest.mark.parametrize(
    ("make", "targets", "train", "message"),
    [
        (OwnParameter, "lin", lambda m: m.scale.requires_grad_(True), "a parameter of its own, in no module of it"),
        (
            ARCHITECTURES["bert"],
            "query",
            lambda m: m.bert.encoder.layer[0].attention.self.query.bias.requires_grad_(True),
            "`bert.encoder.layer.0.attention.self.query` trains apart from its adapter",
        ),
        (
            ARCHITECTURES["llama-lm"],
            "q_proj",
            lambda m: m.model.embed_tokens.requires_grad_(True),
            "`model.embed_tokens.weight` trained and is one with `lm_head.weight`",
        ),
        (
            lambda: Tree("fc", "my_fc", "body"),
            "body",
            lambda m: m.fc.requires_grad_(True),
            "would take my_fc for one of the trained modules fc",
        ),
    ],
)
def test_what_no_folder_of_peft_can_say_is_refused(
    make: Callable[[], Any], targets: str, train: Callable[[Any], object], message: str, tmp_path: Path
) -> None:
    model = vxlab.attach(make(), vxlab.LoRA(rank=1), targets)
    train(model)
    with pytest.raises(vxlab.VxlabError, match=message):
        write_peft(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()
