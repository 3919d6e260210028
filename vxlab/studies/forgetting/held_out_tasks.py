"""Held-out tasks by name: lm-eval's templates, on files in a folder of sets where it has them, else from the hub."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vxlab.checks import settle_list
from vxlab.errors import VxlabError
from vxlab.experiments import Evaluation, RunRecord
from vxlab.experiments.evaluations import Asked, Evaluations, LocalTask, evaluate_on, plan_evaluation
from vxlab.experiments.store import Where
from vxlab.experiments.tasks.rows import read_rows
from vxlab.experiments.tasks.sets import find_set_files, set_name
from vxlab.progress import progress_bar
from vxlab.studies import study_settings
from vxlab.studies.forgetting.smoke_instructions import smoke_instructions
from vxlab.words import list_in_words

NO_HARNESS = "lm-eval is not installed, so nothing is said of held-out tasks; `pip install 'vxlab[harness]'` brings it."
"""What stands in the place of held-out tasks where lm-eval is lacking."""
_READ = {
    "arc_easy": ("test",), "arc_challenge": ("test",), "openbookqa": ("test",), "boolq": ("validation",),
    "piqa": ("validation",), "hellaswag": ("validation",), "social_iqa": ("validation",),
    "winogrande": ("validation",), "gsm8k": ("test", "train"),
}  # fmt: skip
"""By lm-eval's name of a task: the split that it is tested on, and that of the examples in its prompt."""
_ADAPTERS = {"instruction", "output", "answer"}
"""columns of LLM-Adapters' copies, which lm-eval's templates cannot read"""


@dataclass(frozen=True)
class HeldOutTasks:
    """Tasks that nothing was trained on, loaded once before anything is trained."""

    names: tuple[str | LocalTask, ...]
    """by lm-eval's names, and on local files; none where lm-eval is lacking"""
    asked: Asked | None
    """as they are loaded"""
    told: str
    """which are asked, of which documents, in a sentence"""

    def evaluate(self, runs: Sequence[RunRecord], *, device: str = "auto", store: Where = None) -> Evaluations | None:
        """Return the evaluations of finished runs and of their untuned base; None where there is no task.

        Args:
            runs: whose models write.
            device: ``auto``, ``cuda``, ``mps`` or ``cpu``.
            store: as :func:`vxlab.run` takes it.
        """
        if self.asked is None or not runs:
            return None
        found: dict[str, Evaluation] = {}
        with progress_bar(len(runs), "held-out tasks", "run") as bar:
            for run in runs:
                one = evaluate_on(run, self.asked, store=store, device=device, progress=False)
                found |= {each.key: each for each in one.evaluations}
                bar.update()
        return Evaluations(tuple(found.values()), tuple(runs))


def find_held_out(
    scale: str, names: Sequence[str] = (), folder: str | Path | None = None, limit: int | None = None
) -> HeldOutTasks:
    """Return lm-eval's tasks of these names, on local files where there are some, and load them to see that they work.

    Args:
        scale: ``smoke``, ``small`` or ``paper``.
        names: of lm-eval's tasks and groups; none takes the scale's.
        folder: of the named sets' files; None: ``VXLAB_SETS``, and without that the hub (at smoke made-up files).
        limit: documents of each task, its first; None takes the scale's, or where it has none all.

    Raises:
        VxlabError: a task is unknown, or its documents cannot be had.
    """
    names = settle_list("held_out", names, str, "names of lm-eval's tasks")
    usual = study_settings("forgetting", scale)
    limit = limit if limit is not None else usual.get("limit")
    if find_spec("lm_eval") is None:
        return HeldOutTasks((), None, NO_HARNESS)
    home = folder or os.environ.get("VXLAB_SETS")
    if scale == "smoke" and not names and home is None:
        home = smoke_instructions().sets
    place = None if home is None else Path(home).expanduser()
    tasks = tuple(_local(name, place) or name for name in names or usual["held_out"])
    return HeldOutTasks(tasks, plan_evaluation(list(tasks), limit=limit), _tell(tasks, limit))


def _local(name: str, folder: Path | None) -> LocalTask | None:
    """Return a task on files of the folder, None where it holds none that the task's template reads."""
    known = set_name(name)
    if folder is None or known is None or name not in _READ:
        return None
    try:
        files = find_set_files(folder, known)
    except VxlabError:
        if not folder.is_dir():
            raise
        return None  # the folder has other sets: the hub has this one
    wanted = {split: files.get(split, []) for split in _READ[name]}
    if any(len(paths) != 1 for paths in wanted.values()):
        return None
    if any(set(read_rows(path).frame) >= _ADAPTERS for (path,) in wanted.values()):
        return None
    return LocalTask(name, {split: path for split, (path,) in wanted.items()})


def _tell(tasks: Sequence[str | LocalTask], limit: int | None) -> str:
    local = [f"{each.template} ({list_in_words([Path(file).name for file in each.files.values()])})" for each in tasks
             if isinstance(each, LocalTask)]  # fmt: skip
    hub = [each for each in tasks if isinstance(each, str)]
    parts = [f"on local files {list_in_words(local)}"] if local else []
    parts += [f"with its own documents from the hub {list_in_words(hub)}"] if hub else []
    first = "all documents" if limit is None else f"the first {limit:,} documents of each"
    return f"lm-eval's templates, prompts and scores, asked plainly (no chat template): {'; '.join(parts)}; {first}."
