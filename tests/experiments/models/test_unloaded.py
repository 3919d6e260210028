"""A model built of its config: the one that would be loaded, without a look at weights."""

import json

import pytest
from architectures import ARCHITECTURES
from torch._subclasses.fake_tensor import FakeTensorMode

import vxlab
from vxlab.adapters.placement import head_parameters
from vxlab.experiments.models import label_weights, model_from_config


def _shapes(model):
    return {name: (tuple(each.shape), each.dtype) for name, each in model.named_parameters()}


@pytest.mark.parametrize(("name", "num_labels"), [("bert", 2), ("llama", 2), ("llama-lm", 0), ("gpt2-lm", 0)])
def test_a_config_alone_gives_the_shapes_of_the_model(name, num_labels, tmp_path):
    real = ARCHITECTURES[name]()
    real.config.save_pretrained(tmp_path)
    with FakeTensorMode():
        built = model_from_config(str(tmp_path), num_labels)
    assert type(built) is type(real)
    assert _shapes(built) == _shapes(real)
    assert built.training
    assert head_parameters(built).keys() == head_parameters(real).keys()


def test_the_packaged_model_is_the_one_that_is_loaded():
    with FakeTensorMode():
        built = model_from_config("minilm", 3)
    loaded = vxlab.load_model("minilm", 3)
    assert _shapes(built) == _shapes(loaded)
    assert built.config._attn_implementation == loaded.config._attn_implementation


def test_a_config_in_half_precision_is_planned_as_it_is_loaded(tmp_path):
    config = ARCHITECTURES["llama-lm"]().config
    config.dtype = "bfloat16"
    config.save_pretrained(tmp_path)
    with FakeTensorMode():
        built = model_from_config(str(tmp_path), 0)
    assert {str(each.dtype) for each in built.parameters()} == {"torch.float32"}


def test_what_is_no_config_is_refused(tmp_path):
    with pytest.raises(vxlab.VxlabError, match="is a folder without config"):
        model_from_config(str(tmp_path), 2)
    with pytest.raises(vxlab.VxlabError, match="num_labels=-1 is not a number of classes"):
        model_from_config("minilm", -1)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nonesuch"}))
    with pytest.raises(vxlab.VxlabError, match="cannot be loaded"):
        model_from_config(str(tmp_path), 2)
    own = {"model_type": "bert", "auto_map": {"AutoModel": "mine.OwnModel"}}
    (tmp_path / "config.json").write_text(json.dumps(own))
    with pytest.raises(vxlab.VxlabError, match="brings code of its own"):
        model_from_config(str(tmp_path), 2)
    small = {"model_type": "bert", "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    (tmp_path / "config.json").write_text(json.dumps(small))
    with pytest.raises(vxlab.VxlabError, match="is quantised"):
        model_from_config(str(tmp_path), 2)


def test_a_model_that_cannot_write_is_refused(tmp_path):
    ARCHITECTURES["vit"]().config.save_pretrained(tmp_path)
    with pytest.raises(vxlab.VxlabError, match="cannot be loaded"), FakeTensorMode():
        model_from_config(str(tmp_path), 0)


@pytest.mark.parametrize(("name", "head"), [("bert", ["classifier.weight"]), ("llama-lm", ["score.weight"])])
def test_a_classifiers_weights_by_label_are_those_of_its_config_quantised_or_not(name, head, tmp_path):
    config = ARCHITECTURES[name]().config
    config.save_pretrained(tmp_path)
    assert label_weights(str(tmp_path)) == head
    config.quantization_config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    config.save_pretrained(tmp_path)
    assert label_weights(str(tmp_path)) == head


def test_a_kind_without_a_classifier_has_none_and_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(vxlab.VxlabError, match="is a folder without config"):
        label_weights(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "detr"}))
    assert label_weights(str(tmp_path)) == []
