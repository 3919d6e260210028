"""Run a notebook's cells in a kernel of their own, quietly, and say where it failed."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.adapters.methods import pass_on_imports
from vxlab.errors import VxlabError
from vxlab.progress import HEADLESS
from vxlab.redact import redact
from vxlab.views.reports.terminal import CellLines, last_line

if TYPE_CHECKING:
    from nbformat import NotebookNode


def execute_notebook(source: Path, parameters: Mapping[str, object], reports: Path) -> tuple["NotebookNode", str]:
    """Execute a notebook in the working directory, showing progress on stderr.

    Args:
        source: the notebook.
        parameters: checked values by name.
        reports: what the notebook finds as ``VXLAB_REPORTS``.

    Returns:
        The executed notebook, and the failure in words, such as
        ``cell 3 of 9 (Learning curves): ValueError: no such column``; empty for a run that succeeded.

    Raises:
        VxlabError: the kernel did not start.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    with CellLines(sys.stderr) as lines, _quiet("papermill"), _kernel(reports) as (kernel, log):
        try:
            executed: NotebookNode = papermill.execute_notebook(
                source,
                None,  # papermill would write all that there is twice a cell: many seconds where figures are large
                dict(parameters),
                kernel_name="python3",  # whatever kernel the notebook was last saved under
                language="python",
                progress_bar=False,
                store_widget_state=False,
                coalesce_streams=True,
                **kernel,
                **lines.hooks(),
            )
        except papermill.PapermillExecutionError as error:
            message = ": ".join(filter(None, [error.ename, error.evalue.strip().partition("\n")[0]]))
            return lines.notebook, f"{lines.where()}: {redact(message)}"
        except DeadKernelError:
            return lines.notebook, f"{lines.where()}: the kernel died, most often for want of memory"
        except RuntimeError as error:
            if lines.number:
                raise
            words = last_line(log.read_text(errors="replace")) or error
            raise VxlabError(redact(f"the kernel of {source.name} did not start: {words}")) from error
    return executed, ""


@contextmanager
def _kernel(reports: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    """Yield the settings of the client that starts the kernel, and the file that takes the kernel's own messages."""
    from traitlets.config import Config

    # Its path must be short (a socket's path has at most 107 characters), so it is not among the reports.
    with tempfile.TemporaryDirectory(prefix="vxlab-") as folder:
        # Sockets are files here: TCP ports can be taken between choosing and binding them.
        sockets = {"transport": "ipc", "connection_file": str(Path(folder, "kernel.json"))}
        config = Config({"KernelManager": sockets if os.name == "posix" else {}})
        log = Path(folder, "log")
        with log.open("wb") as written:
            manager = _manager_class(written.fileno(), reports)
            yield {"config": config, "kernel_manager_class": manager}, log


def _manager_class(log: int, reports: Path) -> type:
    from jupyter_client.manager import AsyncKernelManager

    inherited = pass_on_imports() | {
        "VXLAB_REPORTS": str(reports),
        HEADLESS: "1",
        "PLOTLY_RENDERER": "plotly_mimetype",  # some editors' terminals would make plotly choose another
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger's warning about frozen modules
    }

    class ReportKernelManager(AsyncKernelManager):
        """Start the kernel with its own variables, its complaints (at Ctrl-C, say) kept off the terminal."""

        # jupyter_client's types hide that this is a coroutine.
        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
            await super().start_kernel(stdout=log, stderr=log, env=os.environ | inherited, **options)

    return ReportKernelManager


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    # What papermill and nbclient log as errors they raise too; their warnings repeat what was checked already.
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
