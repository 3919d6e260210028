"""A report: a notebook executed with your parameters, kept as a notebook and as one offline HTML page."""

import errno
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vxlab.errors import VxlabError
from vxlab.paths import reports_folder, without_folders
from vxlab.redact import redact
from vxlab.views.reports import notebooks
from vxlab.views.reports.execution import execute_notebook
from vxlab.views.reports.headline import add_picture
from vxlab.views.reports.index import NAME as INDEX
from vxlab.views.reports.index import is_index, is_report, write_index
from vxlab.views.reports.page import to_html
from vxlab.views.reports.parameters import check, read, shared_from_text
from vxlab.views.reports.provenance import add_note
from vxlab.words import duration_in_words

if TYPE_CHECKING:
    from nbformat import NotebookNode

_LONGEST = 100  # characters of a file name's stem; longer ones end in a hash
_UNWRITABLE = {"ENOSPC", "EDQUOT", "EFBIG", "EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"}


def report(
    name: str | Path, parameters: Mapping[str, object] | None = None, *, folder: str | Path | None = None
) -> Path:
    """Execute a notebook, write ``<report>.ipynb`` and ``<report>.html``, and the folder's index anew.

    Parameters are checked before anything runs. Those that differ from the notebook's defaults become part of the
    file names (``01_fine_tune--rank-64.html``), so that reports do not overwrite each other. Both files appear when
    both are complete. Progress goes to stderr, a line for each cell. The notebook's working directory is yours.

    Args:
        name: a shipped notebook, or the path of a notebook of your own.
        parameters: values by name, in the notebook's types.
        folder: where the report goes, and where the notebook keeps its own results; None: :func:`reports_folder`.

    Returns:
        The page's path.

    Raises:
        VxlabError: an unknown notebook or parameter, a value of another type, a folder that cannot be written or has
            a notebook or an index of your own under these names, or a cell that failed. What a failed run had reached
            is kept as ``<report>.failed.ipynb`` and ``.html``; an earlier good report stays.
    """
    source = notebooks.find(name)
    values = check(source, parameters or {})
    target = (Path(folder).absolute() if folder else reports_folder()) / file_stem(source, values)
    _require_free(target, source)
    with _scratch_beside(target) as scratch:
        executed, failure = execute_notebook(source, values, target.parent)
        notebooks.redact_notebook(executed, target.parent)
        add_note(executed, source, values, failure, target.parent)
        add_picture(executed)
        return _publish(executed, failure, source, target, scratch)


def report_each(
    names: Sequence[str | Path], texts: Mapping[str, str], *, folder: str | Path | None = None
) -> list[str]:
    """Make several reports, one after the other; tell a failure on stderr and go on. Pages go to stdout as they come.

    Args:
        names: of notebooks, as :func:`report` takes them; ``all`` stands for every shipped one.
        texts: values as on the command line; each notebook takes those that it has.
        folder: as :func:`report` takes it.

    Returns:
        The names of the notebooks that failed.

    Raises:
        VxlabError: an unknown notebook, a parameter that none of them has, a value of another type; nothing has run.
    """
    every = (each for name in names for each in (notebooks.names() if name == "all" else [name]))
    sources = list(dict.fromkeys(map(notebooks.find, every)))
    wanted = dict(zip(sources, shared_from_text(sources, texts), strict=True))
    failed, began = [], time.monotonic()
    for number, (source, values) in enumerate(wanted.items(), start=1):
        _say(f"{number} of {len(wanted)} · {source.stem} · {notebooks.heading(notebooks.load(source))}")
        try:
            print(report(source, values, folder=folder), flush=True)
        except VxlabError as error:
            failed.append(source.stem)
            _say(f"vxlab: {redact(str(error))}")
    made = f"{len(wanted) - len(failed)} of {len(wanted)} reports made in {duration_in_words(time.monotonic() - began)}"
    _say(made + (f"; failed: {', '.join(failed)}" if failed else "") + ". The index of all that lie there:")
    print((Path(folder).absolute() if folder else reports_folder()) / INDEX, flush=True)
    return failed


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def file_stem(source: Path, values: Mapping[str, object]) -> str:
    """Return a report's file name without its ending: the notebook's, and each value that is not its default.

    Values that a file name cannot show as they are end in a hash, so that two of them never share a name. Of a path
    the last part is shown.
    """
    defaults = read(source)
    changed = {name: value for name, value in values.items() if value != defaults[name].default}
    named = {name: without_folders(value) for name, value in changed.items()}
    shown = {name: value if isinstance(value, str) else json.dumps(value) for name, value in named.items()}
    parts = [source.stem, *(f"{name}-{text}" for name, text in shown.items())]
    stem = "--".join(parts)
    safe = named == changed and all(
        re.fullmatch(r"\w[\w.]*(-[\w.]+)*", text, flags=re.ASCII) for text in shown.values()
    )
    if safe and len(stem) <= _LONGEST:
        return stem
    digest = hashlib.sha256(json.dumps(changed).encode()).hexdigest()[:10]
    slug = "--".join(re.sub(r"[^A-Za-z0-9_.]+", "-", part) for part in parts)
    return f"{slug[:_LONGEST].rstrip('-')}--{digest}"


def _require_free(target: Path, source: Path) -> None:
    """Refuse to write over a notebook of somebody's own, the source above all, or an index."""
    index, notebook = target.parent / INDEX, target.parent / f"{target.name}.ipynb"
    if notebook.exists() and (notebook.samefile(source) or not is_report(notebook)):
        mine = notebook
    elif index.is_file() and not is_index(index):
        mine = index
    else:
        return
    raise VxlabError(
        f"the report would be written over {mine.name} in {target.parent}, which is no report of vxlab's; give another "
        "folder, or move that file"
    )


@contextmanager
def _scratch_beside(target: Path) -> Iterator[Path]:
    """Yield a folder on the target's own file system, gone afterwards."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=target.parent) as scratch:
            yield Path(scratch)
    except OSError as error:
        if errno.errorcode.get(error.errno or 0) not in _UNWRITABLE:
            raise
        raise VxlabError(
            f"cannot write the report {target.name} into {target.parent}: {error.strerror or error}; "
            "free some space, or set VXLAB_REPORTS to a folder that can be written"
        ) from error


def _publish(executed: "NotebookNode", failure: str, source: Path, target: Path, scratch: Path) -> Path:
    """Move both files into place; raise what a failed run failed of."""
    import nbformat

    final = f"{target.name}.failed" if failure else target.name
    # papermill notes the paths of this machine, the scratch folder's among them.
    executed.metadata["papermill"].update(input_path=source.name, output_path=f"{final}.ipynb")
    nbformat.write(executed, scratch / "executed.ipynb")  # type: ignore[no-untyped-call]
    page = to_html(executed, notebooks.heading(executed) or source.stem, failure=failure, index=INDEX)
    (scratch / "page.html").write_text(page, encoding="utf-8")
    os.replace(scratch / "executed.ipynb", target.parent / f"{final}.ipynb")
    os.replace(scratch / "page.html", target.parent / f"{final}.html")
    for stale in () if failure else ("ipynb", "html"):
        (target.parent / f"{target.name}.failed.{stale}").unlink(missing_ok=True)
    write_index(target.parent)
    if failure:
        raise VxlabError(f"{source.stem} failed in {failure}\nwhat it had reached is in {target.parent / final}.html")
    return target.parent / f"{final}.html"
