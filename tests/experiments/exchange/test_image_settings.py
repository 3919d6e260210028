"""What others load of a model of images reads them as its run did: image processor, resolution, names of classes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import exported
import numpy as np
import pytest
import torch
import transformers
from image_models import SIDE, write_images, write_vit
from PIL import Image
from torch import Tensor, nn
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil
from vision_architectures import ARCHITECTURES, LABELS, build, images

import vxlab
from vxlab.experiments.exchange.bases import name_base
from vxlab.experiments.exchange.image_settings import image_side, must_interpolate, random_images, served_processor
from vxlab.experiments.exchange.load_code import write_load_code
from vxlab.experiments.exchange.source import open_source
from vxlab.experiments.models import prepare_images
from vxlab.experiments.record import RunRecord
from vxlab.experiments.runs.trained import load_trained

RESOLUTION = 48
FORMATS = ["peft", "lora", "merged"]
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def processor_of(name: str) -> Any:
    if name == "clip":
        return CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    if name == "convnext":
        return ConvNextImageProcessorPil(size={"shortest_edge": SIDE}, crop_pct=0.875)
    return ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})


def write_base(folder: Path, name: str) -> Path:
    build(name).save_pretrained(folder)
    processor_of(name).save_pretrained(folder)
    return folder


def photograph(path: Path) -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(path)
    return image


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """Return a run of LoRA on a tiny ViT with two labels of its own, on three classes, at a resolution of its own."""
    folder = tmp_path_factory.mktemp("images")
    base, data = write_vit(folder / "vit"), write_images(folder / "photographs", rows=12)
    spec = vxlab.RunSpec(
        model=str(base), task=str(data), method=vxlab.LoRA(rank=4), epochs=1, batch_size=8, learning_rate=1e-2,
        head_learning_rate=1e-2, resolution=RESOLUTION, augmentation="flip-crop", shots=4, draw=3,
    )  # fmt: skip
    return vxlab.run(spec, store=folder / "store", progress=False)


@torch.no_grad()
def expected_of(run: RunRecord, image: Image.Image) -> Tensor:
    preparation = prepare_images(run.spec["model"], run.spec.get("resolution"))
    pixels = torch.from_numpy(preparation.pixels(image))[None]
    logits: Tensor = load_trained(run)(pixel_values=preparation.normalise(pixels)).logits
    return logits


@pytest.mark.parametrize("format", FORMATS)
def test_the_code_of_a_card_answers_about_an_image_as_the_run_does(
    format: str,
    photographs: RunRecord,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / Path(photographs.spec["model"]).name).symlink_to(photographs.spec["model"])
    folder = vxlab.export_adapter(photographs, "out", format=format)
    expected = expected_of(photographs, photograph(tmp_path / "image.png"))
    found = exported.run_code(folder / "README.md")
    torch.testing.assert_close(found["logits"], expected, rtol=0, atol=1e-5)
    name = ["blue", "green", "red"][int(expected.argmax())]
    assert capsys.readouterr().out.strip().splitlines()[-1] == name
    saved = json.loads((folder / "preprocessor_config.json").read_text())
    assert saved["size"] == {"height": RESOLUTION, "width": RESOLUTION}
    assert saved["image_processor_type"] == "ViTImageProcessor"  # which others know, with torchvision or without
    assert not list(folder.glob("token*"))
    if format == "merged":
        assert found["model"].config.id2label == {0: "blue", 1: "green", 2: "red"}


def test_a_card_speaks_of_images(photographs: RunRecord, tmp_path: Path) -> None:
    text = (vxlab.export_adapter(photographs, tmp_path / "out", format="merged") / "README.md").read_text()
    for told in ("pipeline_tag: image-classification", "| shots | 4 of each class, draw 3 |", "| batches | 8 images |",
                 "| images | 48 × 48 pixels; in training mirrored and moved at random |",
                 "On random inputs the logits differ from the unmerged model's by at most"):  # fmt: skip
        assert told in text
    assert "sha256 over its weights, config and image processor files" in text
    assert "token" not in text
    assert "texts" not in text


def test_a_whole_model_is_a_base_again_at_the_resolution_of_its_run(photographs: RunRecord, tmp_path: Path) -> None:
    folder = vxlab.export_adapter(photographs, tmp_path / "out", format="merged")
    image = photograph(tmp_path / "image.png")
    preparation = prepare_images(str(folder))
    assert preparation.side == RESOLUTION
    again = vxlab.load_model(str(folder), 3)
    with torch.no_grad():
        pixels = preparation.normalise(torch.from_numpy(preparation.pixels(image))[None])
        torch.testing.assert_close(again(pixels).logits, expected_of(photographs, image), rtol=0, atol=1e-5)
    contents = vxlab.experiments.exchange.inspect_folder(folder)
    assert contents.facts["labels"] == "blue, green, red"
    assert contents.facts["model"] == "ViTForImageClassification"


@pytest.mark.parametrize("method", [vxlab.VeRA(rank=6), vxlab.LoRAXS(rank=3)], ids=str)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_of_images_merges(name: str, method: Any, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", name)
    model: Any = exported.attach_stirred(str(base), LABELS, method)
    folder = vxlab.export_adapter(model, tmp_path / "whole", format="merged")
    again: Any = transformers.AutoModelForImageClassification.from_pretrained(folder)
    assert type(again) is type(model)
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    pixels = processor(photograph(tmp_path / "image.png"), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(pixels).logits, model(pixels).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, "lora") for name in ARCHITECTURES), ("vit", "vera"), ("swin", "vera")]
)
def test_an_adapter_that_peft_made_is_read_inspected_imported_and_converted(
    name: str, kind: str, tmp_path: Path
) -> None:
    import peft

    base = write_base(tmp_path / "base", name)
    config: Any = (peft.LoraConfig if kind == "lora" else peft.VeraConfig)(
        r=4, target_modules="all-linear", modules_to_save=["classifier"], base_model_name_or_path=str(base)
    )
    torch.manual_seed(0)
    theirs = peft.get_peft_model(transformers.AutoModelForImageClassification.from_pretrained(base), config)
    exported.stir(theirs).save_pretrained(tmp_path / "theirs")
    folder = str(tmp_path / "theirs")
    pixels = random_images(vxlab.load_model(str(base), LABELS))
    with torch.no_grad():
        expected = theirs(pixels).logits

        contents = vxlab.experiments.exchange.inspect_folder(folder, str(base))
        assert contents.kind == "an adapter in PEFT's format"
        layers = list(vxlab.resolve_targets(vxlab.load_model(str(base), LABELS), "all-linear"))
        assert sorted(contents.layers["layer"]) == sorted(layers)
        assert contents.layers.notna().all(axis=None)
        head = LABELS * (theirs.base_model.model.classifier.modules_to_save["default"].in_features + 1)
        assert f"{head} of the head" in contents.facts["numbers held"]

        record = vxlab.import_adapter(folder, str(base), store=tmp_path / "store")
        assert record.task["num_labels"] == LABELS
        torch.testing.assert_close(load_trained(record)(pixels).logits, expected, rtol=0, atol=1e-5)

        for format in FORMATS:
            out = vxlab.export_adapter(folder, tmp_path / format, format=format)
            assert (out / "preprocessor_config.json").is_file()
        whole = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "merged").eval()
        torch.testing.assert_close(whole(pixels).logits, expected, rtol=0, atol=1e-5)


def test_a_base_that_is_not_known_has_no_image_processor(tmp_path: Path) -> None:
    model = exported.stir(vxlab.attach(build("vit"), vxlab.LoRA(rank=2)))
    with pytest.raises(vxlab.VxlabError, match="its image processor is not known; name it with base="):
        vxlab.export_adapter(model, tmp_path / "out", format="merged")
    folder = vxlab.export_adapter(model, tmp_path / "adapter", format="peft")
    assert not (folder / "preprocessor_config.json").exists()
    assert "AutoImageProcessor.from_pretrained" not in (folder / "README.md").read_text()
    assert not (tmp_path / "out").exists()
    build("vit").save_pretrained(tmp_path / "bare")
    with pytest.raises(vxlab.VxlabError, match=r"nor the preprocessor_config\.json of a model of images"):
        vxlab.export_adapter(model, tmp_path / "out", format="merged", base=str(tmp_path / "bare"))


def test_what_merging_does_not_add_to_the_weights_is_found_on_images_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_base(tmp_path / "base", "convnext")
    model = exported.attach_stirred(str(base), LABELS, vxlab.LoRA(rank=2))
    monkeypatch.setattr("vxlab.experiments.exchange.merged_folder.merge", lambda model: model)
    with pytest.raises(vxlab.VxlabError, match=r"merged, the model answers otherwise by .* than unmerged"):
        vxlab.export_adapter(model, tmp_path / "out", format="merged")


def test_only_what_keeps_a_table_of_positions_is_asked_to_fit_it(photographs: RunRecord, tmp_path: Path) -> None:
    source = open_source(photographs)
    assert image_side(source) == RESOLUTION
    assert must_interpolate(source)
    assert dict(served_processor(source).size) == {"height": RESOLUTION, "width": RESOLUTION}
    for name in ("vit", "clip", "dinov2", "convnext"):
        base = write_base(tmp_path / name, name)
        own = open_source(exported.attach_stirred(str(base), LABELS, vxlab.LoRA(rank=2)))
        assert not must_interpolate(own)
        at_48 = dataclasses.replace(own, record=photographs)
        assert must_interpolate(at_48) is (name in ("vit", "clip"))
        given = images(name, image_side(at_48))
        assert ("interpolate_pos_encoding" in given) is must_interpolate(at_48)
        with torch.no_grad():
            expected = own.model(given["pixel_values"]).logits  # which vxlab.load_model has interpolate
            torch.testing.assert_close(own.model(**given).logits, expected, rtol=0, atol=0)


def test_a_packaged_base_is_loaded_by_vxlab_without_a_tokenizer(photographs: RunRecord) -> None:
    code = write_load_code(open_source(photographs), name_base("dinov2s", {"model": "1"}), "peft", "out")
    assert 'model = vxlab.load_model("dinov2s", 3)\n' in code
    assert 'processor = AutoImageProcessor.from_pretrained("out", backend="pil")\n' in code
    assert "okenizer" not in code


def test_a_bare_model_of_images_gives_noise_of_its_own_size() -> None:
    for name in ARCHITECTURES:
        model: nn.Module = build(name)
        assert random_images(model).shape == (2, 3, SIDE, SIDE)
        assert torch.equal(random_images(model), random_images(model))
