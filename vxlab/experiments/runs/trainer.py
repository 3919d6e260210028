"""transformers' Trainer, made to fit adapters: two learning rates, small checkpoints, an early end on divergence."""

import contextlib
import json
import math
import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from vxlab.adapters.core import Schedule
from vxlab.adapters.placement import attachment_of, head_parameters, hold_weights_rounded
from vxlab.adapters.saving import RESUME_FILE, trained_state
from vxlab.errors import VxlabError
from vxlab.experiments import ENDED_EARLY, RunSpec, processes
from vxlab.experiments.runs.listener import Listener, Stopped, tell
from vxlab.progress import progress_bar

_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
LOGS_PER_RUN = 50
EVAL_BATCH = 32
"""Texts evaluated at a time, at the least: without gradients a small batch saves no memory worth its time."""
SCHEDULE_FILE = "schedule.safetensors"
"""In a checkpoint: what a method that acts between steps remembers."""
Augment = Callable[[Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]]
"""A training batch to what the step sees of it."""
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
DIVERGED_FACTOR = 10.0
"""A loss this many times the first one logged, or 1 where that is larger, counts as diverged."""


class AdapterTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose checkpoints hold what no start reproduces, and whose head has its own learning rate."""

    def __init__(self, *args: Any, head_learning_rate: float, augment: Augment, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.head_learning_rate, self.augment = head_learning_rate, augment
        self.schedule = self.method_schedule()
        self.remove_callback(PrinterCallback)
        if self.args.gradient_accumulation_steps > 1:
            # It takes a model whose forward has **kwargs for one that divides its loss by all rows of a step, as BERT
            # does not: loss and gradients would be as many times too large as a step has parts.
            self.model_accepts_loss_kwargs = False
        if self.schedule is not None:
            self.add_callback(AfterStep(self.schedule))

    def method_schedule(self) -> Schedule | None:
        """Return what the model's method does between steps."""
        return attachment_of(self.model).method.schedule(self.model)

    def head(self) -> Iterable[str]:
        """Return the names of the task head's parameters."""
        return head_parameters(self.model)

    def facts(self) -> dict[str, Any]:
        """Return what a record keeps of how this trainer trained, beside what every trainer shows."""
        return {}

    def finishing(self) -> AbstractContextManager[object]:
        """Have the trained model in ``self.model`` as a run of its own leaves it, for the record."""
        return nullcontext()

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:  # type: ignore[has-type]
            rates = self.args.learning_rate, self.head_learning_rate
            groups = parameter_groups(self.model, *rates, self.args.weight_decay, self.head())
            self.optimizer = torch.optim.AdamW(groups, lr=self.args.learning_rate)
        return self.optimizer

    def compute_loss(self, model: nn.Module, inputs: Any, return_outputs: bool = False, **more: Any) -> Any:
        # Predictions are all that a model returns beside the loss: with BART's or T5's hidden states, a tuple.
        if not return_outputs:
            return super().compute_loss(model, inputs, **more)
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **more)
        return loss, {"loss": loss, "logits": outputs["logits"]}

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(model, self.augment(inputs), num_items_in_batch)
        return loss

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # nobody reads what it would estimate, from a walk over all parameters in every step

    def _get_eval_sampler(self, eval_dataset: Any) -> SequentialSampler | None:
        # Trainer would shuffle by length here too, by the run's seed, and hand predictions back in that order.
        return SequentialSampler(eval_dataset) if self.args.world_size <= 1 else None

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        # The frozen base would be written at every epoch otherwise. Trainer loads this file with strict=False.
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(trained_state(self.model), folder / RESUME_FILE, metadata={"format": "pt"})
        if self.schedule is not None:
            save_file(self.schedule.state(), folder / SCHEDULE_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.schedule is not None:
            self.schedule.restore(load_file(Path(resume_from_checkpoint) / SCHEDULE_FILE))

    def keep_the_best(self) -> None:
        """After a stop: validate what was trained since the last validation, and load the best of all."""
        validated = [row["step"] for row in self.state.log_history if "eval_loss" in row]
        if self.state.global_step not in validated and self._determine_best_metric(self.evaluate(), trial=None):
            return
        if self.state.best_model_checkpoint is not None:
            self._load_best_model()

    def keep_the_last(self) -> None:
        """Where a run ends as its spec asks: validate what it is now, and count that for the best of all."""
        if self.state.global_step not in [row["step"] for row in self.state.log_history if "eval_loss" in row]:
            self.evaluate()
        self.state.best_global_step = self.state.global_step

    def hold_weights_rounded(self) -> contextlib.AbstractContextManager[None]:
        """Spare autocast the rounding of frozen weights in every pass, where that takes no more memory."""
        dtype = _AUTOCAST.get(self.accelerator.mixed_precision)
        if dtype is None or self.args.activation_checkpointing or self.args.world_size > 1:
            return contextlib.nullcontext()
        rows = self.eval_dataset.remove_columns(["length", "row"])
        batch = self.data_collator([rows[i] for i in range(min(2, len(rows)))])
        return hold_weights_rounded(self.model, dtype, batch)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        trained = {name for name, p in self.model.named_parameters() if p.requires_grad}
        lost = trained.intersection(load_result.missing_keys) | set(load_result.unexpected_keys)
        if lost:
            raise VxlabError(f"the checkpoint does not fit the model: {', '.join(sorted(lost)[:3])}; delete its folder")


class AfterStep(TrainerCallback):  # type: ignore[misc]
    """Let a method act between the optimizer's step and the forgetting of its gradients."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.schedule.after_step(state.global_step + 1, state.max_steps)  # Trainer counts the step after this


class Watch(TrainerCallback):  # type: ignore[misc]
    """Show progress, time the steps, tell a listener, and end a run that diverged, is to stop, or has gone its share.

    Args:
        description: of the run.
        show: whether to show a bar.
        listener: told of all that comes.
        ends_after: the share of the steps after which the run ends.
        clock: the seconds that the run has had.
    """

    def __init__(
        self,
        description: str,
        show: bool,
        listener: Listener | None = None,
        *,
        ends_after: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.clock = clock
        self.description, self.show, self.listener, self.ends_after = description, show, listener, ends_after
        self.diverged = self.stopped = False
        self.step_times: list[float] = []
        self._first_loss: float | None = None
        self._last = 0
        self._bar = progress_bar(0, description, "step", shown=False)
        self._started = 0.0

    @property
    def status(self) -> str:
        """How the run ended."""
        if self.diverged or self.stopped:
            return "diverged" if self.diverged else "stopped"
        return "finished" if self.ends_after == 1 else ENDED_EARLY

    @property
    def step_seconds(self) -> float:
        """Median time of a step."""
        return statistics.median(self.step_times) if self.step_times else math.nan

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        losses = [row["loss"] for row in state.log_history if "loss" in row]
        self._first_loss = losses[0] if losses else None  # a run taken up again is measured by its own start
        shown = self.show and state.is_world_process_zero
        early = max(1, min(round(self.ends_after * state.max_steps), state.max_steps - 1))
        self._last = state.max_steps if self.ends_after == 1 else early
        self._bar = progress_bar(self._last, self.description, "step", shown=shown)
        self._bar.update(state.global_step)
        if self.listener is not None:
            self.listener.on_begin(state.global_step, self._last)
            for row in state.log_history:
                tell(self.listener, row)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step and self.listener is not None and self.listener.stop_asked():
            self.stopped = True
            raise Stopped  # Trainer's own way to stop drops all checkpoints but the best, and we go on from the last
        if state.global_step >= self._last:
            raise Stopped
        self._started = self.clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step_times.append(self.clock() - self._started)
        self._bar.update()
        if self.listener is not None:
            self.listener.on_step(state.global_step)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # A checkpoint forgets the losses since the last row of the log: with none left, resuming changes no row.
        control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if self.listener is not None:
            tell(self.listener, state.log_history[-1])
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        if self._first_loss is None:
            self._first_loss = loss
        if not math.isfinite(loss) or loss > DIVERGED_FACTOR * max(self._first_loss, 1.0):
            self.diverged = control.should_training_stop = True
        self._bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)

    def close(self) -> None:
        """Leave the bar as it is, however the run ended."""
        self._bar.close()


def parameter_groups(
    model: nn.Module,
    learning_rate: float,
    head_learning_rate: float,
    weight_decay: float,
    head: Iterable[str] | None = None,
) -> list[dict[str, Any]]:
    """Return AdamW's groups: backbone and head with their own rates, decay on matrices only."""
    head = set(head_parameters(model) if head is None else head)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = head_learning_rate if name in head else learning_rate
            groups.setdefault((rate, weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]


def training_arguments(
    spec: RunSpec, folder: Path, device: str, precision: str, metric: str, rows: int, alike: bool = False
) -> TrainingArguments:
    """Return transformers' arguments for a run: evaluate and keep a checkpoint each epoch, the best at the end.

    Rows of unlike lengths share a batch with those of similar ones; rows are ``alike`` where they are images.
    """
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=spec.epochs,
        per_device_train_batch_size=spec.batch_size // spec.gradient_accumulation // processes(),
        gradient_accumulation_steps=spec.gradient_accumulation,
        per_device_eval_batch_size=max(2 * spec.batch_size, EVAL_BATCH),
        learning_rate=spec.learning_rate,
        weight_decay=spec.weight_decay,
        lr_scheduler_type=_SCHEDULES[spec.schedule],
        warmup_steps=spec.warmup,
        seed=spec.seed,
        use_cpu=device == "cpu",
        bf16=precision == "bfloat16",
        fp16=precision == "float16",
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model=metric,
        greater_is_better=True,
        logging_nan_inf_filter=False,
        average_tokens_across_devices=False,  # it takes the loss for a sum: a mean is multiplied by the processes
        train_sampling_strategy="random" if alike else "group_by_length",
        length_column_name="length",
        dataloader_pin_memory=device == "cuda",
        report_to="none",
        disable_tqdm=True,
        **({"activation_checkpointing": True} if spec.gradient_checkpointing else {}),
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # a batch is of one process: Trainer would spread it over all GPUs, N times as large
    steps = spec.epochs * math.ceil(rows / spec.batch_size)
    arguments.logging_steps = max(1, steps // LOGS_PER_RUN)
    return arguments


def usable_checkpoint(folder: Path) -> str | None:
    """Return the last complete checkpoint in a folder; one that a kill cut short, or that was moved, is removed."""
    while folder.is_dir() and (last := get_last_checkpoint(str(folder))) is not None:
        if _is_whole(Path(last)):
            return str(last)
        shutil.rmtree(last)
    return None


def _is_whole(checkpoint: Path) -> bool:
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))  # Trainer writes it last
        best = state["best_model_checkpoint"]
    except (OSError, ValueError, TypeError, KeyError):
        return False
    # Where the best checkpoint is not found, Trainer would go on and silently keep the last one.
    return best is None or (Path(best).is_dir() and Path(best).parent == checkpoint.parent)
