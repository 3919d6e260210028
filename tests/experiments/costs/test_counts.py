"""What methods would cost, against attaching each of them."""

import pytest
import torch
import transformers
from architectures import ARCHITECTURES
from vision_architectures import ARCHITECTURES as OF_IMAGES
from vision_architectures import build

import vxlab
from vxlab.experiments.costs.counts import cost_table
from vxlab.studies import published_table

METHODS = {
    "LoRA r=4": vxlab.LoRA(rank=4),
    "VeRA r=8": vxlab.VeRA(rank=8),
    "LoRA-XS r=4": vxlab.LoRAXS(rank=4),
    "head only": vxlab.Head(),
    "full": vxlab.Full(),
}


@pytest.mark.parametrize("targets", ["query-value", "all-linear", "mlp"])
@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "gpt2", "llama", "vit", "clip", "deberta-v2"])
def test_numbers_are_those_of_attaching_each_method(name, targets):
    table = cost_table(ARCHITECTURES[name](), METHODS, targets).set_index("method")
    assert list(table.index) == list(METHODS)
    for label, method in METHODS.items():
        attached = vxlab.trainable_parameters(vxlab.attach(ARCHITECTURES[name](), method, targets))
        row = table.loc[label]
        assert (row["backbone"], row["head"]) == (attached.backbone, attached.head), label
        assert row["share"] == pytest.approx((attached.backbone + attached.head) / attached.total)
        assert row["bytes"] == 4 * (attached.backbone + attached.head)


@pytest.mark.parametrize("name", ["gpt2-lm", "mistral"])
def test_without_a_task_head_head_only_is_left_out(name):
    table = cost_table(ARCHITECTURES[name](), METHODS).set_index("method")
    assert list(table.index) == ["LoRA r=4", "VeRA r=8", "LoRA-XS r=4", "full"]
    assert (table["head"] == 0).all()
    full = vxlab.trainable_parameters(vxlab.attach(ARCHITECTURES[name](), vxlab.Full()))
    assert table.loc["full", "backbone"] == full.backbone == full.total


def test_a_rank_that_does_not_fit_is_left_out():
    # Key and value of this model are (16, 32): LoRA and VeRA go on at any rank, LoRA-XS up to 16.
    fitting, too_large = vxlab.LoRAXS(rank=16), vxlab.LoRAXS(rank=17)
    methods = {"fits": fitting, "too large": too_large, "LoRA": vxlab.LoRA(rank=40), "VeRA": vxlab.VeRA(rank=256)}
    table = cost_table(ARCHITECTURES["llama"](), methods)
    assert list(table["method"]) == ["fits", "LoRA", "VeRA"]
    with pytest.raises(vxlab.VxlabError, match="rank=17 is more than"):
        vxlab.attach(ARCHITECTURES["llama"](), too_large)


def test_counting_leaves_the_model_alone():
    model = ARCHITECTURES["bert"]()
    before = {name: (each.requires_grad, each.clone()) for name, each in model.named_parameters()}
    cost_table(model, METHODS, "all-linear")
    after = dict(model.named_parameters())
    assert list(after) == list(before)
    assert all(after[name].requires_grad == trains and after[name].equal(w) for name, (trains, w) in before.items())
    assert not vxlab.adapted_layers(model)


def test_no_methods_make_an_empty_table():
    table = cost_table(ARCHITECTURES["bert"](), {})
    assert list(table.columns) == ["method", "backbone", "head", "share", "bytes"]
    assert table.empty


def test_a_model_with_adapters_and_unknown_targets_are_refused():
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.LoRA(rank=2))
    with pytest.raises(vxlab.VxlabError, match=r"already has LoRA\(rank=2.*call vxlab\.detach\(model\) first"):
        cost_table(model, METHODS)
    with pytest.raises(vxlab.VxlabError, match="matches no layer of BertForSequenceClassification; nearest: 'query'"):
        cost_table(ARCHITECTURES["bert"](), METHODS, "quary")


@pytest.mark.parametrize("targets", ["all-linear", "mlp"])
@pytest.mark.parametrize("name", OF_IMAGES)
def test_numbers_of_models_of_images_are_those_of_attaching_each_method(name, targets):
    table = cost_table(build(name), METHODS | {"bitfit": vxlab.BitFit()}, targets).set_index("method")
    for label, method in (METHODS | {"bitfit": vxlab.BitFit()}).items():
        attached = vxlab.trainable_parameters(vxlab.attach(build(name), method, targets))
        assert (table.loc[label, "backbone"], table.loc[label, "head"]) == (attached.backbone, attached.head), label


VITS = {
    "ViT-B": transformers.ViTConfig(),
    "ViT-L": transformers.ViTConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
    ),
}


@pytest.mark.parametrize("name", VITS)
def test_numbers_of_veras_vision_transformers_are_the_published_ones(name):
    published = published_table("vit")
    methods = {"lora": vxlab.LoRA(rank=8), "vera": vxlab.VeRA(rank=256)}
    with torch.device("meta"):
        model = transformers.ViTForImageClassification(VITS[name])
    table = cost_table(model, methods).set_index("method")
    for method in methods:
        told = published[(published["model"] == name) & (published["method"] == method)]
        (parameters,) = told["parameters"].unique()
        (rank,) = told["rank"].unique()
        assert rank == methods[method].rank
        assert round(table.loc[method, "backbone"], -3) == parameters
