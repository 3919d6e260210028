"""Folders with toy rows in the layouts of published sets: MetaMathQA with GSM8K, and LLM-Adapters' commonsense sets."""

import json
from pathlib import Path

_WORDS = {
    "boolq": "true/false", "piqa": "solution1/solution2", "social_i_qa": "answer1/answer2/answer3",
    "hellaswag": "ending1/ending2/ending3/ending4", "winogrande": "option1/option2",
    "ARC-Easy": "answer1/answer2/answer3/answer4", "ARC-Challenge": "answer1/answer2/answer3/answer4",
    "openbookqa": "answer1/answer2/answer3/answer4",
}  # fmt: skip


def write_mathematics(folder: Path, rows: int, test_rows: int = 6) -> str:
    """Write MetaMathQA to train on, and GSM8K's test and MATH's, in which sums are to be done."""
    (folder / "gsm8k").mkdir(parents=True)
    queries = [f"{n}. What is {n} + 2?" for n in range(rows + test_rows)]
    answers = [str(n + 2) for n in range(rows + test_rows)]
    train = [
        {"query": query, "response": f"{answer}\nThe answer is: {answer}", "type": "GSM_Rephrased"}
        for query, answer in zip(queries[:rows], answers, strict=False)
    ]
    later = list(zip(queries, answers, strict=True))[rows:]
    _write(folder / "metamathqa.jsonl", train)
    tests = [{"question": query, "answer": f"It is {answer}.\n#### {answer}"} for query, answer in later]
    _write(folder / "gsm8k" / "test.jsonl", tests)
    _write(folder / "gsm8k" / "train.jsonl", tests)
    problems = [{"problem": query, "solution": rf"\boxed{{{answer}}}"} for query, answer in later]
    _write(folder / "math500.jsonl", problems)
    return str(folder)


def write_commonsense(folder: Path, rows: int, test_rows: int = 4, name: str = "commonsense_170k") -> str:
    """Write a mixture to train on, and the test of each of the eight sets."""
    folder.mkdir(parents=True)
    made = {each: [_asked(each, words, n) for n in range(rows + test_rows)] for each, words in _WORDS.items()}
    mixture = [each[n] for n in range(rows) for each in made.values()][:rows]
    (folder / f"{name}.json").write_text(json.dumps(mixture), encoding="utf-8")
    for each, asked in made.items():
        (folder / each).mkdir()
        (folder / each / "test.json").write_text(json.dumps(asked[rows:]), encoding="utf-8")
    return str(folder)


def _asked(name: str, words: str, number: int) -> dict[str, str]:
    answers = words.split("/")
    right = answers[number % len(answers)]
    return {
        "instruction": f"{name} {number}: which one is it?\n\nAnswer format: {words}",
        "input": "", "output": f"the correct answer is {right}", "answer": right,
    }  # fmt: skip


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
