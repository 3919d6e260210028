"""Whether a model can write: whether it sees no token ahead, and answers alike padded on either side."""

from typing import Any

import torch
from torch import Tensor, nn

from vxlab.errors import VxlabError
from vxlab.experiments.models.files import explain_load_error, find_model, quiet_transformers
from vxlab.experiments.models.padding import require_embedding
from vxlab.words import first_line

_TEXTS = ("one two three", "one two three four five six seven eight")
_TOLERANCE = 1e-3
"""Of the largest logit: rounding is far below, a token at another position far above."""


def check_writing(name: str, model: nn.Module, tokenizer: Any) -> None:
    """Refuse a model whose logits for a token depend on later tokens or on padding; let no saved setting write.

    Args:
        name: of the model, for the message.
        model: in evaluation mode, on the CPU; its generation config becomes the plain greedy one.
        tokenizer: its own, with a padding token.

    Raises:
        VxlabError: it sees tokens ahead (an encoder does), is changed by padding, or fails on what its tokenizer
            writes.
    """
    _settle_writing(model, tokenizer)
    ids = [list(tokenizer(text)["input_ids"]) for text in _TEXTS]
    require_embedding(name, model, tokenizer, max(tokenizer.pad_token_id, *ids[0], *ids[1]))
    if not all(ids):
        return  # a tokenizer of another alphabet, which leaves out what it does not know
    try:
        alone = _logits(model, ids[:1], tokenizer.pad_token_id)[0]
        longer = _logits(model, [ids[0] + ids[1]], tokenizer.pad_token_id)[0, : len(ids[0])]
        padded = _logits(model, ids, tokenizer.pad_token_id)[0, : len(ids[0])]
        left = _logits(model, ids, tokenizer.pad_token_id, left=True)[0, -len(ids[0]) :]
    except Exception as error:  # whatever it is: a run would meet it at its first batch
        raise VxlabError(
            f"model={name!r}: {type(model).__name__} fails on what its tokenizer writes "
            f"({type(error).__name__}: {first_line(error)}); save the tokenizer that belongs to it"
        ) from error
    if _differ(alone, longer):
        raise VxlabError(
            f"model={name!r}: {type(model).__name__} sees the tokens ahead, as an encoder does, so it cannot write; "
            "name a causal language model, or give num_labels to classify with it"
        )
    if _differ(alone, padded) or _differ(alone, left):
        side = "right" if _differ(alone, padded) else "left"
        raise VxlabError(
            f"model={name!r}: {type(model).__name__} answers otherwise where a text is padded on the {side}, as it is "
            f"in batches {'to train' if side == 'right' else 'to write'}; name another model"
        )


@torch.no_grad()
def check_packing(name: str, model: nn.Module, tokenizer: Any) -> None:
    """Refuse a model that reads texts packed in one row otherwise than each alone.

    Args:
        name, model, tokenizer: as :func:`check_writing` takes them.
    """
    ids = [list(tokenizer(text)["input_ids"]) for text in _TEXTS]
    positions = torch.cat([torch.arange(len(each)) for each in ids])[None]
    try:
        packed = model(input_ids=torch.tensor([ids[0] + ids[1]]), position_ids=positions, use_cache=False).logits
        alone = _logits(model, ids[1:], tokenizer.pad_token_id)[0]
    except Exception as error:  # whatever a model raises that takes no positions
        raise _no_packing(name, model) from error
    if _differ(packed[0, len(ids[0]) :], alone):
        raise _no_packing(name, model)


def _no_packing(name: str, model: nn.Module) -> VxlabError:
    return VxlabError(
        f"packing=True: {type(model).__name__} of model={name!r} reads packed texts otherwise than alone; leave "
        "packing out"
    )


def saved_generation(name: str) -> Any:
    """Return how a model's own files say to write, as transformers takes it with the weights.

    :func:`vxlab.load_model` sets it aside: a run writes as its spec says.

    Args:
        name: as :func:`vxlab.load_model` takes it.
    """
    from transformers import GenerationConfig

    place = find_model(name)
    with quiet_transformers(), explain_load_error(name):
        try:
            return GenerationConfig.from_pretrained(place.path, revision=place.commit)
        except OSError:  # it has no generation_config.json
            file = {"config_file_name": "config.json", "_from_model_config": True}
            return GenerationConfig.from_pretrained(place.path, revision=place.commit, **file)


def _settle_writing(model: nn.Module, tokenizer: Any) -> None:
    """Let no setting that was saved for another use decide what is written."""
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id
    )


@torch.no_grad()
def _logits(model: nn.Module, ids: list[list[int]], pad: int, left: bool = False) -> Tensor:
    most = max(map(len, ids))
    fill = [[pad] * (most - len(each)) for each in ids]
    rows = [more + each if left else each + more for each, more in zip(ids, fill, strict=True)]
    ones = [[1] * len(each) for each in ids]
    zeros = [[0] * len(each) for each in fill]
    mask = torch.tensor([more + each if left else each + more for each, more in zip(ones, zeros, strict=True)])
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    more = {"position_ids": positions} if left else {}
    logits: Tensor = model(input_ids=torch.tensor(rows), attention_mask=mask, **more).logits
    return logits


def _differ(first: Tensor, second: Tensor) -> bool:
    scale = float(first.abs().max().clamp_min(1e-2))
    return not float((first - second).abs().max()) <= _TOLERANCE * scale  # NaN differs, too
