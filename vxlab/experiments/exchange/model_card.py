"""The model card of an exported folder: its base, method, training and scores, and how it is loaded."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from vxlab._version import __version__
from vxlab.adapters import Family
from vxlab.adapters.placement import bare
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, family_name, has_ranks_by_layer, method_label
from vxlab.experiments.candidates import score_in_words, score_table
from vxlab.experiments.exchange.bases import BaseName
from vxlab.experiments.exchange.load_code import write_load_code
from vxlab.experiments.exchange.merged_folder import MergeLoss
from vxlab.experiments.exchange.source import Source, reads_pixels
from vxlab.experiments.provenance import run_facts
from vxlab.experiments.scoring import in_words
from vxlab.experiments.tasks.kinds import recorded_kind
from vxlab.paths import without_folders
from vxlab.redact import redact
from vxlab.words import list_in_words, number_of, percent

_NOT_OF_TRAINING = {"runs", "model", "processor", "threads of a run", "memory of the machine", "operating system"}
"""Facts of a run that stand elsewhere in the card, or are of the machine alone."""
_WRITTEN_AS = {
    "peft": "an adapter in PEFT's own format",
    "lora": "an adapter written as a plain LoRA",
    "merged": "a whole model with the update in its weights",
    "vxlab": "an adapter in vxlab's own two files",
}


def write_card(source: Source, base: BaseName, format: str, folder: str, loss: MergeLoss | None) -> str:
    """Return the card as Markdown with the model hub's front matter.

    No path of this machine, no password and no token is in it.

    Args:
        source: what was exported.
        base: its base as it may be published.
        format: as :func:`vxlab.export_adapter` takes it.
        folder: the exported folder's name.
        loss: what merging lost, of a merged model.
    """
    method, record = source.method, source.record
    label = method_label(method)
    parts = [
        f"# {label} on {base.name or 'a base model'}",
        f"This is {_WRITTEN_AS[format]}: **{label}**{_trained_on(record)}, exported by vxlab {__version__}.",
        "## How to load it",
        write_load_code(source, base, format, folder),
        "## Base",
        _describe_base(source, base, format) + _describe_quantisation(source, format),
        "## Method",
        _describe_method(source),
        *([_describe_loss(loss)] if loss else []),
        *(_describe_run(record) if record else ["## Training", "Not recorded here: it was exported without its run."]),
    ]
    return redact(_front_matter(source, base, format) + "\n\n".join(parts) + "\n")


def _front_matter(source: Source, base: BaseName, format: str) -> str:
    """Return the YAML that the hub reads; no licence, which is for whoever publishes to choose."""
    trained = source.method.name.removeprefix("peft:").replace("_", "-")
    library = {"merged": "transformers", "vxlab": "vxlab"}.get(format, "peft")
    fields = {
        **({"base_model": base.hub_id} if base.hub_id else {}),
        **({"base_model_relation": "finetune" if format == "merged" else "adapter"} if base.hub_id else {}),
        "library_name": library,
        **({"pipeline_tag": _pipeline(source.record)} if source.record else {}),
        "tags": list(dict.fromkeys(["vxlab", trained, *(["lora"] if format == "lora" else [])])),
    }
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n\n"


def _pipeline(record: RunRecord) -> str:
    kind = recorded_kind(record.task)
    if kind.reads == "images":
        return "image-classification"
    return "text-classification" if kind.trains_head else "text-generation"


def _trained_on(record: RunRecord | None) -> str:
    return f" trained on {_plain(record.task['name'])}" if record else ""


def _describe_base(source: Source, base: BaseName, format: str) -> str:
    if not base.name:
        return "Not known: it was exported from a model in memory, which did not say where it came from."
    told = [f"`{base.name}`" + (f", {_origin(base)}" if _origin(base) else "")]
    if base.fingerprint:
        prepares = "image processor" if reads_pixels(bare(source.model)) else "tokenizer"
        what = "commit on the hub" if base.is_commit else f"sha256 over its weights, config and {prepares} files"
        told.append(f"{what}: `{base.fingerprint}`")
    if base.licence:
        told.append(f"licence of its weights: {base.licence}")
    other = "" if format == "merged" else " On other weights the adapter is another model."
    return "; ".join(told) + f".{other} No licence is set for what is here: that is for whoever publishes it."


def _describe_quantisation(source: Source, format: str) -> str:
    if not source.quantised:
        return ""
    schemes = list_in_words(source.quantised)
    if format == "merged":
        return f"\n\nThe base was quantised ({schemes}): what its packed weights stand for is in these in full."
    return (
        f"\n\nIt was trained on this base quantised ({schemes}): load the base so. On the unquantised weights its "
        "answers differ, by as much as the base's own do."
    )


def _origin(base: BaseName) -> str:
    return f"as vxlab fetches it, from `{base.hub_id}`" if base.packaged and base.hub_id else ""


def _describe_method(source: Source) -> str:
    method, layers, counts = source.method, source.layers, source.parameters
    told = [("method", family_name(method)), *((name, _value(value)) for name, value in method.settings().items())]
    if isinstance(method, Family) and has_ranks_by_layer(method):
        told = [(name, _ranks(method, layers) if name == "rank" else value) for name, value in told]
    if layers:
        told.append((number_of(len(layers), "adapted layer"), ", ".join(_patterns(layers))))
    share = percent(counts.backbone / counts.total) if counts.total else ""
    told.append(("trained parameters", f"{counts.backbone:,} ({share} of the model's {counts.total:,})"))
    told += [("trained in the task head", f"{counts.head:,}")] if counts.head else []
    return _table(("setting", "value"), told)


def _ranks(method: Family, layers: Sequence[str]) -> str:
    """Return ranks by layer, each with the layers that have it."""
    groups = sorted(method.by_rank(dict.fromkeys(layers)), key=lambda group: group[0].r)
    return "; ".join(f"{family.r} on {', '.join(_patterns(list(own)))}" for family, own in groups)


def _patterns(layers: Sequence[str]) -> list[str]:
    """Return names with their blocks' numbers as ``*``, each with how many there are.

    >>> _patterns(["h.0.q", "h.1.q", "out"])
    ['`h.*.q` (2)', '`out` (1)']
    """
    counts = Counter(re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in layers)
    return [f"`{name}` ({count})" for name, count in counts.items()]


def _describe_loss(loss: MergeLoss) -> str:
    told = ["Merged in float32" + ("." if loss.dtype == "float32" else f", and cast to {loss.dtype} once.")]
    if loss.lost:
        told.append(f"Of its update the layer that lost most, `{loss.worst}`, lost {percent(loss.lost[loss.worst])}.")
    if loss.logits is not None and loss.largest is not None:
        told.append(
            f"On random inputs the logits differ from the unmerged model's by at most {loss.logits:.1e} "
            f"(the largest is {loss.largest:.3g})."
        )
    return " ".join(told)


def _describe_run(record: RunRecord) -> list[str]:
    facts = run_facts([record]).to_dict("records")
    rows = [(fact["fact"], fact["value"]) for fact in facts if fact["fact"] not in _NOT_OF_TRAINING]
    return [
        "## Scores",
        _scores(record),
        "## Training",
        _table(("fact", "value"), [*rows, *_prompt(record), ("key of the run", f"`{record.key}`")]),
    ]


def _prompt(record: RunRecord) -> list[tuple[str, str]]:
    """Return how a model that writes was asked, with its line ends as JSON has them."""
    template = record.spec.get("prompt_template")
    return [("prompt", f"`{json.dumps(template, ensure_ascii=False)}`")] if template else []


def _scores(record: RunRecord) -> str:
    """Return every metric on every test split, with its interval and what needs no model."""
    rows = []
    for split in [name for name in record.task["majority"] if name.startswith("test")]:
        for metric in record.task["metrics"]:
            trivial, own = _scored(record, metric, split)
            known = math.isfinite(own["low"])
            between = " to ".join(score_in_words(own[end], metric) for end in ("low", "high")) if known else "–"
            items = f"{record.task['rows'][split]:,} of {split}"
            rows.append(
                (items, in_words(metric), _score(own["score"], metric), between, _score(trivial["score"], metric))
            )
    head = ("items", "metric", "score", "95 % interval", "without a model")
    told = (
        f"They are the run's own, scored unmerged, of one training seed ({record.spec.get('seed')}). The intervals are "
        "over test items, or the units they come in."
    )
    return f"{_table(head, rows)}\n\n{told}"


def _scored(record: RunRecord, metric: str, split: str) -> list[dict[Any, Any]]:
    """Return the rows of the trivial answer and of the run; without an interval where its predictions are gone."""
    try:
        return score_table({"own": record}, metric, split).to_dict("records")
    except VxlabError:
        known = record.task["majority"][split][metric], record.score(metric, split)
        return [{"score": score, "low": math.nan, "high": math.nan} for score in known]


def _score(value: float, metric: str) -> str:
    return score_in_words(value, metric) if math.isfinite(value) else "–"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    return _plain(str(text)).replace("|", "\\|")


def _value(value: object) -> str:
    if value is None:
        return "default"
    return list_in_words([str(each) for each in value]) if isinstance(value, list | tuple) else str(value)


def _plain(text: str) -> str:
    """Return a text on one line, without folders of this machine."""
    return " ".join(str(without_folders(text)).split())
