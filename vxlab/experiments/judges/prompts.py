"""The words in which a judge is asked: FastChat's from their file, or our own where there is none."""

import string
from collections.abc import Mapping
from dataclasses import dataclass

from vxlab.errors import VxlabError

FIELDS = {
    "single-v1": {"question", "answer"},
    "single-math-v1": {"question", "answer", "ref_answer_1"},
    "single-v1-multi-turn": {"question_1", "answer_1", "question_2", "answer_2"},
    "single-math-v1-multi-turn": {
        "question_1", "answer_1", "question_2", "answer_2", "ref_answer_1", "ref_answer_2",
    },
}  # fmt: skip
"""The prompts by FastChat's names, and the places that each must have: for one turn or two, without a reference or
with one."""


@dataclass(frozen=True)
class JudgePrompt:
    """A prompt with places in braces.

    Raises:
        VxlabError: its places are not those of its name.
    """

    name: str
    system: str
    template: str

    def __post_init__(self) -> None:
        try:
            places = {place for _, place, _, _ in string.Formatter().parse(self.template) if place is not None}
        except ValueError as error:
            raise VxlabError(f"judge prompt {self.name}: {error}; write a brace of the text itself twice") from error
        if places != FIELDS[self.name]:
            raise VxlabError(
                f"judge prompt {self.name} has the places {', '.join(sorted(places)) or 'none'}; it must have "
                f"{', '.join(sorted(FIELDS[self.name]))}"
            )

    def fill(self, values: Mapping[str, str]) -> list[dict[str, str]]:
        """Return the messages to a judge, with these values in the places."""
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.template.format_map(dict(values))},
        ]


def own_prompts() -> dict[str, JudgePrompt]:
    """Return vxlab's own prompts, for questions that come without any."""
    made = {}
    for name, fields in FIELDS.items():
        two, reference = "question_2" in fields, "ref_answer_1" in fields
        parts = [_TWO if two else _ONE]
        parts += [_REFERENCES if two else _REFERENCE] if reference else []
        what = "the assistant's answer to the second question" if two else "the assistant's answer"
        held = _AGAINST if reference else _ALONE
        made[name] = JudgePrompt(name, _SYSTEM, "\n\n".join([*parts, held.format(what=what) + _FORM]))
    return made


_SYSTEM = "You grade answers fairly and by their content alone."
_ONE = "QUESTION\n{question}\n\nANSWER OF THE ASSISTANT\n{answer}"
_TWO = (
    "FIRST QUESTION\n{question_1}\n\nFIRST ANSWER OF THE ASSISTANT\n{answer_1}\n\n"
    "SECOND QUESTION\n{question_2}\n\nSECOND ANSWER OF THE ASSISTANT\n{answer_2}"
)
_REFERENCE = "AN ANSWER KNOWN TO BE GOOD\n{ref_answer_1}"
_REFERENCES = "ANSWERS KNOWN TO BE GOOD\nTo the first question:\n{ref_answer_1}\n\nTo the second:\n{ref_answer_2}"
_ALONE = (
    "Grade {what}: is it what was asked for, is it true, and does it help? How long it is counts neither for nor "
    "against it."
)
_AGAINST = (
    "Grade {what} for being right: compare it with the good one step by step, and name each mistake. Another way to "
    "the same result is as good."
)
_FORM = (
    " First give your reasons in a few sentences. Then end with a whole number from 1 (useless) to 10 (could not be "
    "better) in double square brackets on a line of its own, such as\nRating: [[5]]"
)
