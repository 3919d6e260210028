"""GLUE's nine tasks: columns, classes, splits and official metrics, from the hub or from a folder of TSV files."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vxlab.errors import VxlabError

if TYPE_CHECKING:  # pandas, which the tasks' names do without: recipes need no more of this module
    from vxlab.experiments.tasks.rows import Columns, Reading, Rows

_HUB = "nyu-mll/glue"
_GLUE = "Wang et al., GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding, ICLR 2019"

_Found = tuple[dict[str, "Rows"], str, "Columns"]


@dataclass(frozen=True)
class GlueTask:
    """Describe one task of GLUE.

    Args:
        folder: name of its folder in GLUE's own download.
        text: text columns on the hub, and in the TSV files unless ``tsv_text`` says otherwise.
        classes: class names in the official order of their ids; () for a regression.
        metrics: official metrics; the first chooses the checkpoint.
        citation: the data set's own paper.
        tsv_text: text columns in the TSV files.
        tsv_label: label column in the TSV files.
        tsv_header: columns of TSV files without a header line.
        tests: our test splits and the official dev splits they are.
        skip_malformed: leave out lines that lack columns.
    """

    folder: str
    text: tuple[str, ...]
    classes: tuple[str, ...]
    metrics: tuple[str, ...]
    citation: str
    tsv_text: tuple[str, ...] = ()
    tsv_label: str = "label"
    tsv_header: tuple[str, ...] = ()
    tests: tuple[tuple[str, str], ...] = (("test", "validation"),)
    skip_malformed: bool = False


_MSR = {"train": "msr_paraphrase_train.txt", "test": "msr_paraphrase_test.txt"}
_SIMILARITY = (0, 5)
_ENTAILMENT = ("entailment", "not_entailment")
_PAIR = ("sentence1", "sentence2")

GLUE_TASKS = {
    "cola": GlueTask(
        "CoLA",
        ("sentence",),
        ("unacceptable", "acceptable"),
        ("matthews",),
        "Warstadt, Singh and Bowman, Neural Network Acceptability Judgments, TACL 2019",
        tsv_header=("source", "label", "mark", "sentence"),
    ),
    "sst2": GlueTask(
        "SST-2",
        ("sentence",),
        ("negative", "positive"),
        ("accuracy",),
        "Socher et al., Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank, EMNLP 2013",
    ),
    "mrpc": GlueTask(
        "MRPC",
        _PAIR,
        ("not_equivalent", "equivalent"),
        ("accuracy", "f1"),
        "Dolan and Brockett, Automatically Constructing a Corpus of Sentential Paraphrases, IWP 2005",
        tsv_text=("#1 String", "#2 String"),
        tsv_label="Quality",
    ),
    "stsb": GlueTask(
        "STS-B",
        _PAIR,
        (),
        ("pearson", "spearman"),
        "Cer et al., SemEval-2017 Task 1: Semantic Textual Similarity, SemEval 2017",
        tsv_label="score",
    ),
    "qqp": GlueTask(
        "QQP",
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
        ("accuracy", "f1"),
        "Iyer, Dandekar and Csernai, First Quora Dataset Release: Question Pairs, 2017",
        tsv_label="is_duplicate",
        skip_malformed=True,  # GLUE's first QQP files hold a few cut lines; the hub's copy leaves them out too
    ),
    "mnli": GlueTask(
        "MNLI",
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        ("accuracy",),
        "Williams, Nangia and Bowman, A Broad-Coverage Challenge Corpus for Sentence Understanding, NAACL 2018",
        tsv_text=_PAIR,
        tsv_label="gold_label",
        tests=(("test", "validation_matched"), ("test_mismatched", "validation_mismatched")),
    ),
    "qnli": GlueTask(
        "QNLI",
        ("question", "sentence"),
        _ENTAILMENT,
        ("accuracy",),
        "Rajpurkar et al., SQuAD: 100,000+ Questions for Machine Comprehension of Text, EMNLP 2016",
    ),
    "rte": GlueTask(
        "RTE",
        _PAIR,
        _ENTAILMENT,
        ("accuracy",),
        "Dagan et al. 2006; Bar Haim et al. 2006; Giampiccolo et al. 2007; Bentivogli et al. 2009 (RTE 1, 2, 3 and 5)",
    ),
    "wnli": GlueTask(
        "WNLI",
        _PAIR,
        ("not_entailment", "entailment"),
        ("accuracy",),
        "Levesque, Davis and Morgenstern, The Winograd Schema Challenge, KR 2012",
    ),
}


def glue_name(name: str) -> str | None:
    """Return GLUE's short name of a task however it is written, or None where it is no task of GLUE.

    >>> glue_name("STS-B"), glue_name("sst_2"), glue_name("imdb")
    ('stsb', 'sst2', None)
    """
    plain = "".join(letter for letter in name.lower() if letter not in "-_ ")
    return plain if plain in GLUE_TASKS else None


def read_glue(name: str, folder: str | Path | None = None) -> "Reading":
    """Read a task of GLUE from a folder in GLUE's TSV layout, or from the hub.

    The labels of GLUE's own test files are secret, so the official dev set is our test split (for MNLI the matched
    one, with the mismatched as ``test_mismatched``), and validation is left to be carved out of train. MRPC is also
    read as Microsoft's msr_paraphrase_train.txt and msr_paraphrase_test.txt, whose labelled test file is then our
    test split: a score on it is not comparable with one on GLUE's dev set.

    Args:
        name: a key of ``GLUE_TASKS``.
        folder: the folder of the task, or the one above it; default ``VXLAB_GLUE``, and without that the hub.

    Raises:
        VxlabError: the folder lacks a file, or the hub cannot be reached.
    """
    from vxlab.experiments.tasks.rows import Labels, Reading

    task, folder = GLUE_TASKS[name], folder or os.environ.get("VXLAB_GLUE")
    if folder is None:
        splits, source, columns = _from_hub(name, task)
    else:
        splits, source, columns = _from_folder(task, _task_folder(name, task, Path(folder).expanduser()))
    return Reading(
        splits,
        columns,
        source,
        citation=f"{task.citation}; {_GLUE}",
        labels=Labels(task.classes) if task.classes else Labels(bounds=_SIMILARITY),
        metrics=task.metrics,
        published=True,
        advice=f"{task.folder} needs {', '.join((*columns.text_columns, str(columns.label_column)))}",
    )


def _from_hub(name: str, task: GlueTask) -> _Found:
    from vxlab.experiments.tasks.rows import Columns, hub_rows, hub_splits

    found = hub_splits(_HUB, name)
    official = {"train": "train", **dict(task.tests)}
    splits = {ours: hub_rows(found[theirs], f"{_HUB} {name} {theirs}") for ours, theirs in official.items()}
    return splits, f"Hugging Face hub, {_HUB}, {name}", Columns(task.text, "label")


def _from_folder(task: GlueTask, folder: Path) -> _Found:
    from vxlab.experiments.tasks.rows import Columns, read_tsv

    columns = Columns(task.tsv_text or task.text, task.tsv_label)
    if (folder / _MSR["train"]).is_file():
        files, source = _MSR, "Microsoft's own files"
    else:
        # validation, validation_matched -> dev.tsv, dev_matched.tsv
        tests = {ours: theirs.replace("validation", "dev") + ".tsv" for ours, theirs in task.tests}
        files, source = {"train": "train.tsv", **tests}, "GLUE's own files"
    for file in files.values():
        if not (folder / file).is_file():
            raise VxlabError(f"{folder}: no {file}; {task.folder} needs {', '.join(files.values())}")
    splits = {
        split: read_tsv(folder / file, columns=task.tsv_header, skip_malformed=task.skip_malformed)
        for split, file in files.items()
    }
    return splits, f"{source}, {task.folder}", columns


def _task_folder(name: str, task: GlueTask, folder: Path) -> Path:
    """Find a task's own folder: below ``folder``, however its name is written, or ``folder`` itself."""
    if not folder.is_dir():
        raise VxlabError(f"folder={folder}: no such folder (VXLAB_GLUE, where set, is the default for GLUE's tasks)")
    below = [child for child in sorted(folder.iterdir()) if child.is_dir() and glue_name(child.name) == name]
    if below:
        return below[0]
    if glue_name(folder.name) in (name, None) and any(
        (folder / file).exists() for file in ("train.tsv", _MSR["train"])
    ):
        return folder
    raise VxlabError(f"{folder}: neither a folder {task.folder} in it nor a train.tsv of {task.folder}")
