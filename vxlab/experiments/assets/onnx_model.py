"""Turn the ONNX file of a DINOv2 with a head into the folder that transformers loads: the backbone, in float32."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vxlab.errors import VxlabError
from vxlab.experiments.assets.model_folder import write_model_folder

_BACKBONE, _HEAD = "backbone.", "decoder."
_PER_HEAD = 64  # the width of an attention head in every DINOv2; no tensor tells it
_POSITIONS = "embeddings.position_embeddings"
# As DINOv2 was published.
_PREPROCESSING = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def convert_onnx(path: Path, folder: Path) -> None:
    """Write the DINOv2 in an ONNX file as config.json, model.safetensors and preprocessor_config.json.

    The file's graph is read and never run. PyTorch's export keeps the names of most tensors; of a linear layer
    y = W x + b it stores Wᵀ without a name, which is known by the bias that the graph adds to the product. The head is
    left out. No library's version is written, so that the same file becomes the same bytes everywhere.

    Args:
        path: PyTorch's export of a module whose ``backbone`` is transformers' Dinov2Model, its head the ``decoder``.
        folder: where the files are written; it exists.

    Raises:
        VxlabError: the file is cut short, or holds what would not be carried over.
        OSError: the disk refuses.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx import load

    try:
        graph = load(path, load_external_data=False).graph
    except DecodeError as error:
        raise VxlabError(f"{path.name} is no whole ONNX file: {error}") from error
    weights = _read_weights(path.name, graph)
    config = _describe_model(path.name, weights)
    write_model_folder(folder, {"config": config, "preprocessor_config": _PREPROCESSING}, weights)


def _read_weights(file: str, graph: Any) -> dict[str, Tensor]:
    stored = {tensor.name: tensor for tensor in graph.initializer}
    named = {name.removeprefix(_BACKBONE): name for name in stored if name.startswith(_BACKBONE)}
    matrices = dict(_find_matrices(file, graph.node, stored))
    positions = _find_positions(file, graph.node, stored)
    unread = stored.keys() - {*named.values(), *matrices.values(), *positions}
    if odd := sorted(name for name in unread if not name.startswith(_HEAD)):
        raise VxlabError(f"{file} holds {odd[0]}, which is no tensor of a DINOv2 that can be converted")
    return {
        **{ours: _values(file, stored[theirs]) for ours, theirs in named.items()},
        **{ours: _values(file, stored[theirs]).T.contiguous() for ours, theirs in matrices.items()},
        _POSITIONS: torch.cat([_values(file, stored[theirs]) for theirs in positions], dim=1),
    }


def _find_matrices(file: str, nodes: Sequence[Any], stored: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of each linear layer's matrix, and the name that its transpose is stored under."""
    added = {name: node for node in nodes if node.op_type == "Add" for name in node.input}
    for node in nodes:
        if node.op_type == "MatMul" and node.input[1] in stored:
            terms = added[node.output[0]].input if node.output[0] in added else ()
            biases = [name for name in terms if name.startswith(_BACKBONE) and name.endswith(".bias")]
            if len(biases) != 1:
                raise VxlabError(f"{file} adds no bias of a known name to {node.name}, so its matrix has no name")
            yield biases[0].removeprefix(_BACKBONE).removesuffix("bias") + "weight", node.input[1]


def _find_positions(file: str, nodes: Sequence[Any], stored: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names that the positions of the class token and of the patches are stored under.

    The graph brings the patches' positions to the size of the image, and joins the class token's to them.
    """
    first = [node.input[0] for node in nodes if node.op_type == "Concat" and node.input[0] in stored]
    rest = [node.input[0] for node in nodes if node.op_type == "Reshape" and node.input[0] in stored]
    if len(first) != 1 or len(rest) != 1:
        raise VxlabError(f"{file} holds no position embeddings, or others than DINOv2's: {first + rest}")
    return first[0], rest[0]


def _values(file: str, tensor: Any) -> Tensor:
    from onnx import TensorProto, numpy_helper

    if tensor.data_type != TensorProto.FLOAT or tensor.data_location == TensorProto.EXTERNAL:
        raise VxlabError(f"{file} holds {tensor.name} in another file or type; it must hold float32 itself")
    return torch.tensor(numpy_helper.to_array(tensor))


def _describe_model(file: str, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the config that the tensors' shapes tell; tensors that do not make a whole DINOv2 are refused."""
    try:
        patches = weights["embeddings.patch_embeddings.projection.weight"]
        width, channels, patch, _ = patches.shape
        inner = len(weights["encoder.layer.0.mlp.fc1.bias"])
    except KeyError as error:
        raise VxlabError(f"{file} lacks the tensor {error} of a DINOv2") from error
    layers = len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})
    side = math.isqrt(weights[_POSITIONS].shape[1] - 1)
    wanted = _shapes(width, inner, layers) | {
        "embeddings.patch_embeddings.projection.weight": (width, channels, patch, patch),
        _POSITIONS: (1, 1 + side * side, width),
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if odd := sorted(name for name in wanted | shapes if wanted.get(name) != shapes.get(name)):
        raise VxlabError(
            f"{file} holds tensors that do not make a DINOv2 of {layers} layers and width {width}: {odd[0]} has the "
            f"shape {shapes.get(odd[0])}, {wanted.get(odd[0])} is required (None: it is not there)"
        )
    if width % _PER_HEAD or inner % width:
        raise VxlabError(f"{file} is {width} wide and {inner} inside; DINOv2's are multiples of {_PER_HEAD} and of it")
    return {
        "architectures": ["Dinov2Model"],
        "model_type": "dinov2",
        "dtype": "float32",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // _PER_HEAD,
        "mlp_ratio": inner // width,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "image_size": side * patch,
        "patch_size": patch,
        "num_channels": channels,
        "qkv_bias": True,
        "layerscale_value": 1.0,
        "use_swiglu_ffn": False,
        "use_mask_token": False,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": 0.0,
        "initializer_range": 0.02,
    }


def _shapes(width: int, inner: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors but the patches' projection and the positions."""
    linear = dict.fromkeys(
        [*(f"attention.attention.{name}" for name in ("query", "key", "value")), "attention.output.dense"],
        (width, width),
    )
    linear |= {"mlp.fc1": (inner, width), "mlp.fc2": (width, inner)}
    in_layer: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in linear.items()}
    in_layer |= {f"{name}.bias": shape[:1] for name, shape in linear.items()}
    in_layer |= dict.fromkeys(["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"], (width,))
    in_layer |= dict.fromkeys(["layer_scale1.lambda1", "layer_scale2.lambda1"], (width,))
    return {
        "embeddings.cls_token": (1, 1, width),
        "embeddings.patch_embeddings.projection.bias": (width,),
        **{f"encoder.layer.{i}.{name}": shape for i in range(layers) for name, shape in in_layer.items()},
        "layernorm.weight": (width,),
        "layernorm.bias": (width,),
    }
