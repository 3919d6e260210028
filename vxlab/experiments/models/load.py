"""Pretrained models by packaged name, hub id or folder."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from vxlab.adapters.placement import head_parameters
from vxlab.checks import settle
from vxlab.errors import VxlabError
from vxlab.experiments.models.files import (
    ModelPlace,
    config_reads_images,
    explain_load_error,
    find_model,
    quiet_transformers,
    read_config,
)
from vxlab.experiments.models.images import check_images, prepare_images, read_at_any_size
from vxlab.experiments.models.padding import check_padding
from vxlab.experiments.models.quantised import (
    check_quantisation,
    check_saved_quantisation,
    quantisation_config,
    saved_method,
    settle_quantised,
)
from vxlab.experiments.models.writing import check_writing
from vxlab.experiments.tasks.kinds import Kind, kind_of


def load_model(name: str, num_labels: int, quantisation: str | None = None) -> nn.Module:
    """Load a pretrained model to classify texts or images, for regression with one label, or to write, in float32.

    Where it is quantised, all linear layers of the backbone are (a language model's output layer and a head are not),
    and the rest stays in float32.

    The head of a classifier is new, with initial values from torch's global generator, unless the model brings one of
    just this shape. So is a pooler that the weights lack; it counts as part of the head. A model that writes is a
    causal language model with its own output layer, and nothing is new. Whatever the config says of padding, of the
    loss, of what is returned and of how to write, the model pads as its tokenizer does, takes the loss of the task,
    returns logits and writes as it is asked to.

    Args:
        name: a packaged model (``minilm``, ``mpnet``, ``smollm2``), a hub id (``org/name``), or a folder with
            config.json, safetensors weights and a tokenizer.
        num_labels: number of classes; 1 means regression, 0 a model that writes.
        quantisation: ``nf4``, ``int8`` or ``torchao-int8`` (:data:`vxlab.experiments.models.QUANTISATIONS`); None
            leaves the weights as the files have them, in floating point or saved quantised.

    Returns:
        A transformers model on the CPU, in evaluation mode.

    Raises:
        VxlabError: the name is neither of these, the folder lacks a file or some of the pretrained weights, an adapter
            lies beside them, the model cannot read what its tokenizer writes, is to write and sees the tokens ahead, or
            is quantised in a way that is not known here or whose library is not installed. Pickled weights and code
            that comes with a model are refused.

    Warns:
        UserWarning: a text's logits depend on how far it is padded.
    """
    name, num_labels = settle("model", name, str), settle("num_labels", num_labels, int)
    if num_labels < 0:
        raise VxlabError(
            f"num_labels={num_labels} is not a number of classes; choose 2 or more, 1 for regression, or 0 for a model "
            "that writes"
        )
    check_quantisation(quantisation)
    place = find_model(name)
    kind = kind_of_model(read_config(name, place), num_labels)
    reads_images = kind.reads == "images"
    tokenizer = None if reads_images else load_tokenizer(name)
    model, drawn = _from_pretrained(name, place, num_labels, quantisation)
    _require_backbone(name, model, drawn, num_labels)
    settle_quantised(name, model, quantisation)
    model.vxlab_drawn = drawn  # type: ignore[assignment]
    _settle_config(model, tokenizer, num_labels)
    if reads_images:
        read_at_any_size(model)
        check_images(name, model, prepare_images(name))
    elif kind.trains_head:
        check_padding(name, model, tokenizer)
    else:
        check_writing(name, model, tokenizer)
    return model


def kind_of_model(config: Any, num_labels: int) -> Kind:
    """Return the kind of task that a model is loaded for.

    Args:
        config: the model's.
        num_labels: as :func:`load_model` takes it.
    """
    return kind_of(num_labels, images=config_reads_images(config))


def usual_labels(name: str) -> int:
    """Return with how many labels to load a checkpoint whose task is not known: 0 of a causal language model, else 2.

    Args:
        name: as :func:`load_model` takes it.

    Raises:
        VxlabError: as :func:`load_model`.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    saved = read_config(name, find_model(name)).architectures or []
    return 0 if set(saved) & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()) else 2


def copy_with_new_head(model: nn.Module) -> nn.Module:
    """Return a copy of what :func:`load_model` returned, its head drawn anew from torch's global generator.

    The same seed gives the same values as loading again does, at the cost of a copy in memory.
    """
    fresh: Any = copy.deepcopy(model)
    drawn: frozenset[str] = fresh.vxlab_drawn
    # As after loading: transformers asks every module to draw, which passes over the tensors that are marked.
    for module in fresh.modules():
        module._is_hf_initialized = False
    for name, tensor in fresh.state_dict(keep_vars=True).items():
        tensor._is_hf_initialized = name not in drawn
    fresh.initialize_weights()
    return fresh  # type: ignore[no-any-return]


def name_labels(model: nn.Module, names: Sequence[str]) -> nn.Module:
    """Write a task's class names, in the order of their ids, into a model's config; of a regression there are none."""
    if names:
        config: Any = model.config
        config.id2label = dict(enumerate(names))
        config.label2id = {name: number for number, name in enumerate(names)}
    return model


