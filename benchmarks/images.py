"""What reading images takes beside the steps that train on them, and beside decoding them anew in every epoch.

    python benchmarks/images.py [--folder grocery_81] [--model dinov2s] [--resolutions 112 224] [--batch 8] [--rounds 9]
        [--write]

LoRA r=8 on query and value, with flip-and-crop. The first epoch decodes every image once, on all cores, and keeps its
pixels in a temporary file. From then on a step takes the rows, makes a batch of kept pixels, changes it by chance, and
trains: each is timed by itself, in interleaved rounds, on batches that no round had before. The peer is what guides
write: a collate function that opens the files and calls transformers' image processor on them, in every epoch; it
changes nothing by chance. ``share`` is what is not the step itself, of all together; the target is 15 % at the most.

The folder holds one folder of images for each class, or such folders by split; ``VXLAB_IMAGES`` names one, too.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rounds import interleaved_seconds, ratio

import vxlab
from vxlab.experiments import describe_hardware, library_versions
from vxlab.experiments.costs import training_step
from vxlab.experiments.images import ImageReader
from vxlab.experiments.models import load_image_processor, prepare_images
from vxlab.experiments.runs import Materials
from vxlab.experiments.tasks import Task

RESULTS = Path(__file__).parent / "results" / "images.json"
TARGET = 0.15
OURS, AUGMENT, STEP, THEIRS = "rows and batch", "augment", "step", "decode in collate"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("VXLAB_IMAGES", "grocery_81")))
    parser.add_argument("--model", default="dinov2s")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[112, 224])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help=f"keep the result in {RESULTS.name}")
    asked = parser.parse_args()
    if not asked.folder.is_dir():
        print(f"nothing is measured: {asked.folder} is no folder of images; name one by --folder or VXLAB_IMAGES")
        return
    result = {
        "command": f"python benchmarks/images.py --model {asked.model} --resolutions "
        f"{' '.join(map(str, asked.resolutions))} --batch {asked.batch} --rounds {asked.rounds}",
        "folder": asked.folder.name,
        "target": TARGET,
        "by_resolution": {side: measure(asked, side) for side in asked.resolutions},
        "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "hardware": describe_hardware("cpu"),
        "versions": library_versions(),
    }
    print(json.dumps(result, indent=1))
    if asked.write:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measure(asked: argparse.Namespace, side: int) -> dict[str, Any]:
    """Return what the first epoch decodes in, the seconds of the parts of later steps, and what they share."""
    spec = vxlab.RunSpec(
        method=vxlab.LoRA(rank=8), model=asked.model, task=str(asked.folder), resolution=side, batch_size=asked.batch,
        augmentation="flip-crop", learning_rate=2e-3, head_learning_rate=5e-3, device="cpu",
    )  # fmt: skip
    materials = Materials()
    task = materials.task(spec)
    decoded = decode(asked.model, task, side)
    seconds = interleaved_seconds(parts(spec, materials), asked.rounds)
    ours = [sum(each) for each in zip(seconds[OURS], seconds[AUGMENT], strict=True)]
    shares = {"ours": _share(ours, seconds[STEP]), "decode in collate": _share(seconds[THEIRS], seconds[STEP])}
    images = statistics.median(seconds[AUGMENT]) / asked.batch
    return {
        **decoded,
        "seconds": seconds,
        "augment_milliseconds_an_image": 1000 * images,
        "share": shares,
        "reading, ours / theirs": ratio(ours, seconds[THEIRS])._asdict(),
        "met": shares["ours"] <= TARGET,
    }


def decode(model: str, task: Task, side: int) -> dict[str, float]:
    """Decode the training images as a first epoch does, and say how long one takes, and what it is kept in."""
    reader, images = ImageReader(prepare_images(model, side), task.images), task.splits["train"][:]["image"]
    started = time.perf_counter()
    reader.keep(images)
    seconds = time.perf_counter() - started
    return {
        "images": len(images),
        "decode_milliseconds_an_image": 1000 * seconds / len(images),
        "kept_bytes_an_image": 3 * side * side,
    }


def parts(spec: vxlab.RunSpec, materials: Materials) -> dict[str, Callable[[], object]]:
    """Return the parts of a step after the first epoch, and the peer's way to its batch."""
    task, rows = materials.task(spec), materials.splits(spec)["train"].remove_columns(["length", "row"])
    collate, kind = materials.collate(spec), task.kind
    model = vxlab.attach(materials.model(spec), spec.method, spec.targets).train()
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-12)
    made = dict(collate(rows.__getitems__(list(range(spec.batch_size)))))
    ours, theirs = _numbers(len(rows), spec.batch_size), _numbers(len(rows), spec.batch_size)
    return {
        OURS: lambda: collate(rows.__getitems__(next(ours))),
        AUGMENT: lambda: kind.augment(made, spec.form),
        STEP: training_step(model, made, optimizer, loss=kind.batch_loss),
        THEIRS: _decoding(spec, task, theirs),
    }


def _decoding(spec: vxlab.RunSpec, task: Task, numbers: Iterator[list[int]]) -> Callable[[], object]:
    processor, train = load_image_processor(spec.model), task.splits["train"]
    scaled = prepare_images(spec.model, spec.resolution).processor
    processor.size, processor.crop_size = scaled.size, getattr(scaled, "crop_size", None)

    def collate() -> object:
        names = train[next(numbers)]["image"]
        images = [Image.open(task.images[name].path).convert("RGB") for name in names]  # type: ignore[arg-type]
        return processor(images, return_tensors="pt")

    return collate


def _numbers(count: int, size: int) -> Iterator[list[int]]:
    """Yield the numbers of rows of one batch after another, drawn anew from all in every epoch."""
    random = torch.Generator().manual_seed(0)
    for _ in itertools.count():
        order = torch.randperm(count, generator=random).tolist()
        yield from (order[start : start + size] for start in range(0, count - size + 1, size))


def _share(reading: list[float], step: list[float]) -> float:
    return statistics.median(own / (own + trains) for own, trains in zip(reading, step, strict=True))


if __name__ == "__main__":
    main()
