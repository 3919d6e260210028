"""A probe as a model again: the frozen backbone, its pooling, and the linear map that was fitted."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from vxlab.adapters.core import check_fingerprints
from vxlab.adapters.placement import head_parameters
from vxlab.adapters.saving import SETTINGS_FILE, TENSORS_FILE, read_settings, read_tensors
from vxlab.errors import VxlabError
from vxlab.experiments.probes.probe_features import pool
from vxlab.experiments.provenance import POOLINGS


class ProbedModel(nn.Module):
    """Answer as a fitted probe does, from the same batches as the model whose features it reads.

    Args:
        model: frozen, from :func:`vxlab.load_model`.
        pooling: one of :data:`vxlab.experiments.provenance.probe_words.POOLINGS`.
        linear: from features to logits.
    """

    def __init__(self, model: nn.Module, pooling: str, linear: nn.Linear) -> None:
        super().__init__()
        self.model, self.pooling, self.linear = model.requires_grad_(False), pooling, linear
        self.config: Any = model.config

    def forward(self, **batch: Tensor) -> SequenceClassifierOutput:
        """Return ``logits`` (texts, outputs)."""
        features = pool(self.model, batch, [self.pooling])[self.pooling]
        return SequenceClassifierOutput(logits=self.linear(features.to(self.linear.weight.dtype)))


def load_probed(model: nn.Module, folder: Path) -> ProbedModel:
    """Put a saved probe behind the model that it was fitted on; nothing of the model is changed.

    Args:
        model: from :func:`vxlab.load_model`.
        folder: the adapter's folder of a probe's run.

    Raises:
        VxlabError: the folder holds no probe or a damaged one, or the model has other weights.
    """
    saved = read_settings(folder)
    tensors, pooling = read_tensors(folder, saved), saved.get("probe", {}).get("pooling")
    weight, bias = tensors.get("weight"), tensors.get("bias")
    if pooling not in POOLINGS or weight is None or bias is None or weight.shape[:1] != bias.shape:
        raise VxlabError(f"{folder} holds no probe: {SETTINGS_FILE} and {TENSORS_FILE} are of something else")
    head = head_parameters(model)
    frozen = {name: each for name, each in model.named_parameters() if name not in head}
    check_fingerprints(frozen, saved["base"], f"the probe in {folder} was fitted on another base: the model's weights")
    linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return ProbedModel(model, pooling, linear)
