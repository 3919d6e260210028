"""The code that loads an exported folder, as its card shows it."""

import json
from typing import Any

from vxlab.adapters import LoRA
from vxlab.adapters.placement import bare, head_parameters
from vxlab.experiments.exchange.bases import BaseName
from vxlab.experiments.exchange.image_settings import must_interpolate
from vxlab.experiments.exchange.source import Source, reads_pixels, reads_tokens


def write_load_code(source: Source, base: BaseName, format: str, folder: str) -> str:
    """Return Markdown with a block of Python that loads the folder by transformers and peft alone.

    A base that only vxlab fetches is loaded by vxlab; a base in a folder is named by the folder's last part.

    Args:
        source, base, format, folder: as :func:`vxlab.experiments.exchange.model_card.write_card` takes them.
    """
    import transformers

    model: Any = bare(source.model)
    name = type(model).__name__
    if not hasattr(transformers, name):
        return (
            f"The base is a `{name}`, which is none of transformers': build it as in your own code, with the base's "
            f'weights, and call `peft.PeftModel.from_pretrained(model, "{folder}")`.'
        )
    if format == "merged":
        lines = _whole(model, name, folder)
    else:
        lines = _by_vxlab(model, base, folder) if format == "vxlab" else _on_base(model, name, base, folder)
    shown = reads_pixels(model) and bool(source.base) and format != "vxlab"
    if shown:
        lines = _with_an_image(lines, source, folder, named=format == "merged")
    is_lora = format == "lora" or (format == "peft" and isinstance(source.method, LoRA))
    return "\n".join(["```python", *lines, "```"]) + _note(base, format == "merged", is_lora) + _IMAGES * shown


_IMAGES = (
    " Pixels that are transparent were white in training; `convert` alone shows the colours that lie under them. "
    '`backend="pil"` makes the pixels that were trained on, whether or not torchvision is installed.'
)


def _with_an_image(lines: list[str], source: Source, folder: str, named: bool) -> list[str]:
    """Return what loads a model, and how it is asked about an image.

    Args:
        lines: that load the model.
        source: of it.
        folder: that holds the image processor.
        named: whether the model's own config has the classes' names.
    """
    model: Any = bare(source.model)
    names = [model.config.id2label[number] for number in range(model.config.num_labels)]
    asked = ", interpolate_pos_encoding=True" if must_interpolate(source) else ""
    own = "model.config.id2label" if named else "names"
    known = any("AutoImageProcessor" in line for line in lines)
    return [
        "import torch",
        *([] if known else ["from transformers import AutoImageProcessor"]),
        "from PIL import Image, ImageOps",
        *lines,
        f'processor = AutoImageProcessor.from_pretrained("{folder}", backend="pil")',
        *([] if named else [f"names = {json.dumps(names, ensure_ascii=False)}"]),
        "",
        'image = ImageOps.exif_transpose(Image.open("image.png")).convert("RGB")',
        "with torch.no_grad():",
        f'    logits = model.eval()(**processor(image, return_tensors="pt"){asked}).logits',
        f"print({own}[int(logits.argmax())])",
    ]


def _whole(model: Any, name: str, folder: str) -> list[str]:
    return [_imports(model, name), "", f'model = {name}.from_pretrained("{folder}")', *_tokenizer(model, f'"{folder}"')]


def _imports(model: Any, name: str) -> str:
    prepares = "AutoTokenizer, " if reads_tokens(model) else "AutoImageProcessor, " if reads_pixels(model) else ""
    return f"from transformers import {prepares}{name}"


def _tokenizer(model: Any, place: str) -> list[str]:
    return [f"tokenizer = AutoTokenizer.from_pretrained({place})"] if reads_tokens(model) else []


def _by_vxlab(model: Any, base: BaseName, folder: str) -> list[str]:
    return [
        "import vxlab",
        "",
        f'model = vxlab.load_model("{base.name or "the base"}", {_labels(model)})',
        f'model = vxlab.load_adapter(model, "{folder}").eval()',
    ]


def _labels(model: Any) -> int:
    return int(model.config.num_labels) if head_parameters(model) else 0


def _on_base(model: Any, name: str, base: BaseName, folder: str) -> list[str]:
    put_on = ["", f'model = PeftModel.from_pretrained(model, "{folder}")']
    labels = _labels(model)
    if base.packaged and not reads_tokens(model):
        return [
            "import vxlab",
            "from peft import PeftModel",
            "",
            f'model = vxlab.load_model("{base.name}", {labels})',
            *put_on[1:],
        ]
    if base.packaged:
        return [
            "import vxlab",
            "from peft import PeftModel",
            "from vxlab.experiments.models import load_tokenizer",
            "",
            f'model, tokenizer = vxlab.load_model("{base.name}", {labels}), load_tokenizer("{base.name}")',
            *put_on[1:],
        ]
    return [
        "from peft import PeftModel",
        _imports(model, name),
        "",
        f'base = "{base.hub_id or base.name or "the base"}"',
        f'model = {name}.from_pretrained(base, dtype="float32"{_settings(model, labels)})',
        *_tokenizer(model, "base"),
        *put_on[1:],
    ]


def _settings(model: Any, labels: int) -> str:
    """Return what the base's own config may lack, and a head needs."""
    told = f", num_labels={labels}" if labels else ""
    if reads_pixels(model):  # most of them come with a head of a thousand classes
        return told + (", ignore_mismatched_sizes=True" if labels else "")
    pads, usual = (getattr(config, "pad_token_id", None) for config in (model.config, type(model.config)()))
    return told + (f", pad_token_id={pads}" if labels and pads != usual else "")


def _note(base: BaseName, whole: bool, is_lora: bool) -> str:
    """Say what the block takes for granted, and whether others serve the folder as it is."""
    if whole:
        return "\n\nThe folder's name stands for its path, or for its name on the hub."
    own = "" if base.packaged or base.hub_id else " `base` is your copy of the base, named below with its fingerprint."
    served = (
        " In transformers alone, `model.load_adapter(folder)` puts it on the base, and so does any server that takes "
        "LoRAs in PEFT's format."
        if is_lora
        else ""
    )
    return f"\n\nThe folder's name stands for its path, or for its name on the hub.{own}{served}"
