"""A tiny DINOv2 with a head, and its ONNX file in the form that PyTorch's export gives it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import transformers
from onnx import helper, numpy_helper
from toy_assets import digest, make_wheel
from transformers import Dinov2Config, Dinov2Model

from vxlab.experiments.assets.manifest import Asset, File, Original
from vxlab.experiments.assets.onnx_model import convert_onnx

LAYERS, WIDTH, PATCH, SIDE = 2, 128, 14, 3
_OLD = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value", "o_proj": "output.dense"}


def make_dinov2(seed: int = 0) -> Dinov2Model:
    """Return a tiny model, no two of whose tensors are alike."""
    config = Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=WIDTH // 64, image_size=SIDE * PATCH,
        patch_size=PATCH, use_mask_token=False,
    )  # fmt: skip
    transformers.set_seed(seed)
    model = Dinov2Model(config).eval()
    for parameter in model.parameters():
        parameter.data = parameter.data + torch.randn(parameter.shape) / 10
    return model


def published_tensors(model: Dinov2Model) -> dict[str, np.ndarray]:
    """Return a model's tensors under the names of DINOv2's published files."""
    tensors = {}
    for name, parameter in model.named_parameters():
        for new, old in _OLD.items():
            name = name.replace(f"attention.{new}", f"attention.{old}")
        tensors[name] = parameter.detach().numpy()
    return tensors


def write_onnx(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    more: Mapping[str, np.ndarray] | None = None,
    biases: bool = True,
) -> Path:
    """Write a file that names what PyTorch's export names; its graph is not whole, for nothing runs it.

    ``more`` are tensors stored besides, under the names given; without ``biases`` no product has one added to it.
    """
    stored: dict[str, np.ndarray] = {}
    nodes: list[Any] = []
    for name, values in tensors.items():
        if name == "embeddings.position_embeddings":
            stored |= {"onnx::Concat_1": values[:, :1], "onnx::Reshape_2": values[:, 1:]}
            nodes += [helper.make_node("Reshape", ["onnx::Reshape_2", "shape"], ["patches"], "Reshape")]
            nodes += [helper.make_node("Concat", ["onnx::Concat_1", "patches"], ["positions"], "Concat", axis=1)]
        elif values.ndim == 2:
            layer, matrix = name.removesuffix(".weight"), f"onnx::MatMul_{len(stored)}"
            stored[matrix] = values.T
            nodes += [helper.make_node("MatMul", [f"{layer}/in", matrix], [f"{layer}/product"], f"/{layer}/MatMul")]
            if biases:
                terms = [f"backbone.{layer}.bias", f"{layer}/product"]
                nodes += [helper.make_node("Add", terms, [f"{layer}/out"], f"/{layer}/Add")]
        else:
            stored[f"backbone.{name}"] = values
    stored |= {"decoder.final.weight": np.ones((1, 4), np.float32), **(more or {})}
    held = [numpy_helper.from_array(np.ascontiguousarray(values), name) for name, values in stored.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, "toy", [], [], held)), path)
    return path


def make_onnx_asset(wheels: Path, scratch: Path) -> Asset:
    """Pack a model as a wheel, and list what its conversion gives."""
    content = write_onnx(scratch / "toy.onnx", published_tensors(make_dinov2())).read_bytes()
    wrote = scratch / "converted"
    wrote.mkdir()
    convert_onnx(scratch / "toy.onnx", wrote)
    written = {path.name: path.read_bytes() for path in sorted(wrote.iterdir())}
    package = make_wheel(wheels, "toy_wheel", {"deep/toy.onnx": content, "x.py": b""})
    source = Original("deep/toy.onnx", "toy.onnx", len(content), digest(content), "onnx")
    files = tuple(File("", name, len(each), digest(each)) for name, each in written.items())
    return Asset("toy", "model", "a toy", "CC0-1.0", "here", "nobody", "wheel", (package,), files, source)
