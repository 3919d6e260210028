"""JupyterLab on this machine, opened at the index notebook."""

import os
import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from vxlab.files import write_whole
from vxlab.paths import FIRST_NOTEBOOK, reports_folder, shipped_path


def lab(arguments: Sequence[str] = ()) -> None:
    """Start JupyterLab on the loopback address, with Jupyter's own token, and stay until it is shut down.

    Results land where ``vxlab report`` puts them: the kernels inherit ``VXLAB_REPORTS``.

    Args:
        arguments: passed on to JupyterLab, such as ``--no-browser``.
    """
    os.environ["VXLAB_REPORTS"] = str(reports_folder())
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # the debugger's warning about frozen modules
    application = import_module("jupyterlab.labapp").LabApp  # by name: jupyterlab has no types
    application.launch_instance(lab_arguments(working_notebooks(), arguments))


def lab_arguments(notebooks: Path, arguments: Sequence[str]) -> list[str]:
    """Return JupyterLab's command line: rooted above the notebooks, at the index where it exists."""
    first = [str(notebooks / FIRST_NOTEBOOK)] if (notebooks / FIRST_NOTEBOOK).is_file() else []
    return ["--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={notebooks.parent}", *arguments, *first]


def working_notebooks() -> Path:
    """Return the folder of notebooks to work in.

    A checkout's are used as they are. An installed package's are copied to ``./notebooks``, so that they can be
    changed; a file that is there already is left alone.
    """
    source = shipped_path("notebooks")
    if not source.is_relative_to(Path(__file__).resolve().parents[2]):
        return source
    target = Path("notebooks").absolute()
    target.mkdir(exist_ok=True)
    for path in source.glob("*.ipynb"):
        if not (target / path.name).exists():
            with write_whole(target / path.name) as new:  # half a notebook would be taken for one's own later
                shutil.copyfile(path, new)
    return target
