"""Measure rounding errors in half precision against float64, beside PEFT and the released LoRA-XS on the same tensors.

    python benchmarks/precision.py [--draws 9]

One linear layer, 768 to 768, with 512 tokens and a given output gradient: the relative error (Frobenius norm) of the
output, of the input's gradient and of the trained tensors' gradients together. Under autocast the weights are float32;
otherwise W and the input are in half precision and the adapter in float32, as either library has it. Writes
benchmarks/results/precision.json; some seconds.
"""

import argparse
import copy
import json
import statistics
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import peers
import peft
import torch
from torch import Tensor, nn

import vxlab
from vxlab.experiments import describe_hardware, library_versions, resolve_device

RESULTS = Path(__file__).parent / "results" / "precision.json"
WIDTH, TOKENS = 768, 512
QUANTITIES = ("output", "input gradient", "trained gradients")

Errors = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=9, help="random layers, inputs and gradients")
    draws = parser.parse_args().draws
    device = resolve_device("auto")
    rows = []
    for dtype in (torch.bfloat16, torch.float16):
        for mode in ("autocast", "half"):
            for name, pair in PAIRS.items():
                errors = [measure(pair, dtype, mode, seed, device) for seed in range(draws)]
                rows += [_row(name, dtype, mode, quantity, errors) for quantity in QUANTITIES]
                for row in rows[-len(QUANTITIES) :]:
                    print(
                        "{pair:24} {dtype:9} {mode:9} {quantity:18} {ours:.2e} / {peer:.2e} = {ratio:.3f}".format(**row)
                    )
    result = {
        "hardware": describe_hardware(device),
        "versions": {**library_versions(), "peft": peft.__version__},
        "draws": draws,
        "rows": rows,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def lora(build: Callable[[], nn.Module]) -> tuple[nn.Module, nn.Module, dict[str, str]]:
    config = peft.LoraConfig(r=8, lora_alpha=8, target_modules=["layer"])
    theirs = peft.get_peft_model(build(), config)
    names = {"A": "lora_A.default.weight", "B": "lora_B.default.weight"}
    return vxlab.attach(build(), vxlab.LoRA(rank=8), "layer"), theirs, names


def vera(build: Callable[[], nn.Module]) -> tuple[nn.Module, nn.Module, dict[str, str]]:
    config = peft.VeraConfig(r=256, target_modules=["layer"], projection_prng_key=0)
    theirs = peft.get_peft_model(build(), config)
    ours = vxlab.attach(build(), vxlab.VeRA(rank=256, seed=0), "layer")
    (layer,) = vxlab.adapted_layers(ours).values()
    for key in ("A", "B"):  # PEFT draws in the base weight's precision: take its values
        dict(layer.shared.named_buffers())[key].copy_(getattr(theirs.base_model, f"vera_{key}")["default"])
    return ours, theirs, {"lambda_b": "vera_lambda_b.default", "lambda_d": "vera_lambda_d.default"}


def lora_xs(build: Callable[[], nn.Module]) -> tuple[nn.Module, nn.Module, dict[str, str]]:
    ours = vxlab.attach(build(), vxlab.LoRAXS(rank=16), "layer")
    theirs = build().requires_grad_(False)
    released = theirs.layer = peers.ReleasedLoRAXS(theirs.layer, 16)
    frozen = vxlab.adapted_layers(ours)["layer"].frozen_tensors()
    with torch.no_grad():
        released.lora_A.weight.copy_(frozen["right_basis"])
        released.lora_B.weight.copy_(frozen["left_basis"])
    for part in (released.lora_A, released.lora_B, released.latent):
        part.to(frozen["right_basis"].dtype)
    return ours, theirs, {"R": "latent.weight"}


PAIRS = {"LoRA r=8 / PEFT": lora, "VeRA r=256 / PEFT": vera, "LoRA-XS r=16 / released": lora_xs}


def measure(
    pair: Callable[[Callable[[], nn.Module]], tuple[nn.Module, nn.Module, dict[str, str]]],
    dtype: torch.dtype,
    mode: str,
    seed: int,
    device: str,
) -> dict[str, Errors]:
    """Return both sides' errors on one draw of everything."""
    base = torch.float32 if mode == "autocast" else dtype

    def build() -> nn.Module:
        torch.manual_seed(seed)
        return _Layer().to(device, base)

    ours, theirs, names = pair(build)
    generator = torch.Generator().manual_seed(seed)
    mine, peers_own = _trained(ours, {key: key for key in names}), _trained(theirs, names)
    with torch.no_grad():
        for key in names:
            mine[key].copy_(0.05 * torch.randn(mine[key].shape, generator=generator))
            peers_own[key].copy_(mine[key])
    x, gy = (torch.randn(TOKENS, WIDTH, generator=generator).to(device, base) for _ in range(2))
    if mode == "autocast":
        gy = gy.to(dtype)
    exact = _results(copy.deepcopy(ours).double(), x.double(), gy.double(), list(names), nullcontext())
    again = _results(copy.deepcopy(theirs).double(), x.double(), gy.double(), list(names.values()), nullcontext())
    assert max(_errors(again, exact).values()) < 1e-10, "the two sides do not compute the same"
    context = torch.autocast(device, dtype) if mode == "autocast" else nullcontext()
    return {
        "ours": _errors(_results(ours, x, gy, list(names), context), exact),
        "peer": _errors(_results(theirs, x, gy, list(names.values()), context), exact),
    }


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def _trained(model: nn.Module, names: dict[str, str]) -> dict[str, nn.Parameter]:
    parameters = dict(model.named_parameters())
    return {key: next(p for each, p in parameters.items() if each.endswith("." + name)) for key, name in names.items()}


def _results(model: nn.Module, x: Tensor, gy: Tensor, names: list[str], context: object) -> list[Tensor]:
    x = x.clone().requires_grad_()
    trained = list(_trained(model, {name: name for name in names}).values())
    with context:
        y = model(x)
    gx, *gradients = torch.autograd.grad(y, [x, *trained], gy.to(y.dtype))
    return [y.detach(), gx, torch.cat([gradient.flatten() for gradient in gradients])]


def _errors(found: list[Tensor], exact: list[Tensor]) -> Errors:
    norms = [float((a.double() - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)]
    return dict(zip(QUANTITIES, norms, strict=True))


def _row(
    name: str, dtype: torch.dtype, mode: str, quantity: str, errors: list[dict[str, Errors]]
) -> dict[str, str | float]:
    ratios = [each["ours"][quantity] / each["peer"][quantity] for each in errors]
    return {
        "pair": name,
        "dtype": str(dtype).removeprefix("torch."),
        "mode": mode,
        "quantity": quantity,
        "ours": statistics.median(each["ours"][quantity] for each in errors),
        "peer": statistics.median(each["peer"][quantity] for each in errors),
        "ratio": statistics.median(ratios),
        "worst_ratio": max(ratios),
    }


if __name__ == "__main__":
    main()
