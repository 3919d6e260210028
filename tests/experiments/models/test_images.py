"""Models of images: which they are, and at which resolutions they read."""

import json
import shutil

import image_models
import pytest
import torch
import transformers

import vxlab
from vxlab.errors import VxlabError
from vxlab.experiments.models import (
    load_image_processor,
    model_fingerprint,
    model_from_config,
    prepare_images,
    reads_images,
)


@pytest.mark.parametrize("name", image_models.CONFIGS)
def test_every_architecture_loads_with_a_new_head_and_answers_as_transformers_does(name, tmp_path):
    folder = image_models.write_model(tmp_path / name, name)
    assert reads_images(str(folder))
    torch.manual_seed(0)
    model = vxlab.load_model(str(folder), 3)
    images = torch.rand(2, 3, image_models.SIDE, image_models.SIDE)
    own = image_models.bare_model(name)
    own.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(model(pixel_values=images).logits, own(pixel_values=images).logits)
    assert vxlab.load_model(str(folder), 7)(pixel_values=images).logits.shape == (2, 7)


@pytest.mark.parametrize("name", image_models.CONFIGS)
def test_every_architecture_reads_another_resolution(name, tmp_path):
    folder = image_models.write_model(tmp_path / name, name)
    side = prepare_images(str(folder), 48).side
    assert side == 48
    model = vxlab.load_model(str(folder), 3)
    assert model(pixel_values=torch.rand(2, 3, side, side)).logits.isfinite().all()


def test_a_resolution_that_cuts_a_patch_is_refused(tiny_vit):
    with pytest.raises(VxlabError, match=r"resolution=44: .* patches of 8 pixels.*choose 40 or 48"):
        prepare_images(tiny_vit, 44)


def test_a_resolution_that_convnext_would_halve_to_a_fraction_is_refused(tmp_path):
    folder = image_models.write_model(tmp_path, "convnext")
    with pytest.raises(VxlabError, match=r"resolution=36: .* patches of 8 pixels.*choose 32 or 40"):
        prepare_images(str(folder), 36)
    prepare_images(str(folder), 40)


def test_a_model_of_texts_reads_none(tiny_model):
    assert not reads_images(tiny_model)


def test_a_folder_without_an_image_processor_is_refused(tiny_vit, tmp_path):
    folder = shutil.copytree(tiny_vit, tmp_path / "bare")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(VxlabError, match=r"preprocessor_config\.json"):
        vxlab.load_model(str(folder), 3)


def test_what_the_processor_does_is_part_of_the_model(tiny_vit, tmp_path):
    folder = shutil.copytree(tiny_vit, tmp_path / "other")
    assert model_fingerprint(str(folder)) == model_fingerprint(tiny_vit)
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"image_mean": [0.1, 0.1, 0.1]}))
    assert model_fingerprint(str(folder)) != model_fingerprint(tiny_vit)


def test_a_processor_in_transformers_newer_file_is_read_and_is_part_of_the_model(tiny_vit, tmp_path):
    folder = shutil.copytree(tiny_vit, tmp_path / "newer")
    own = json.loads((folder / "preprocessor_config.json").read_text())
    file = folder / "processor_config.json"
    file.write_text(json.dumps({"image_processor": own | {"size": {"height": 48, "width": 48}}}))
    before = model_fingerprint(str(folder))
    assert prepare_images(str(folder)).side == 48
    file.write_text(json.dumps({"image_processor": own}))
    assert prepare_images(str(folder)).side == 32
    assert len({before, model_fingerprint(str(folder)), model_fingerprint(tiny_vit)}) == 3
    (folder / "preprocessor_config.json").unlink()
    assert vxlab.load_model(str(folder), 3).config.model_type == "vit"


def test_a_processor_that_does_more_is_refused(tiny_vit, tmp_path):
    folder = shutil.copytree(tiny_vit, tmp_path / "more")
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rescale_factor": 1 / 127.5}))
    with pytest.raises(VxlabError, match="does more to an image"):
        vxlab.load_model(str(folder), 3)


def test_processors_run_on_pillow_whatever_is_installed(tiny_vit):
    assert type(load_image_processor(tiny_vit)).__name__.endswith("Pil")


def test_of_a_whole_clip_the_vision_tower_alone_is_loaded(tmp_path):
    whole = transformers.CLIPModel(transformers.CLIPConfig(**image_models.CONFIGS["clip"][1]))
    whole.save_pretrained(tmp_path)
    image_models.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    model = vxlab.load_model(str(tmp_path), 3)
    own = {name: each for name, each in model.named_parameters() if not name.startswith("classifier.")}
    assert own
    assert all(torch.equal(each, whole.state_dict()[name]) for name, each in own.items())
    assert all(name.startswith("vision_model.") for name in own)
    assert model.vxlab_drawn == {"classifier.weight", "classifier.bias"}


def test_a_distilled_deit_is_loaded_as_the_model_that_trains(tmp_path):
    config = transformers.DeiTConfig(**image_models.CONFIGS["deit"][1], num_labels=5)
    distilled = transformers.DeiTForImageClassificationWithTeacher(config)
    distilled.save_pretrained(tmp_path)
    image_models.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    model, described = vxlab.load_model(str(tmp_path), 3), model_from_config(str(tmp_path), 3)
    assert type(model) is type(described) is transformers.DeiTForImageClassification
    assert model(torch.zeros(1, 3, 32, 32), labels=torch.tensor([2])).loss.isfinite()
    assert all(torch.equal(each, distilled.deit.get_parameter(name)) for name, each in model.deit.named_parameters())
