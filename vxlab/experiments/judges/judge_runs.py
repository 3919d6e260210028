"""MT-Bench: let the untuned base and trained runs answer, and a judge rate them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vxlab.checks import require_count, settle
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, hardware, resolve_device, resolve_precision
from vxlab.experiments.judges.answers import Manner, answer_questions
from vxlab.experiments.judges.contestants import Contestant, contestants_of
from vxlab.experiments.judges.judge import NO_JUDGE, Judge
from vxlab.experiments.judges.questions import Bench, read_bench
from vxlab.experiments.judges.rating import Rated, Wanted, rate
from vxlab.experiments.judges.ratings import Ratings, utc
from vxlab.experiments.store import Store, Where, open_store
from vxlab.experiments.tasks.kinds import OWN_TEMPLATE
from vxlab.paths import without_folders
from vxlab.progress import progress_bar

Answers = dict[int, tuple[str, str]]


def judge_runs(
    runs: RunRecord | str | Sequence[RunRecord | str],
    judge: Judge | None,
    *,
    store: Where = None,
    folder: str | Path | None = None,
    questions: Sequence[int] | None = None,
    repeats: int = 1,
    base: bool = True,
    max_new_tokens: int = 1024,
    chat_template: str = OWN_TEMPLATE,
    device: str = "auto",
    precision: str = "auto",
    progress: bool = True,
) -> Ratings:
    """Let runs and their untuned base answer MT-Bench's questions, and a judge rate every answer from 1 to 10.

    Both turns of a question are answered in one chat, by the model's chat template, greedily: FastChat samples in four
    categories (at a temperature of 0.7 in writing and roleplay, 0.1 in stem and humanities), which puts luck into the
    answers that no seed of training explains. The judge sees what FastChat's sees: each answer alone, the second behind
    the first, and in mathematics, reasoning and coding a reference answer.

    Answers and the judge's replies are kept in the store by content: what was asked is not asked again, by whichever
    address the judge is reached, and a call that was killed goes on where it stopped. A judge is known by its name
    there: what is shown says where ratings are kept from another address, at which another model may have answered.

    Args:
        runs: finished runs of one base model that writes, each a seed of its candidate; or a model's name, whose
            untuned model is meant.
        judge: whom to ask; None raises the line that says what is needed.
        store: as :func:`vxlab.run` takes it.
        folder: of FastChat's question.jsonl, judge_prompts.jsonl and reference_answer/; None: ``VXLAB_MT_BENCH``, or
            the hub.
        questions: numbers of some of them; None takes all 80.
        repeats: ratings of each answer; 2 or more measure the judge's own noise, and make its part of the intervals
            smaller.
        base: whether the untuned base answers, too, and heads the table.
        max_new_tokens: of an answer, 1 or more; 1024 is FastChat's.
        chat_template: ``tokenizer`` for the tokenizer's own, or a template file's path; the same for all.
        device: as in :class:`vxlab.RunSpec`.
        precision: as in :class:`vxlab.RunSpec`.
        progress: show bars.

    Raises:
        VxlabError: there is no judge, or it cannot be asked; the questions cannot be had; a run did not finish, does
            not write or has another base; or the model has no chat template.
    """
    if judge is None:
        raise VxlabError(NO_JUDGE)
    if not isinstance(judge, Judge):
        raise VxlabError(f"judge is of type {type(judge).__name__}; give vxlab.Judge(url=..., model=...)")
    require_count("repeats", repeats)
    require_count("max_new_tokens", max_new_tokens)
    base, progress = settle("base", base, bool), settle("progress", progress, bool)
    judge.key()  # before the models answer, which takes long
    there = resolve_device(device)
    manner = Manner(settle("chat_template", chat_template, str), max_new_tokens, there,
                    resolve_precision(precision, there))  # fmt: skip
    bench, contestants = read_bench(folder, questions), contestants_of(runs, base)
    with open_store(store) as results:
        answers = _answer(contestants, bench, manner, results, progress)
        rows, wanted = _wanted(contestants, bench, answers, repeats)
        with progress_bar(len(wanted), f"ratings by {without_folders(judge.model)}", "rating", shown=progress) as bar:
            rated = rate(wanted, judge, results, bar.update)
    return Ratings(judge, _table(rows, rated), bench.source, bench.prompts_hash, _in_words(manner), bench.notes)


def _answer(
    contestants: Sequence[Contestant], bench: Bench, manner: Manner, store: Store, progress: bool
) -> list[Answers]:
    total = 2 * len(bench.questions) * len(contestants)
    with progress_bar(total, "answers to MT-Bench", "answer", shown=progress) as bar, hardware.by_the_spec_alone():
        return [answer_questions(each, bench.questions, manner, store, bar.update) for each in contestants]


def _wanted(
    contestants: Sequence[Contestant], bench: Bench, answers: Sequence[Answers], repeats: int
) -> tuple[list[dict[str, Any]], list[Wanted]]:
    """Return for every rating what it is of, and what the judge is asked."""
    rows, wanted, numbers = [], [], dict[str, int]()
    for each, own in zip(contestants, answers, strict=True):
        about = {"candidate": each.candidate, "seed": each.seed, "run": each.record.key if each.record else ""}
        for question in bench.questions:
            for turn in (1, 2):
                messages = bench.messages(question, own[question.number], turn)
                answer = numbers.setdefault(str(messages), len(numbers))
                for repeat in range(repeats):
                    wanted.append(Wanted(messages, repeat, question.number, turn))
                    rows.append(about | {"question": question.number, "category": question.category, "turn": turn,
                                         "repeat": repeat, "answer": answer})  # fmt: skip
    return rows, wanted


def _table(rows: Sequence[dict[str, Any]], rated: Sequence[Rated]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    table["rating"] = pd.Series([each.rating for each in rated], dtype="float64")
    table["unparsable"] = [each.unparsable for each in rated]
    table["answered_by"] = [each.judge for each in rated]
    table["asked_at"] = [each.url for each in rated]
    table["at"] = [utc(each.at) for each in rated]
    return table


def _in_words(manner: Manner) -> str:
    return (
        f"Answers: greedy, up to {manner.max_new_tokens:,} tokens a turn, {manner.precision}, by the chat template of "
        f"the {'tokenizer' if manner.chat_template == OWN_TEMPLATE else 'file given'}."
    )
