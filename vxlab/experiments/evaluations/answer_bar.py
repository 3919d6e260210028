"""The progress of one task: a bar that is there from the first question on, and counts answers."""

from typing import Any

from vxlab.progress import progress_bar


class AnswerBar:
    """Count the answers to a task's questions, of which a task may ask several kinds, one after the other.

    Args:
        description: what is being done.
        shown: False counts alone.
    """

    def __init__(self, description: str, shown: bool) -> None:
        self._description, self._shown = description, shown
        self._bar: Any = None

    def expect(self, questions: int) -> None:
        """Wait for so many answers more."""
        if self._bar is None:
            self._bar = progress_bar(questions, self._description, "answer", shown=self._shown)
            return
        self._bar.total += questions
        self._bar.refresh()

    def add_partial(self, kind: str, question: Any, answer: Any) -> None:
        """Count one answer; lm-eval's name for it, and what it tells."""
        self._bar.update(1)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
