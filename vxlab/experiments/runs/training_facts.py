"""How a run was trained, read from the live Trainer, its optimizer and the model, and not from what they were told."""

from typing import Any

from torch import nn
from transformers import Trainer

from vxlab.adapters import adapted_layers


def describe_training(trainer: Trainer) -> dict[str, Any]:
    """Return optimizer, schedule, clipping, dropout, batches and dtypes as plain JSON values.

    ``optimizer``, ``betas``, ``eps``; ``weight_decay`` of ``matrices`` and of ``vectors`` (what has one dimension), the
    values in force; ``schedule``, ``warmup_steps``, ``total_steps``; ``clipping``, the largest norm of the gradient of
    all trained parameters together, None for none; ``dropout`` of the ``model`` by the names in its config, of its
    ``modules``, and of the ``adapter``; ``batches``, how they are drawn; ``autocast``, ``weights`` and ``trained``: the
    dtypes of products, of frozen weights and of trained parameters.

    Args:
        trainer: that has trained.
    """
    arguments, steps = trainer.args, trainer.state.max_steps
    return {
        **_optimizer(trainer),
        "schedule": str(getattr(arguments.lr_scheduler_type, "value", arguments.lr_scheduler_type)),
        "warmup_steps": int(arguments.get_warmup_steps(steps)),
        "total_steps": int(steps),
        "clipping": float(arguments.max_grad_norm) if arguments.max_grad_norm > 0 else None,
        "dropout": _dropout(trainer.model),
        "batches": str(arguments.train_sampling_strategy),
        "autocast": _AUTOCAST.get(trainer.accelerator.mixed_precision, trainer.accelerator.mixed_precision),
        "weights": _dtypes(trainer.model, trained=False),
        "trained": _dtypes(trainer.model, trained=True),
    }


_AUTOCAST = {"no": "", "bf16": "bfloat16", "fp16": "float16"}


def _optimizer(trainer: Trainer) -> dict[str, Any]:
    outer: Any = trainer.optimizer
    optimizer = getattr(outer, "optimizer", outer)  # accelerate's wrapper keeps it there
    groups = optimizer.param_groups
    decays: dict[str, set[float]] = {"matrices": set(), "vectors": set()}
    for group in groups:
        for parameter in group["params"]:
            decays["matrices" if parameter.ndim > 1 else "vectors"].add(float(group["weight_decay"]))
    return {
        "optimizer": type(optimizer).__name__,
        "betas": [float(beta) for beta in groups[0]["betas"]],
        "eps": float(groups[0]["eps"]),
        "weight_decay": {kind: sorted(values) for kind, values in decays.items()},
    }


def _dropout(model: nn.Module) -> dict[str, Any]:
    config = getattr(model, "config", None)
    told = config.to_dict() if config is not None else {}
    return {
        "model": {name: value for name, value in sorted(told.items()) if "dropout" in name and _is_share(value)},
        "modules": sorted({float(each.p) for each in model.modules() if isinstance(each, nn.Dropout)}),
        "adapter": sorted({layer.family.dropout_probability for layer in adapted_layers(model).values()}),
    }


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _dtypes(model: nn.Module, *, trained: bool) -> list[str]:
    own = (parameter for parameter in model.parameters() if parameter.requires_grad is trained)
    return sorted({str(parameter.dtype).removeprefix("torch.") for parameter in own})
