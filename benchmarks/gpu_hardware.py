"""What the GPU is, and the ceilings that the other numbers are to be held against."""

import platform
import subprocess
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from rounds import interleaved_seconds

from vxlab.experiments import describe_hardware, library_versions


def cases(device: str, tiny: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    size = 256 if tiny else 8192
    return {
        "facts": lambda: facts(device),
        "copies": lambda: copies(device, 2**20 if tiny else 2**30),
        **{name: lambda dtype=name: product(device, size, dtype) for name in ("bfloat16", "float16", "float32")},
        "float32 by TF32": lambda: tf32(device, size),
        "float64": lambda: product(device, size // 4, "float64"),
    }


def facts(device: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "torch_cuda": torch.version.cuda,
        "platform": platform.platform(),
        "versions": library_versions(),
    }
    row |= {"hardware": describe_hardware(device), "cudnn": torch.backends.cudnn.version()}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        row |= {"capability": f"{properties.major}.{properties.minor}", "bytes": properties.total_memory}
        row |= {"processors": properties.multi_processor_count, "bf16": torch.cuda.is_bf16_supported(False)}
        row |= {"free_bytes": torch.cuda.mem_get_info()[0], "nvidia_smi": _smi()}
    return row


def _smi() -> str:
    asked = "name,driver_version,clocks.sm,clocks.max.sm,power.limit,temperature.gpu,utilization.gpu,mig.mode.current"
    try:
        command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not known: {error}"


def copies(device: str, size: int) -> dict[str, float]:
    """Return bytes a second: on the device (read and written), and to it from pageable and from pinned memory."""
    source, target = (torch.empty(size, dtype=torch.uint8, device=device) for _ in range(2))
    host = torch.empty(size // 8, dtype=torch.uint8)
    steps = {"device": lambda: target.copy_(source), "from pageable": lambda: target[: len(host)].copy_(host)}
    if device == "cuda":
        pinned = host.pin_memory()
        steps["from pinned"] = lambda: target[: len(host)].copy_(pinned, non_blocking=True)
    seconds = interleaved_seconds(steps, rounds=7)
    moved = {"device": 2 * size}
    return {name: moved.get(name, len(host)) / median(times) for name, times in seconds.items()}


def product(device: str, size: int, dtype: str) -> dict[str, float]:
    """Return the rate of a square matrix product, in floating-point operations a second."""
    a, b = (torch.randn(size, size, device=device).to(getattr(torch, dtype)) for _ in range(2))
    seconds = median(interleaved_seconds({"product": lambda: a @ b}, rounds=9, warm_ups=3)["product"])
    return {"seconds": seconds, "flops": 2 * size**3 / seconds}


def tf32(device: str, size: int) -> dict[str, float]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        return product(device, size, "float32")
    finally:
        torch.set_float32_matmul_precision(before)
