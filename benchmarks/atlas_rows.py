"""Write the two tasks of the atlas that no index delivers: a question's field, and a restaurant's rating in a sentence.

    python benchmarks/atlas_rows.py --mmlu path/to/mmlu --e2e path/to/e2e-dataset   # writes .csv files where you stand

``mmlu_fields.csv``: the folder holds ``dev``, ``val`` and ``test``, each with a CSV file a subject, as MMLU's authors
publish them. Every question is taken once, without its answers; what stands under two fields is left out. Which of 57
subjects belongs to which of 17 fields: Hendrycks et al., Measuring Massive Multitask Language Understanding, ICLR 2021,
by the table of subcategories that the authors evaluate by.

``e2e_rating.csv``: the folder holds ``devset.csv`` and ``testset_w_refs.csv`` of the E2E NLG Challenge. People wrote
each sentence about a restaurant from given facts; which customer rating was among these, of six, or none? Sentences
from the same facts are one group (the column ``facts``), lest a split part them. Novikova, Dušek and Rieser, The E2E
Dataset: New Challenges for End-to-End Generation, SIGDIAL 2017.
"""

import argparse
import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mmlu", type=Path, metavar="FOLDER")
    parser.add_argument("--e2e", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    if given.mmlu is None and given.e2e is None:
        parser.error("name the folder of one of the two, or of both")
    if given.mmlu is not None:
        write("mmlu_fields.csv", ["question", "field"], sorted(questions(given.mmlu)))
    if given.e2e is not None:
        write("e2e_rating.csv", ["sentence", "rating", "facts"], sorted(sentences(given.e2e)))


def write(name: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    """Write a file where one stands, and never over another."""
    with Path(name).open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    print(f"{name}: {len(rows):,} rows of {len({row[1] for row in rows})} classes")


def sentences(folder: Path) -> set[tuple[str, str, str]]:
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
    fields: dict[str, set[str]] = {}
    for question, field in _read(folder):
        fields.setdefault(question, set()).add(field)
    return {(question, of.pop()) for question, of in fields.items() if len(of) == 1}


def _read(folder: Path) -> Iterator[tuple[str, str]]:
    for field, subjects in FIELDS.items():
        for subject in subjects:
            for split in SPLITS:
                with (folder / split / f"{subject}_{split}.csv").open(encoding="utf-8", newline="") as file:
                    yield from ((row[0].strip(), field) for row in csv.reader(file) if row[0].strip())


if __name__ == "__main__":
    main()
