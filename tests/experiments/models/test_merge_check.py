"""Merged against unmerged, held against a definition that neither computes: a merge that is wrong is seen."""

import pytest
import torch
from architectures import ARCHITECTURES
from text_batches import text_batches
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import vxlab
from vxlab.experiments.models.merge_check import check_merge

FAMILIES = {"lora": vxlab.LoRA(rank=3), "vera": vxlab.VeRA(rank=5), "lora_xs": vxlab.LoRAXS(rank=4)}
TEXTS = ["a b c d", "b", "d c b a d c b a", "c c"]


@pytest.fixture(params=["bert", "gpt2", "llama"])
def saved(request, tmp_path):
    """A folder with a whole model and its tokenizer, as a user would name it."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate("abcdefgh", start=3)} | {"?": 0}, "?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    ARCHITECTURES[request.param]().save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="?", unk_token="?").save_pretrained(tmp_path)
    return str(tmp_path)


def _adapted(saved, method, size=0.1):
    """Return a model whose adapters' trained tensors are random numbers of this size, as training would leave them."""
    model = vxlab.attach(vxlab.load_model(saved, 2), method, "query-value")
    generator = torch.Generator().manual_seed(3)
    for layer in vxlab.adapted_layers(model).values():
        for parameter in layer.trained_tensors().values():
            parameter.data = torch.randn(parameter.shape, generator=generator) * size
    return model


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", FAMILIES.values(), ids=FAMILIES)
def test_a_merge_that_is_right_is_off_by_rounding_and_is_undone(saved, method, precision):
    model = _adapted(saved, method)
    before = {name: each.clone() for name, each in model.named_parameters()}
    found = check_merge(model, text_batches(saved, TEXTS), precision=precision)
    assert found.merges
    assert found.computes
    assert 0 < found.merged < (1e-5 if precision == "float32" else 0.1)
    assert "no more than rounding does" in found.sentence()
    assert all(each.equal(before[name]) for name, each in model.named_parameters())
    assert not any(layer.merged for layer in vxlab.adapted_layers(model).values())


def test_the_definition_is_that_of_dense_weights_in_float64(saved):
    model = _adapted(saved, FAMILIES["lora"])
    dense, bare = vxlab.load_model(saved, 2).double().eval(), vxlab.load_model(saved, 2).double().eval()
    heads = {name: each for name, each in model.state_dict().items() if name in dense.state_dict()}
    for other in (dense, bare):
        other.load_state_dict({name: each.double() for name, each in heads.items()}, strict=False)
    for name, layer in vxlab.adapted_layers(model).items():
        left, right = (factor.double() for factor in layer.factors())
        weight = dense.get_submodule(name).weight
        update = left @ right
        weight.data += update if weight.shape == update.shape and not layer.transposed else update.T
    found = check_merge(model, text_batches(saved, ["a b c d"]))
    batch = {"input_ids": torch.tensor([[3, 4, 5, 6]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    with torch.no_grad():
        exact, without, ours = dense(**batch).logits, bare(**batch).logits, model.eval()(**batch).logits
    assert found.effect == pytest.approx(float((exact - without).abs().max()), rel=1e-9)
    assert found.unmerged == pytest.approx(float((ours.double() - exact).abs().max()), rel=1e-6)


def _break_merging(monkeypatch, wrong):
    right = vxlab.AdaptedLinear.merge

    def merged(self):
        lost = right(self)
        if self.layer.endswith("1.attention.self.value"):
            with torch.no_grad():
                self.orient(self.weight).copy_(wrong(self.base_weight(), self.delta_weight()))
        return lost

    monkeypatch.setattr(vxlab.AdaptedLinear, "merge", merged)


@pytest.mark.parametrize("saved", ["bert"], indirect=True)
@pytest.mark.parametrize(
    "wrong",
    [
        lambda weight, delta: weight,
        lambda weight, delta: weight + 2 * delta,
        lambda weight, delta: weight - delta,
        lambda weight, delta: (weight + delta).bfloat16().float(),
    ],
    ids=["forgotten", "twice", "sign", "rounded"],
)
def test_a_merge_that_goes_wrong_in_one_layer_is_seen(saved, monkeypatch, wrong):
    model = _adapted(saved, FAMILIES["lora"])
    _break_merging(monkeypatch, wrong)
    found = check_merge(model, text_batches(saved, TEXTS))
    assert not found.merges
    assert found.computes
    assert found.merged > 20 * found.rounding
    assert "**Merging changes the answers**, by " in found.sentence()


@pytest.mark.parametrize("saved", ["bert"], indirect=True)
def test_an_operation_that_is_wrong_alike_merged_and_unmerged_is_seen(saved, monkeypatch):
    model = _adapted(saved, FAMILIES["lora"])
    right = vxlab.AdaptedLinear.factors
    monkeypatch.setattr(
        "vxlab.adapters.core.layer.AdaptedLinear._factors_of",
        lambda self, *tensors: tuple(2 * factor for factor in self.family.factors(self._all_tensors(), self.shape)),
    )
    monkeypatch.setattr(
        vxlab.AdaptedLinear, "factors", lambda self: tuple(factor / 2 for factor in right(self))
    )  # the definition keeps the factors as they are
    monkeypatch.setattr(vxlab.AdaptedLinear, "delta_weight", lambda self: 4 * self.factors()[0] @ self.factors()[1])
    found = check_merge(model, text_batches(saved, TEXTS))
    assert not found.computes
    assert not found.merges
    assert "does not compute its definition" in found.sentence()


@pytest.mark.parametrize("saved", ["bert"], indirect=True)
def test_an_adapter_that_does_nothing_or_diverged_shows_nothing(saved):
    assert (
        "cannot show what merging does"
        in check_merge(_adapted(saved, FAMILIES["lora"], 0.0), text_batches(saved, TEXTS)).sentence()
    )


@pytest.mark.parametrize("saved", ["bert"], indirect=True)
def test_a_model_that_fails_while_merged_is_unmerged(saved, monkeypatch):
    model = _adapted(saved, FAMILIES["lora"])
    forward = vxlab.AdaptedLinear.forward

    def failing(self, x):
        if self.merged:
            raise RuntimeError("out of memory")
        return forward(self, x)

    monkeypatch.setattr(vxlab.AdaptedLinear, "forward", failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        check_merge(model, text_batches(saved, TEXTS))
    assert not any(layer.merged for layer in vxlab.adapted_layers(model).values())


@pytest.mark.parametrize("saved", ["bert"], indirect=True)
def test_pairs_of_texts_and_long_texts_are_taken(saved):
    pairs = [("a b", "c"), ("d", "a a a a a a a a a a")]
    assert check_merge(_adapted(saved, FAMILIES["vera"]), text_batches(saved, pairs, max_length=8)).effect > 0


@pytest.mark.parametrize("saved", ["bert"], indirect=True)
def test_a_model_without_adapters_or_merged_is_refused(saved):
    with pytest.raises(vxlab.VxlabError, match="must have adapters in factors, unmerged"):
        check_merge(vxlab.load_model(saved, 2), text_batches(saved, TEXTS))
    merged = _adapted(saved, FAMILIES["lora"])
    vxlab.merge(merged)
    with pytest.raises(vxlab.VxlabError, match="or call unmerge"):
        check_merge(merged, text_batches(saved, TEXTS))
