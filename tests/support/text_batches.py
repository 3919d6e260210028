"""Texts as a model reads them, for tests that have no task."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from vxlab.experiments.models import load_tokenizer
from vxlab.experiments.tasks.kinds import CLASSIFICATION, Form


def text_batches(model: str, texts: Sequence[Any], max_length: int = 128) -> list[dict[str, Tensor]]:
    """Return texts, or pairs of them, as one padded batch."""
    pairs = [(text,) if isinstance(text, str) else text for text in texts]
    columns = dict(zip(("text", "text_pair"), map(list, zip(*pairs, strict=True)), strict=False))
    return [CLASSIFICATION.inputs(columns, load_tokenizer(model), Form(max_length))]
