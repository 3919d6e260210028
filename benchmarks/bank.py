"""Measure a bank of adapters on disk: its bytes, opening it, reading a row of it and adding to it, as it grows.

    python benchmarks/bank.py [--sizes 1000 10000 100000] [--most 1000000] [--only CASE] [--folder FOLDER]

Synthetic LoRA-XS r=16 adapters on MiniLM's query and value: random rows. Each case is one bank that grows from size to
size, and is measured at each: its files' bytes against the numbers' own; opening it; a random row once it is in memory
(warm) and after the system was asked to forget the files (cold); 64 rows; adding 10,000 at a time, and one at a time.
``--most`` goes on to that size with the adapters alone, in float32, as far as 10 GB of the disk stay free. Beside
them a folder with a file for each adapter, as adapters are commonly kept. Writes benchmarks/results/bank.json; 5
minutes on two idle cores, and 12.4 GB for a million, deleted again in the end.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import vxlab
from vxlab.experiments import describe_hardware, library_versions

RESULTS = Path(__file__).parent / "results" / "bank.json"
METHOD = vxlab.LoRAXS(rank=16)
BATCH, SINGLES, READS, OPENS = 10_000, 50, 2_000, 9
SPARE = 10 * 10**9
"""bytes of the disk that stay free"""


class Case(NamedTuple):
    """A bank that grows."""

    heads: bool
    dtype: str
    names: Callable[[int], str]


def number(index: int) -> str:
    return f"user-{index:07d}"


def digits(index: int) -> str:
    """Return a name in no order: 32 hexadecimal digits, by its index."""
    return uuid.UUID(int=random.Random(index).getrandbits(128)).hex


CASES = {
    "adapters": Case(False, "float32", number),
    "adapters in bfloat16": Case(False, "bfloat16", number),
    "adapters with heads": Case(True, "float32", number),
    "adapters with names of 32 random digits": Case(False, "float32", digits),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="of every bank")
    parser.add_argument("--most", type=int, default=1_000_000, help="of the first, as far as the disk allows")
    parser.add_argument("--only", default="", help="measure the cases whose name holds this")
    parser.add_argument("--folder", default=None, help="where to write the banks; a temporary one by default")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name in (name for name in CASES if arguments.only in name):
            sizes = [*arguments.sizes, arguments.most] if name == "adapters" else arguments.sizes
            for row in measure(name, CASES[name], sorted(set(sizes)), Path(folder)):
                rows.append(row)
                print(in_words(row), flush=True)
        rows.append(files_alone(Path(folder)))
        print(json.dumps(rows[-1]))
    load = os.getloadavg()[0]
    found = {"hardware": describe_hardware("cpu"), "load": load, "versions": library_versions(), "rows": rows}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measure(name: str, case: Case, sizes: Sequence[int], folder: Path) -> Iterator[dict[str, Any]]:
    """Let a bank grow, and yield what is found at each size; the last may be as many as the disk takes."""
    path, size = folder / "bank", 0
    vxlab.AdapterBank.create(path, base(case.heads), METHOD, dtype=case.dtype).close()
    for wanted in sizes:
        adds, size = grow(path, case, size, wanted)
        row = {"case": name, "adapters": size, "added_in_a_second": adds, **weigh(path, size), **open_again(path)}
        alone = add_one_by_one(path, case, size)
        yield {**row, **read(path, case, size), "one_added_ms": 1e3 * statistics.median(alone)}
        full, size = size < wanted, size + len(alone)
        if full:
            break
    shutil.rmtree(path)


def base(heads: bool) -> nn.Module:
    torch.manual_seed(0)
    model = vxlab.load_model("minilm", 2)
    return model if heads else model.base_model


def grow(path: Path, case: Case, size: int, wanted: int) -> tuple[list[float], int]:
    """Add adapters up to a size, and return how many a second in each call, and the size."""
    adds = []
    with vxlab.AdapterBank.open(path, writable=True) as bank:
        block = random_rows(min(BATCH, wanted), bank.layout.width)
        while size < wanted and shutil.disk_usage(path).free > SPARE + 2 * block.nbytes:
            rows = block[: wanted - size]
            names = [case.names(index) for index in range(size, size + len(rows))]
            begun = time.perf_counter()
            bank.add_many(names, rows)
            adds.append(len(rows) / (time.perf_counter() - begun))
            size += len(rows)
    return adds, size


def random_rows(rows: int, width: int) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(0))


def weigh(path: Path, size: int) -> dict[str, Any]:
    """Return the bytes of a bank's files, and their ratio to the numbers' own."""
    with vxlab.AdapterBank.open(path) as bank:
        own = size * bank.layout.row_bytes
    found = {each.name: each.stat().st_size for each in path.iterdir()}
    index, whole = found["index.sqlite"], sum(found.values())
    return {"own_bytes": own, "file_bytes": whole, "index_bytes": index, "bytes_ratio": whole / own}


def open_again(path: Path) -> dict[str, Any]:
    warm = [seconds(lambda: vxlab.AdapterBank.open(path)) for _ in range(OPENS)]
    forget(path)
    return {"open_s": statistics.median(warm), "open_cold_s": seconds(lambda: vxlab.AdapterBank.open(path))}


def read(path: Path, case: Case, size: int) -> dict[str, Any]:
    """Return how long random rows take, in ms: one and 64, warm, one with its sha256 compared, and one cold."""
    chance = random.Random(0)
    names = [case.names(chance.randrange(size)) for _ in range(READS)]
    with vxlab.AdapterBank.open(path) as bank:
        bank.rows_of(names)
        one = timed(lambda name: bank.rows_of([name]), names)
        checked = timed(bank.get, names)
        many = timed(bank.rows_of, [names[start : start + 64] for start in range(0, READS - 64, 64)])
    forget(path)
    with vxlab.AdapterBank.open(path) as bank:
        cold = timed(lambda name: bank.rows_of([name]), [case.names(chance.randrange(size)) for _ in range(50)])
    return {
        "row_ms": statistics.median(one),
        "row_99_percent_ms": statistics.quantiles(one, n=100)[-1],
        "row_checked_ms": statistics.median(checked),
        "rows_64_ms": statistics.median(many),
        "row_cold_ms": statistics.median(cold),
    }


def add_one_by_one(path: Path, case: Case, size: int) -> list[float]:
    """Add adapters one at a time, and return how long each took to be on the disk, in s."""
    with vxlab.AdapterBank.open(path, writable=True) as bank:
        rows = random_rows(SINGLES, bank.layout.width)
        names = [case.names(index) for index in range(size, size + SINGLES)]
        return [seconds(lambda at=at: bank.add_many([names[at]], rows[at : at + 1])) for at in range(SINGLES)]


def files_alone(folder: Path) -> dict[str, Any]:
    """Return the same of a safetensors file for each of 1,000 adapters, without what else an adapter's folder holds."""
    with vxlab.AdapterBank.create(folder / "like", base(False), METHOD) as bank:
        rows = random_rows(1000, bank.layout.width)
        paths = [folder / f"{number(index)}.safetensors" for index in range(len(rows))]
        for path, row in zip(paths, rows, strict=True):
            save_file({name: each.contiguous() for name, each in bank.layout.unpack(row).items()}, path)
    sizes = [path.stat() for path in paths]
    return {
        "case": "a file for each adapter",
        "adapters": len(paths),
        "bytes_ratio": sum(each.st_size for each in sizes) / rows.nbytes,
        "disk_ratio": sum(512 * each.st_blocks for each in sizes) / rows.nbytes,
        "row_ms": statistics.median(timed(load_file, paths)),
    }


def forget(path: Path) -> None:
    """Ask the system to let go of what it keeps of files in memory."""
    os.sync()
    for each in path.iterdir():
        with each.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(call: Callable[[Any], object], given: Sequence[Any]) -> list[float]:
    """Return how long each call took, in ms."""
    return [1e3 * seconds(lambda each=each: call(each)) for each in given]


def seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def in_words(row: dict[str, Any]) -> str:
    return (
        f"{row['case']:40} {row['adapters']:9,}: bytes {row['bytes_ratio']:.4f}, opens {1e3 * row['open_s']:.1f} ms, "
        f"row {1e3 * row['row_ms']:.0f} us (99 %: {1e3 * row['row_99_percent_ms']:.0f}, checked "
        f"{1e3 * row['row_checked_ms']:.0f}, cold {1e3 * row['row_cold_ms']:.0f}), 64 rows {row['rows_64_ms']:.2f} ms, "
        f"added {statistics.median(row['added_in_a_second']):,.0f}/s, one at a time {row['one_added_ms']:.1f} ms"
    )


if __name__ == "__main__":
    main()
