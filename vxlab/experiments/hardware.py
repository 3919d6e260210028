"""The device and precision of a run, and what it ran on."""

import contextlib
import ctypes
import functools
import gc
import importlib.metadata
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from vxlab._version import __version__
from vxlab.checks import require_choice
from vxlab.errors import VxlabError
from vxlab.experiments.checkout import commit

DEVICES = ("auto", "cuda", "mps", "cpu")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
_LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "scikit-learn", "numpy")
_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_PARTED = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM")


def resolve_device(device: str) -> str:
    """Return ``cuda``, ``mps`` or ``cpu``; ``auto`` takes the first that is there.

    Raises:
        VxlabError: the name is unknown, or the device is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, present in there.items() if present)
    require_choice("device", device, DEVICES)
    if not there[device]:
        present = ", ".join(name for name, is_there in there.items() if is_there)
        raise VxlabError(
            f"device={device!r} was asked for, but torch {torch.__version__} sees none; choose auto or {present}"
        )
    return device


def own_device(device: str) -> str:
    """Return the device of this process: of several that torchrun starts, each has a GPU of its own.

    The trainer, which tells torch so, is made after a model may have to be there already. The count goes round, as
    accelerate's does, where a machine has fewer GPUs than processes or each process sees one alone.
    """
    rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{int(rank) % torch.cuda.device_count()}" if device == "cuda" and rank else device


def processes() -> int:
    """Return how many processes train a run together: as many as torchrun started, else 1.

    Raises:
        VxlabError: the environment names several processes, or this one's place among them, as torchrun does, but not
            all that is needed to meet them (a batch system's script may: torch would wait for ever); or accelerate is
            asked to part a model among them.
    """
    for part in _PARTED:
        if os.environ.get(part, "").lower() in ("true", "1"):
            raise VxlabError(
                f"{part}={os.environ[part]} parts a model among processes, and a run's are whole; unset it"
            )
    missing = [name for name in _TORCHRUN if name not in os.environ]
    if not missing:
        return int(os.environ["WORLD_SIZE"])
    told = [name for name in _SIZES if os.environ.get(name, "1") != "1"] + ["LOCAL_RANK"] * ("LOCAL_RANK" in os.environ)
    if told:
        raise VxlabError(
            f"{told[0]}={os.environ[told[0]]} is in the environment, and {missing[0]} is not: start the processes of "
            f"one run by torchrun, or unset {told[0]} to train in this one alone"
        )
    return 1


def require_one_process(what: str) -> None:
    """Refuse to work on many runs in several processes of torchrun: each would wait for the others in a run they lack.

    Raises:
        VxlabError: torchrun started more than one process, or :func:`processes` raises.
    """
    if (count := processes()) > 1:
        raise VxlabError(
            f"{what} was started by torchrun in {count} processes; start it once, and choose engine='processes' to "
            "train several runs at a time"
        )


@contextlib.contextmanager
def by_the_spec_alone() -> Iterator[None]:
    """Set apart what the caller's process would decide in the spec's place, unseen; it is as before afterwards.

    That is what accelerate reads from the environment, and torch's state: the default dtype and device, the precision
    of float32 products, autocast, and whether gradients are recorded.
    """
    hidden, dtype = _taken_out("ACCELERATE_"), torch.get_default_dtype()
    with contextlib.ExitStack() as plain:
        plain.callback(os.environ.update, hidden)
        plain.callback(_taken_out, "ACCELERATE_")
        plain.callback(torch.set_default_dtype, dtype)
        torch.set_default_dtype(torch.float32)
        plain.enter_context(_exact_products())
        plain.enter_context(torch.inference_mode(False))
        plain.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                plain.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            plain.enter_context(torch.device("cpu"))
        yield


@contextlib.contextmanager
def _exact_products() -> Iterator[None]:
    """Compute float32 products in float32, whichever of torch's two ways to say otherwise the process has taken.

    The older way cannot be read after the newer, and sets what the newer reads: both are put back, in this order.
    """
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    newer = [backend.fp32_precision for backend in backends]
    older = "highest"
    with contextlib.suppress(RuntimeError):
        older = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(older)
        for backend, precision in zip(backends, newer, strict=True):
            backend.fp32_precision = precision


def _taken_out(prefix: str) -> dict[str, str]:
    return {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(prefix)}


def resolve_precision(precision: str, device: str) -> str:
    """Return ``float32``, ``bfloat16`` or ``float16`` (the last two by autocast).

    ``auto`` is bfloat16 on GPUs that compute in it, from Ampere on, and float32 elsewhere.

    Raises:
        VxlabError: the name is unknown, or the device cannot do it.
    """
    require_choice("precision", precision, PRECISIONS)
    if precision == "auto":
        # Before Ampere torch emulates it: it works there, many times slower than float32.
        native = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if native else "float32"
    if precision == "float16" and device != "cuda":
        raise VxlabError(
            f"precision='float16' needs a CUDA device, and this run is on {device}; choose bfloat16 or float32"
        )
    return precision


def cpu_has_bfloat16() -> bool:
    """Say whether the processor multiplies in bfloat16 itself (AMX, AVX-512 BF16, or ARM's)."""
    capable = torch.cpu.get_capabilities()
    return any(capable.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def describe_hardware(device: str) -> dict[str, str | int]:
    """Return the processor, the threads that torch uses in this process, the system, its memory in bytes, and the GPU.

    The GPU is there where ``device`` is one.
    """
    import psutil

    described: dict[str, str | int] = {"device": device, "processor": _processor(), "threads": torch.get_num_threads()}
    described |= {"system": _system(), "memory": psutil.virtual_memory().total}
    if device == "cuda":
        described["gpu"] = torch.cuda.get_device_name()
        described["gpus"] = torch.cuda.device_count()
    return described


def library_versions(libraries: Sequence[str] = _LIBRARIES) -> dict[str, str]:
    """Return the versions of vxlab, Python and those libraries that are installed; by default those that
    numbers depend on.

    ``commit`` is vxlab's, where it runs from a checkout.
    """
    found = {"vxlab": __version__, "python": platform.python_version()}
    if commit():
        found["commit"] = commit()
    for library in libraries:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = _version(library)
    return found


@functools.cache
def _version(library: str) -> str:
    # Asked once: what was imported stays, whatever is installed later. That a library is missing is not kept.
    return importlib.metadata.version(library)


def reset_peak_memory(device: str) -> int:
    """Start measuring the peak of memory anew; return the bytes that are held already.

    On the GPU that is 0: all that is allocated there counts. On the CPU it is what is resident in this process, after
    what earlier runs left behind has gone back to the system.
    """
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return 0
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):  # Linux only, and not in every container: else the peak is the process's
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is resident now
        return peak_memory(device)
    return 0


def peak_memory(device: str) -> int:
    """Return the peak in bytes: allocated by torch on the GPU, or resident in this process on the CPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    if marks := [line for line in lines if line.startswith("VmHWM")]:
        return int(marks[0].split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")] if cpuinfo.exists() else []
    )
    name = names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()
    return f"{name} ({os.cpu_count()} cores)"


def _system() -> str:
    """Return the operating system, such as ``Debian GNU/Linux 12 (bookworm), x86_64``; nothing that names a machine."""
    with contextlib.suppress(OSError):  # Linux alone has the file
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.machine()}"
    release = platform.mac_ver()[0] or platform.release()
    return f"{platform.system()} {release}, {platform.machine()}"