def load_tokenizer(name: str) -> Any:
    """Load a model's tokenizer; where it has no padding token, the end-of-text token pads.

    Raises:
        VxlabError: as :func:`load_model`, or it has neither of these tokens.
    """
    from transformers import AutoTokenizer

    place = find_model(name)
    with quiet_transformers(), explain_load_error(name):
        tokenizer = AutoTokenizer.from_pretrained(place.path, revision=place.commit, trust_remote_code=False)
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise VxlabError(
                f"model={name!r}: its tokenizer has no padding token, and no end-of-text token to pad with; "
                "name one of its tokens as pad_token in tokenizer_config.json"
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def loading_of(name: str, num_labels: int) -> str:
    """Return what :func:`load_model` does otherwise than the model's files say, for the run's key; mostly nothing.

    No weights are read.

    Raises:
        VxlabError: as :func:`load_model`.
    """
    place = find_model(name)
    saved = read_config(name, place)
    with torch.random.fork_rng(devices=[]):  # some draw while they are built
        model, drawn = _from_pretrained(name, place, num_labels, device_map="meta")
    if not kind_of(num_labels).trains_head:
        _require_backbone(name, model, drawn, num_labels)  # before its tokenizer is asked for what an encoder's lacks
    told = [] if kind_of_model(saved, num_labels).reads == "images" else _other_padding(name, saved)
    if num_labels and saved.problem_type is not None and saved.problem_type != _problem_type(num_labels):
        told.append(_problem_type(num_labels))
    if pooler := sorted(drawn - head_parameters(model).keys()):
        told.append(f"new {' '.join(pooler)}")
    return ", ".join(told)


def _other_padding(name: str, saved: Any) -> list[str]:
    """Say by which token a model pads, where its config names another."""
    padding, pads = saved.get_text_config().pad_token_id, load_tokenizer(name).pad_token_id
    return [f"padding {pads}"] if padding is not None and padding != pads else []


def _from_pretrained(
    name: str, place: ModelPlace, num_labels: int, quantisation: str | None = None, **more: Any
) -> tuple[nn.Module, frozenset[str]]:
    """Return a model, and the parameters that its weights lack or have in another shape: these were drawn."""
    import transformers

    config = read_config(name, place)
    kind = kind_of_model(config, num_labels)
    check_saved_quantisation(name, config, quantisation)
    if quantisation is not None:
        with torch.random.fork_rng(devices=[]):  # some draw while they are built
            shapes, _ = _from_pretrained(name, place, num_labels, device_map="meta")
        more["quantization_config"] = quantisation_config(quantisation, shapes)
    if saved_method(config) is not None or quantisation is not None:
        more.setdefault("device_map", {"": "cpu"})  # else a GPU's, where there is one, and its kernels would quantise
    if kind.trains_head:
        ask_for_labels(config, num_labels)
        config.problem_type = _problem_type(num_labels)
    with quiet_transformers(), explain_load_error(name):
        model, loaded = getattr(transformers, kind.auto_class).from_pretrained(
            place.path,
            revision=place.commit,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **more,
        )
    if getattr(model, "_hf_peft_config_loaded", False):
        raise VxlabError(f"model={name!r} is an adapter on another model, not a base; name the base itself")
    return model, frozenset(loaded["missing_keys"]) | {key for key, *_ in loaded["mismatched_keys"]}


def ask_for_labels(config: Any, num_labels: int) -> None:
    """Say in a config how many labels its model is to have, and that it is one that trains.

    A distilled DeiT is saved as ``DeiTForImageClassificationWithTeacher``, which takes no labels: it is loaded as the
    one without a teacher's head.
    """
    config.num_labels = num_labels
    if config.architectures:
        config.architectures = [name.removesuffix("WithTeacher") for name in config.architectures]


def _require_backbone(name: str, model: nn.Module, drawn: frozenset[str], num_labels: int) -> None:
    """Refuse a backbone that transformers filled with random values; a new head and pooler are no surprise."""
    absent = drawn & (dict(model.named_parameters()).keys() - head_parameters(model).keys())
    lost = sorted(key for key in absent if "pooler" not in key.split("."))
    if lost and not kind_of(num_labels).trains_head and not getattr(model.config, "is_decoder", True):
        raise VxlabError(
            f"model={name!r} cannot write: {type(model).__name__} has an output layer that its weights lack "
            f"({lost[0]!r} and {len(lost) - 1} more); name a causal language model, or give num_labels to classify "
            "with it"
        )
    if lost:
        raise VxlabError(
            f"model={name!r}: its weights lack {lost[0]!r} (and {len(lost) - 1} more) or have them in another shape; "
            "name a model whose weights and config.json belong together"
        )


def _settle_config(model: nn.Module, tokenizer: Any | None, num_labels: int) -> None:
    """Let no setting that was saved for another use decide the numbers."""
    for config in _configs(model):
        if tokenizer is not None:
            config.pad_token_id = tokenizer.pad_token_id
        if num_labels:
            config.problem_type = _problem_type(num_labels)
        config.output_hidden_states = config.output_attentions = False
        config.return_dict = True


def _problem_type(num_labels: int) -> str:
    return "regression" if num_labels == 1 else "single_label_classification"


def _configs(model: nn.Module) -> Iterator[Any]:
    """Yield every config of a model and its parts once: some read their parent's, some a copy."""
    found: dict[int, Any] = {}
    waiting: list[Any] = [module.config for module in model.modules() if hasattr(module, "config")]
    while waiting:
        config = waiting.pop()
        if id(config) not in found and hasattr(config, "sub_configs"):
            found[id(config)] = config
            waiting += [getattr(config, name, None) for name in config.sub_configs]
    yield from found.values()
