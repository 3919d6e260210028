"""Whether an adapter can hold what the data teach, by a rule of thumb."""

import math
from typing import Any

import numpy as np

from vxlab.experiments import RunSpec
from vxlab.experiments.runs import Materials

BITS_A_PARAMETER, BITS_A_TOKEN = 2.0, 1.0
"""Rules of thumb: what a trained parameter holds, and about what a token of an answer teaches. Schulman et al., LoRA
Without Regret (2025), section on capacity."""


def capacity_of(spec: RunSpec, materials: Materials, parameters: int) -> dict[str, Any]:
    """Return ``data_bits``, ``adapter_bits`` and whether these are ``enough``.

    What labels hold is their entropy, H(y) bits a row; what answers hold is a bit a token. An adapter of fewer bits
    cannot learn the training split by heart; it may well learn the task. Numbers hold as many bits as they have digits
    that matter, which nothing here tells: NaN and None of regression.

    Args:
        spec: the run.
        materials: where its rows are.
        parameters: trained in the backbone.
    """
    task, adapter = materials.task(spec), BITS_A_PARAMETER * parameters
    if task.kind.name == "regression":
        return {"data_bits": math.nan, "adapter_bits": adapter, "enough": None}
    if task.kind.trains_head:
        _, counts = np.unique(task.kind.strata(task.splits["train"][:]), return_counts=True)
        shares = counts / counts.sum()
        data = float(counts.sum() * -(shares * np.log2(shares)).sum())
    else:
        labels = materials.splits(spec)["train"]["labels"]
        data = BITS_A_TOKEN * sum(token >= 0 for row in labels for token in row)
    return {"data_bits": data, "adapter_bits": adapter, "enough": adapter >= data}
