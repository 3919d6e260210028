"""The E2E challenge: facts on a restaurant, to be told in words, with several people's texts for each input."""

import os
from dataclasses import replace
from pathlib import Path

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import Columns, Reading, Rows, hub_rows, hub_splits, read_rows

_HUB, _PARQUET = "tuetschek/e2e_nlg", "refs/convert/parquet"
_HUB_COLUMNS = {"meaning_representation": "mr", "human_reference": "ref"}
_FILES = {"train": "trainset.csv", "validation": "devset.csv", "test": "testset_w_refs.csv"}
_TEMPLATE = "{mr}\n"
_CITATION = "Novikova, Dusek and Rieser, The E2E Dataset: New Challenges for End-to-End Generation, SIGDIAL 2017"
METRICS = ("log_likelihood", "bleu", "nist", "meteor", "rouge_l", "cider")
"""the held-out log-likelihood, and the challenge's five"""


def read_e2e(folder: str | Path | None = None, prompt_template: str | None = None) -> Reading:
    r"""Read the challenge's CSV files, or the hub's copy of them: columns ``mr``, the facts, and ``ref``, a text.

    Without trainset.csv, the dev set is what is trained on, and validation is left to be carved out of it.

    Every input is scored, those with one reference too: 547 of the dev set and 630 of the test set. The challenge's
    script joins rows as they follow one another, which is the same: no input stands in two places.

    Args:
        folder: of the files; default ``VXLAB_E2E``, and without that the hub.
        prompt_template: with places {mr}; default ``"{mr}\n"``.

    Raises:
        VxlabError: the folder lacks devset.csv or testset_w_refs.csv, or the hub cannot be reached.
    """
    folder = folder or os.environ.get("VXLAB_E2E")
    if folder is None:
        splits, source = _from_hub(), f"Hugging Face hub, {_HUB}"
    else:
        splits, source = _from_folder(Path(folder).expanduser()), "the E2E challenge's own files"
    return Reading(
        splits,
        Columns(prompt_template=prompt_template or _TEMPLATE, answer_column="ref"),
        source,
        citation=_CITATION,
        metrics=METRICS,
        advice="E2E needs mr, ref",
        notes=() if "validation" in splits else (_tell_without_train(),),
    )


def _tell_without_train() -> str:
    return (
        f"{_FILES['train']} is not in the folder: {_FILES['validation']} is trained on, and validation is carved out "
        "of it, so that scores do not compare with published ones"
    )


def _from_folder(folder: Path) -> dict[str, Rows]:
    if not folder.is_dir():
        raise VxlabError(f"folder={folder}: no such folder (VXLAB_E2E, where set, is the default for E2E)")
    for file in (_FILES["validation"], _FILES["test"]):
        if not (folder / file).is_file():
            raise VxlabError(
                f"{folder}: no {file}; E2E needs {', '.join(_FILES.values())}, of which the first may lack"
            )
    splits = {split: read_rows(folder / file) for split, file in _FILES.items() if (folder / file).is_file()}
    return splits if "train" in splits else {"train": splits["validation"], "test": splits["test"]}


def _from_hub() -> dict[str, Rows]:
    """Read the hub's own Parquet copy: the data set itself is a program, which is not run."""
    found = hub_splits(_HUB, None, _PARQUET)
    splits = {split: hub_rows(found[split], f"{_HUB} {split}") for split in _FILES if split in found}
    return {split: replace(rows, frame=rows.frame.rename(columns=_HUB_COLUMNS)) for split, rows in splits.items()}
