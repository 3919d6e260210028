"""What a report was made with: noted in the executed notebook, shown on its page and in the index."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.experiments import describe_hardware, library_versions, resolve_device
from vxlab.paths import without_folders
from vxlab.views.reports.parameters import as_text, read
from vxlab.words import duration_in_words

if TYPE_CHECKING:
    from nbformat import NotebookNode

_NOTE = "vxlab"
_PACKAGES = ("torch", "transformers", "peft", "datasets", "scikit-learn", "numpy", "plotly")


def add_note(
    executed: "NotebookNode", source: Path, values: Mapping[str, object], failure: str, folder: Path
) -> "NotebookNode":
    """Note in an executed notebook's metadata what made it, and return it. Nothing in the note is secret.

    Args:
        executed: by papermill, whose own note has the times.
        source: the notebook that was executed.
        values: the parameters given.
        failure: in words; empty for a run that succeeded.
        folder: the reports folder; its store is named where there is one.
    """
    rows = [
        {"name": name, "value": _shown(values.get(name, parameter.default)), "default": _shown(parameter.default),
         "help": parameter.help}
        for name, parameter in read(source).items()
    ]  # fmt: skip
    versions = library_versions(_PACKAGES)
    executed.metadata[_NOTE] = {
        "parameters": rows,
        "versions": {"Python": versions.pop("python"), **versions},
        "hardware": describe_hardware(resolve_device("auto")),
        "store": "runs.db, beside this page" if (folder / "runs.db").is_file() else "",
        "failure": failure,
    }
    return executed


def note(notebook: "NotebookNode") -> dict[str, Any]:
    """Return what :func:`add_note` noted; empty where nothing was."""
    return dict(notebook.metadata.get(_NOTE, {}))


def parameter_rows(notebook: "NotebookNode") -> list[dict[str, str]]:
    """Return the parameters in their order: name, value, default and help, as text."""
    return list(note(notebook).get("parameters", []))


def changed_parameters(notebook: "NotebookNode") -> dict[str, str]:
    """Return the parameters that have other values than their defaults, as text."""
    return {row["name"]: row["value"] for row in parameter_rows(notebook) if row["value"] != row["default"]}


def describe_environment(notebook: "NotebookNode") -> dict[str, str]:
    """Return when, for how long, on what and with which versions a notebook was executed, in words.

    Runs may have been trained elsewhere, earlier, or by workers with other threads: of these their records tell.
    """
    noted = note(notebook)
    hardware = noted.get("hardware", {})
    memory = hardware.get("memory")
    shown = {
        "executed": finished_at(notebook),
        "this execution took": duration(notebook),
        "processor": hardware.get("processor", ""),
        "GPU": hardware.get("gpu", ""),
        "memory of the machine": f"{memory / 2**30:.0f} GiB" if memory else "",
        "operating system": hardware.get("system", ""),
        "commit of vxlab": noted.get("versions", {}).get("commit", ""),
        "store of runs": noted.get("store", ""),
        "versions": version_line(notebook),
    }
    return {name: text for name, text in shown.items() if text}


def version_line(notebook: "NotebookNode") -> str:
    """Return names and versions, vxlab's own first, in one line."""
    noted = note(notebook).get("versions", {})  # nbformat writes them in alphabetical order
    return " · ".join(f"{name} {noted[name]}" for name in ("vxlab", "Python", *_PACKAGES) if name in noted)


def finished_at(notebook: "NotebookNode") -> str:
    """Return when the run ended, such as ``2026-01-31 12:00 UTC``; empty where papermill did not say."""
    ended = notebook.metadata.get("papermill", {}).get("end_time")
    return datetime.fromisoformat(ended).strftime("%Y-%m-%d %H:%M UTC") if ended else ""


def duration(notebook: "NotebookNode") -> str:
    """Return how long the run took, in words; empty where papermill did not say."""
    seconds = notebook.metadata.get("papermill", {}).get("duration")
    return duration_in_words(seconds) if seconds else ""


def _shown(value: object) -> str:
    return as_text(without_folders(value)) or "(empty)"  # a page may be published
