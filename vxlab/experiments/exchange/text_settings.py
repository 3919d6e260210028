"""What a merged model reads and writes by: its base's tokenizer and generation settings, and its run's template."""

from hashlib import sha256
from typing import Any

from vxlab.adapters.placement import bare
from vxlab.errors import VxlabError
from vxlab.experiments.exchange.source import Source
from vxlab.experiments.models import load_tokenizer, require_embedding, saved_generation
from vxlab.experiments.tasks.kinds import OWN_TEMPLATE, read_template


def served_tokenizer(source: Source) -> Any:
    """Return the base's tokenizer, with the chat template that the run's prompts were written by.

    Raises:
        VxlabError: the base is not known, its tokenizer knows more tokens than the model, or the template's file is
            gone or altered since.
    """
    if not source.base:
        raise VxlabError(
            "the model does not say where it comes from, so its tokenizer is not known; name it with base=..."
        )
    tokenizer = load_tokenizer(source.base)
    if source.folder is None:  # a model in memory, of which somebody said what its base is
        require_embedding(source.base, bare(source.model), tokenizer, len(tokenizer) - 1)
    record = source.record
    name = record.spec.get("chat_template") if record else None
    if record is None or name is None or name == OWN_TEMPLATE:
        return tokenizer
    template = read_template(name, tokenizer) or ""
    if record.identity.get("chat_template") != sha256(template.encode()).hexdigest():
        raise VxlabError(f"chat_template={name!r} is another than the run was trained with; put that file back")
    tokenizer.chat_template = template
    return tokenizer


def served_generation(base: str, plain: Any) -> Any:
    """Return how the base's own files say to write, where transformers takes that for valid, else what is given.

    Args:
        base: the base's name.
        plain: how :func:`vxlab.load_model` has a model write: its padding, and the token that ends an answer.
    """
    own = saved_generation(base)
    own.pad_token_id = plain.pad_token_id
    told = own.eos_token_id
    ends = [] if told is None else list(told) if isinstance(told, list | tuple) else [told]
    if plain.eos_token_id is not None and plain.eos_token_id not in ends:  # by which runs end their answers
        own.eos_token_id = [*ends, plain.eos_token_id] if ends else plain.eos_token_id
    try:
        own.validate(strict=True)
    except ValueError:
        return plain
    return own
