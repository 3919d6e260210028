"""The one base of the errors that vxlab raises for its users' input, and one of what it warns them of."""

import html
import sys
import traceback
from typing import Any


class VxlabError(ValueError):
    """Report bad input in a line or two: the argument, the value, what is required and what to do.

    The command line prints such an error without a traceback, and a notebook has the traceback folded.
    """

    _shown = 0
    """the id of the traceback that a notebook has shown: IPython asks once for the reader and once for its history"""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows; in a notebook the sentence alone, the traceback folded before it."""
        shell = sys.modules["IPython"].get_ipython()
        if not hasattr(shell, "kernel"):  # a terminal folds nothing
            lines: list[str] = shell.InteractiveTB.structured_traceback(type(self), self, self.__traceback__)
            return lines
        if self._shown != id(self.__traceback__):
            shell.display_pub.publish(_folded(self))
            self._shown = id(self.__traceback__)
        return [f"\x1b[31m{type(self).__name__}\x1b[39m: {self}"]


class VxlabWarning(UserWarning):
    """Warn of what the numbers would not show. The command line prints it without the line of code."""


class DataWarning(VxlabWarning):
    """Warn of what a user's data hold that their scores would not show."""


def _folded(error: VxlabError) -> dict[str, Any]:
    """Return an error's traceback as a notebook's output that opens on a click."""
    told = html.escape("".join(traceback.format_exception(error)))
    shown = f"<details><summary>Where this was raised: the traceback</summary><pre>{told}</pre></details>"
    return {"text/html": shown, "text/plain": "The traceback is folded in a notebook."}
