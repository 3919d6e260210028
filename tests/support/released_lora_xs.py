"""Models with LoRA-XS as its released code has it on peft's LoRA, and the folders that it saves."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors.torch import load_file, save_file
from sklearn.decomposition import TruncatedSVD
from torch import Tensor, nn

FORMS = ("older", "newer")
"""Of the key of R: what versions of peft leave of ``P.default_lora_latent_mapping.weight``."""
RECONSTRUCTION = {
    "reconstruction_type": "svd", "reconstr_mode": "separated", "half_init_dec": False,
    "replacement_module_random_init": False, "r_squared": True, "svd": {"n_iter": 10, "random_state": 42},
}  # fmt: skip

_OLDER_CONFIG = (
    "peft_type", "auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode", "r",
    "target_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out", "bias", "init_lora_weights",
    "layers_to_transform", "layers_pattern",
)  # fmt: skip
"""The fields of peft 0.4's config but for ``modules_to_save``, which it leaves empty also where it saves a head."""

Bases = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""Returns ``lora_A`` (r, in) and ``lora_B`` (out, r) of a stored weight (out, in) and a rank."""


def randomised(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the released code's bases: of the transposed weight, by a randomised SVD of its settings."""
    svd = TruncatedSVD(n_components=rank, **RECONSTRUCTION["svd"])  # type: ignore[arg-type]
    projected = svd.fit(weight.T.numpy()).transform(weight.T.numpy())
    return torch.tensor(projected).to(weight.dtype).T, torch.tensor(svd.components_).to(weight.dtype).T


def exact(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the exact singular triplets in the same layout, with every other sign turned."""
    U, S, Vh = torch.linalg.svd(weight.double(), full_matrices=False)
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(rank)[:rank]
    A, B = S[:rank, None] * Vh[:rank] * signs[:, None], U[:, :rank] * signs
    return A.to(weight.dtype), B.to(weight.dtype)


def drawn(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return random bases, as the released run without an SVD has them."""
    A, B = torch.empty(weight.shape[1], rank), torch.empty(rank, weight.shape[0])
    for matrix in (A, B):
        nn.init.kaiming_uniform_(matrix, a=5**0.5)
    return A.T, B.T


def released_model(
    base: nn.Module, targets: Sequence[str], rank: int = 4, alpha: float = 16, bases: Bases = randomised, **config: Any
) -> Any:
    """Return a peft model of a base whose LoRA layers are LoRA-XS's, R and the head as after some training."""
    torch.manual_seed(5)
    lora = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), **config)
    model = peft.get_peft_model(base, lora)
    for layer in [each for each in model.modules() if isinstance(each, peft.tuners.lora.Linear)]:
        A, B = bases(layer.get_base_layer().weight.detach(), rank)
        layer.lora_A["default"].weight = nn.Parameter(A.contiguous())
        layer.lora_B["default"].weight = nn.Parameter(B.contiguous())
        layer.default_lora_latent_mapping = nn.Linear(rank, rank, bias=False, dtype=A.dtype)
        layer.forward = _forward(layer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "latent" in name or "modules_to_save" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def write_released(model: Any, folder: Path, form: str = "newer", reconstruction: dict[str, Any] | None = None) -> Path:
    """Save such a model as a run of the released code does: the adapter's folder, in it or around it how it was made.

    ``reconstruction`` are other fields of the run's file, which lies around the adapter under peft's older versions and
    in its folder under newer ones, so that both places are read.
    """
    model.save_pretrained(folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    if form == "older":
        path = folder / "adapter_config.json"
        config = json.loads(path.read_text())
        path.write_text(json.dumps({name: config[name] for name in _OLDER_CONFIG} | {"modules_to_save": None}))
        tensors = {key.replace(".default_lora_latent", "_lora_latent"): each for key, each in tensors.items()}
    rewrite(folder, tensors)
    rank = model.peft_config["default"].r
    told = RECONSTRUCTION | {"svd": {**RECONSTRUCTION["svd"], "rank": rank}} | (reconstruction or {})  # type: ignore[dict-item]
    place = folder if form == "newer" else folder.parent
    (place / "reconstr_config.json").write_text(json.dumps(told))
    return folder


def rewrite(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Put other tensors into a folder."""
    save_file({key: each.contiguous() for key, each in tensors.items()}, folder / "adapter_model.safetensors",
              metadata={"format": "pt"})  # fmt: skip


def _forward(layer: Any) -> Callable[[Tensor], Tensor]:
    """Return the forward pass of the released code: three maps one after the other, scaled, on the base's output."""

    def forward(x: Tensor) -> Tensor:
        thin = layer.lora_A["default"](layer.lora_dropout["default"](x))
        update = layer.lora_B["default"](layer.default_lora_latent_mapping(thin))
        return layer.base_layer(x) + update * layer.scaling["default"]

    return forward
