"""What a finished run trained: the model, and how far each layer moved."""

import re
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vxlab.adapters import adapted_layers, load_adapter, merge, unmerge
from vxlab.adapters.roles import role_of
from vxlab.analysis.updates import relative_update_norm
from vxlab.experiments.models import load_model, load_tokenizer
from vxlab.experiments.record import ADAPTER_FOLDER, RunRecord
from vxlab.experiments.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd

LAYER_COLUMNS = ["layer", "block", "role", "relative_norm", "d_norm", "b_norm"]


def load_trained(record: RunRecord) -> nn.Module:
    """Load a run's model with what it trained, unmerged, on the CPU in evaluation mode.

    Raises:
        VxlabError: the base model is no longer the one the run trained on.
    """
    model = load_model(record.spec["model"], record.task["num_labels"])
    return load_adapter(model, record.folder / ADAPTER_FOLDER).eval()


def layer_updates(model: nn.Module) -> "pd.DataFrame":
    """Return one row for each adapted layer.

    Columns: ``layer`` (dotted name), ``block`` (its number, from 0), ``role``, ``relative_norm`` = ‖ΔW‖_F / ‖W‖_F,
    and for VeRA ``d_norm`` = ‖d‖₂ and ``b_norm`` = ‖b‖₂ (NaN for other families).
    """
    import pandas as pd

    rows = []
    for name, layer in adapted_layers(model).items():
        number = re.search(r"\.(\d+)\.", f".{name}.")
        trained = layer.trained_tensors()
        norms = {
            column: float(trained[key].detach().norm()) if key in trained else float("nan")
            for column, key in (("d_norm", "lambda_d"), ("b_norm", "lambda_b"))
        }
        relative = relative_update_norm(*layer.factors(), layer.base_weight())
        row = {"layer": name, "block": int(number[1]) if number else 0, "role": role_of(name) or "other"}
        rows.append({**row, "relative_norm": relative, **norms})
    return pd.DataFrame(rows, columns=LAYER_COLUMNS)


def sample_texts(spec: RunSpec, rows: int) -> list[Any]:
    """Return the first texts of the spec's test split: strings, or pairs of them."""
    split = spec.load_task().splits["test"]
    split = split.select(range(min(rows, len(split))))
    columns = [list(split[column]) for column in ("text", "text_pair") if column in split.column_names]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


@torch.no_grad()
def merged_difference(model: nn.Module, model_name: str, texts: list[Any], max_length: int = 128) -> float:
    """Return the largest absolute difference between merged and unmerged logits on some texts.

    Args:
        model: with adapters, unmerged; left so, and in evaluation mode.
        model_name: whose tokenizer to use.
        texts: strings, or pairs of strings.
        max_length: tokens; longer texts are cut.
    """
    tokenizer = load_tokenizer(model_name)
    pairs = [(text,) if isinstance(text, str) else tuple(text) for text in texts]
    columns = [list(column) for column in zip(*pairs, strict=True)]
    batch = tokenizer(*columns, truncation=True, max_length=max_length, padding=True, return_tensors="pt")
    unmerged = model.eval()(**batch).logits
    merge(model)
    try:
        merged = model(**batch).logits
    finally:
        unmerge(model)
    return float((merged - unmerged).abs().max())
