"""What a run is: everything that decides its numbers, and a key made of it."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

from vxlab.adapters import Head, Method
from vxlab.adapters.core import require_method
from vxlab.checks import quote, require_choice, settle_fields
from vxlab.errors import VxlabError
from vxlab.experiments.hardware import DEVICES, PRECISIONS
from vxlab.experiments.models import QUANTISATIONS
from vxlab.experiments.tasks import KINDS
from vxlab.warn import looking_ahead

if TYPE_CHECKING:
    import datasets

    from vxlab.experiments.tasks import Task
    from vxlab.experiments.tasks.kinds import Form

_WHERE = ("device", "task_folder")
"""Fields that say where a run happens and not what it computes: not in the key."""
TASK_FIELDS = (
    "task", "task_folder", "text_columns", "label_column", "group_column", "label_kind", "train_examples",
    "eval_examples", "prompt_template", "answer_column", "shots", "draw", "image_column", "skip_unreadable",
)  # fmt: skip
"""Fields that say which rows a run sees."""
_OF_TRAINING = (
    "learning_rate", "head_learning_rate", "targets", "epochs", "batch_size", "warmup", "weight_decay", "seed",
    "schedule", "gradient_accumulation", "gradient_checkpointing", "label_smoothing", "packing", "ends_after",
    "augmentation",
)  # fmt: skip
"""Fields that enter where there are gradient steps, and nowhere else."""
OF_DECODING = ("max_new_tokens", "num_beams", "length_penalty", "no_repeat_ngram_size")
"""Fields that enter where the model writes, and nowhere else."""
OF_WRITING = (
    "prompt_template", "answer_column", "chat_template", *OF_DECODING, "label_smoothing", "packing",
)  # fmt: skip
"""Fields that enter where the model writes or chooses among answers, and nowhere else."""
OF_IMAGES = ("resolution", "augmentation", "image_column", "skip_unreadable")
"""Fields that enter where the model reads images, and nowhere else."""
_LATER = (
    "quantisation", "label_kind", "schedule", "gradient_accumulation", "gradient_checkpointing", *OF_WRITING,
    "ends_after", "shots", "draw", *OF_IMAGES,
)  # fmt: skip
"""Fields that a run's settings have only where they are not the default: runs of before had none."""
SCHEDULES = ("linear", "cosine", "constant")
AUGMENTATIONS = ("none", "flip-crop")
_MOST = 2**31 - 1
"""Of examples, tokens and epochs: what the libraries below count in."""


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One fine-tuning run.

    >>> import vxlab
    >>> spec = RunSpec(method=vxlab.VeRA(rank=64), learning_rate=2e-2, head_learning_rate=5e-3)
    >>> spec.settings()["method"]["name"], spec.settings()["method"]["rank"]
    ('vera', 64)
    """

    method: Method
    """an adapter family's settings, ``PEFT(...)``, ``BitFit()``, ``Head()``, ``Full()``, ``Probe()`` or ``Base()``.

    With the last two, nothing enters that belongs to gradient steps (rates, epochs, batch_size, warmup, weight_decay,
    seed) or to targets: these fields take their defaults, and None in the settings.
    """
    learning_rate: float = 0.0
    """of the adapter, or of the backbone under ``Full()``; AdamW's peak, above 0; ``Probe()``, ``Base()``: none"""
    head_learning_rate: float = 0.0
    """of the task head, above 0 where there is one; a model that writes has none, nor has ``Probe()``"""
    model: str = "minilm"
    """packaged name, hub id or folder"""
    quantisation: str | None = None
    """of the backbone's linear layers when the model is loaded: ``nf4``, ``int8`` or ``torchao-int8``; None leaves the
    weights as the files have them"""
    task: str = "rotten_tomatoes"
    """packaged name, GLUE's name for a task, hub id, or a file or folder of data"""
    targets: str | tuple[str, ...] = "query-value"
    """the adapted layers, as :func:`vxlab.attach` takes them"""
    epochs: int = 2
    """passes over the training split, 1 or more"""
    batch_size: int = 32
    """training examples a step, 1 or more; divided among the processes where torchrun starts several, whose number is
    then in the run's key: the steps are as many, but rounding and dropout differ"""
    max_length: int = 128
    """tokens; longer texts are cut"""
    warmup: float = 0.06
    """share of the steps in which the rate rises from 0, before it follows its schedule; 0 to below 1"""
    weight_decay: float = 0.0
    """AdamW's, on matrices only"""
    schedule: str = "linear"
    """of the learning rate after warming up: ``linear`` or ``cosine``, down to 0, or ``constant``"""
    ends_after: float = 1.0
    """share of the steps after which the run ends, as it would stand there: its schedule is that of all the steps.
    Below 1 it is validated where it ends and never tested: such a run helps to choose a learning rate, and no more"""
    gradient_accumulation: int = 1
    """parts of equal size that a step's batch is worked through in, to save memory; divides ``batch_size``. Which texts
    share a batch, of those of similar lengths, depends on the parts' size"""
    gradient_checkpointing: bool = False
    """whether activations are computed again in the backward pass, to save memory"""
    train_examples: int | None = None
    """a seeded, stratified sample of the training split; None takes all"""
    eval_examples: int | None = None
    """a seeded, stratified sample of the validation and of each test split; None, or more than there are, takes all"""
    shots: int | None = None
    """training examples of each class, drawn by ``draw``, instead of ``train_examples``; None takes all"""
    draw: int = 0
    """the seed by which the ``shots`` are drawn, and nothing else: which examples a few-shot run learns from is its
    largest luck. Fewer shots of one draw are part of more"""
    seed: int = 0
    """of the head's and the adapter's start, the order of batches and dropout; not of the splits"""
    text_columns: tuple[str, ...] = ()
    """of a task of your own: one or two columns; () finds them by their usual names"""
    label_column: str | None = None
    """of a task of your own; None means ``label``"""
    group_column: str | None = None
    """of a task of your own: rows of one group stay in one split"""
    label_kind: str | None = None
    """of a task of your own: ``classes``, or ``numbers`` (a regression); None tells it from the labels"""
    answer_column: str | None = None
    """of a task of your own in which the model writes: the column with the answers"""
    prompt_template: str | None = None
    """where the model writes: the prompt, with each ``{column}`` of the data in its place; None takes the task's own"""
    chat_template: str | None = None
    """of prompts: ``tokenizer`` writes them by the tokenizer's chat template, a path by the template in that file"""
    max_new_tokens: int = 64
    """that the model writes at most to each test prompt; 0 writes nothing, and scores by the log-likelihood alone"""
    num_beams: int = 1
    """1 takes the likeliest token each time (greedy); more is beam search"""
    length_penalty: float = 1.0
    """of beam search: a sequence's score is the sum of its log-probabilities over its length to this power"""
    no_repeat_ngram_size: int = 0
    """n-grams of this size occur once at most in what is written; 0 allows all"""
    label_smoothing: float = 0.0
    """of the loss on answers; 0 to below 1"""
    packing: bool = False
    """whether a batch's rows stand one after the other in one row, instead of being padded: the same loss"""
    resolution: int | None = None
    """pixels of a side of the square that a model of images reads; None takes the model's own"""
    augmentation: str = "none"
    """of training images: ``none``, or ``flip-crop``, which moves them by up to an eighth and mirrors half of them"""
    image_column: str | None = None
    """of a task of your own in Parquet or on the hub: the column with the images; None finds it"""
    skip_unreadable: bool = False
    """whether images that cannot be read are left out, and told of, instead of refused"""
    task_folder: str | None = None
    """where a GLUE task's files are (None: ``VXLAB_GLUE``, else the hub), or data of your own that ``task`` names"""
    device: str = "auto"
    """``auto``, ``cuda``, ``mps`` or ``cpu``"""
    precision: str = "auto"
    """``auto`` (bfloat16 on GPUs that have it, else float32), ``float32``, ``bfloat16`` or ``float16``"""

    def __post_init__(self) -> None:
        require_method(self.method)
        _require_plain(self.method)
        for each in dataclasses.fields(self):
            if each.name in _OF_TRAINING and not self.method.by_gradient:
                object.__setattr__(self, each.name, each.default)
        settle_fields(self)
        for name in ("epochs", "batch_size", "max_length", "train_examples", "eval_examples", "gradient_accumulation",
                     "num_beams", "shots", "resolution"):  # fmt: skip
            if (value := getattr(self, name)) is not None and not 1 <= value <= _MOST:
                few = "not a positive whole number; choose 1 or more" if value < 1 else f"above {_MOST:,}"
                raise VxlabError(f"{name}={quote(value)} is {few}")
        if self.learning_rate <= 0 and self.method.by_gradient:
            raise VxlabError(f"learning_rate={self.learning_rate!r} is not a positive number; try 1e-3")
        if self.head_learning_rate < 0:
            raise VxlabError(f"head_learning_rate={self.head_learning_rate!r} is not a positive number; try 1e-3")
        for name in ("max_new_tokens", "no_repeat_ngram_size"):
            if not 0 <= (value := getattr(self, name)) <= _MOST:
                raise VxlabError(f"{name}={quote(value)} is not a whole number of 0 or more")
        if self.batch_size % self.gradient_accumulation:
            raise VxlabError(
                f"gradient_accumulation={self.gradient_accumulation} does not divide batch_size={self.batch_size}"
            )
        if not 0 <= self.label_smoothing < 1:
            raise VxlabError(f"label_smoothing={self.label_smoothing!r} is not a share; choose 0 to below 1")
        if not 0 <= self.warmup < 1:
            raise VxlabError(f"warmup={self.warmup!r} is not a share of the steps; choose 0 to below 1")
        if not 0 < self.ends_after <= 1:
            raise VxlabError(f"ends_after={self.ends_after!r} is not a share of the steps; choose above 0, to 1")
        if self.weight_decay < 0:
            raise VxlabError(f"weight_decay={self.weight_decay!r} is not a number of 0 or more; try 0 or 0.01")
        for name in ("seed", "draw"):
            if not 0 <= (value := getattr(self, name)) < 2**32:
                raise VxlabError(f"{name}={quote(value)} is not a whole number from 0 to 2**32 - 1")
        if self.draw and self.shots is None:
            raise VxlabError(f"draw={self.draw} is the seed by which shots are drawn, and shots is None; name shots")
        if self.shots is not None and self.train_examples is not None:
            raise VxlabError(
                f"shots={self.shots} and train_examples={self.train_examples} both say how many rows are trained on; "
                "leave one out"
            )
        for name, choices in (("device", DEVICES), ("precision", PRECISIONS), ("label_kind", (None, *KINDS)),
                              ("schedule", SCHEDULES), ("quantisation", (None, *QUANTISATIONS)),
                              ("augmentation", AUGMENTATIONS)):  # fmt: skip
            require_choice(name, getattr(self, name), choices)
        for name in ("model", "task", "label_column", "group_column", "task_folder", "answer_column", "chat_template",
                     "prompt_template", "image_column"):  # fmt: skip
            if (text := getattr(self, name)) is not None and (not text.strip() or "\0" in text):
                raise VxlabError(f"{name}={text!r} names nothing; leave it out, or write a name")
        if not self.targets:
            raise VxlabError(f"targets={self.targets!r} names no layer; try 'query-value' or 'all-linear'")

    def settings(self) -> dict[str, Any]:
        """Return every field as plain JSON values, None for what does not enter with the method.

        Fields that came later are there only where they are not the default: runs of before had none.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["method"] = {"name": self.method.name, **self.method.settings()}
        fields["targets"] = self.targets if isinstance(self.targets, str) else list(self.targets)
        fields["text_columns"] = list(self.text_columns)
        usual = {name for name in _LATER if getattr(self, name) == _default(name)}
        if not self.method.by_gradient:
            fields |= {name: None for name in _OF_TRAINING if name != "seed"}
        return {name: value for name, value in fields.items() if name not in usual}

    def load_task(self) -> "Task":
        """Load the task with this spec's columns and numbers of examples: the very rows that a run sees."""
        from vxlab.experiments.tasks import load_task

        task = load_task(
            self.task,
            folder=self.task_folder,
            text_columns=self.text_columns,
            label_column=self.label_column,
            group_column=self.group_column,
            label_kind=self.label_kind,
            prompt_template=self.prompt_template,
            answer_column=self.answer_column,
            train_examples=self.train_examples,
            shots=self.shots,
            draw=self.draw,
            image_column=self.image_column,
            skip_unreadable=self.skip_unreadable,
        )
        if not self.max_new_tokens:
            task = dataclasses.replace(task, metrics=task.kind.scored_unwritten(task.metrics))
        if self.eval_examples is None:
            return task
        splits = {
            name: rows if name == "train" else _sampled(task, rows, self.eval_examples)
            for name, rows in task.splits.items()
        }
        return dataclasses.replace(task, splits=splits)

    @property
    def form(self) -> "Form":
        """How its rows are written for a model."""
        from vxlab.experiments.tasks.kinds import Form

        return Form(self.max_length, self.chat_template, self.packing, self.resolution, self.augmentation)

    def key(self, **resolved: str) -> str:
        """Return the sha256 of all that decides the numbers.

        Args:
            resolved: what the fields stand for here: fingerprints of model and data, the precision in force. Device
                and folders are not part of the key.
        """
        return run_key(self.settings(), resolved)


def run_key(settings: Mapping[str, Any], identity: Mapping[str, str]) -> str:
    """Return the key that :meth:`RunSpec.key` gives a run, from what a store keeps of it.

    Args:
        settings: of the spec.
        identity: what the key holds beside them: what their names stood for.
    """
    fields = {name: value for name, value in settings.items() if name not in _WHERE} | dict(identity)
    text = json.dumps(_canonical(fields), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def find_task(fields: Mapping[str, Any]) -> "Task | None":
    """Load a task by those fields of a spec that say which rows a run sees, saying nothing of them; None where not.

    Args:
        fields: by name, of :data:`TASK_FIELDS`.
    """
    try:
        with looking_ahead():
            return RunSpec(method=Head(), learning_rate=1.0, head_learning_rate=1.0, **fields).load_task()
    except VxlabError:
        return None


def settings_key(settings: dict[str, Any]) -> str:
    """Return the sha256 of a spec's settings alone, whatever their names stand for and wherever they run."""
    fields = {name: value for name, value in settings.items() if name not in _WHERE}
    return hashlib.sha256(json.dumps(_canonical(fields), sort_keys=True).encode()).hexdigest()


def _require_plain(method: Method) -> None:
    """Raise where a method of one's own has settings that no key, table or file could hold."""
    try:
        hash(method)
        json.dumps(_canonical(method.settings()))
    except (TypeError, ValueError) as error:
        raise VxlabError(
            f"method={quote(method)} has a setting that is neither a number, a text, a bool, None nor a tuple of these "
            f"({error})"
        ) from error


def _default(name: str) -> Any:
    return next(each.default for each in dataclasses.fields(RunSpec) if each.name == name)


def _sampled(task: "Task", rows: "datasets.Dataset", size: int) -> "datasets.Dataset":
    """Draw evaluation rows, kept in their own order."""
    from vxlab.experiments.tasks import sample

    return rows if size >= len(rows) else rows.select(sample(task.kind.strata(rows[:]), size, seed=0))


def _canonical(value: Any) -> Any:
    """Make 8, 8.0 and NumPy's 8 one value; forget a fraction's digits beyond the twelfth, and none of an integer's."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    number = float(f"{float(value):.12g}")
    return int(number) if number.is_integer() else number
