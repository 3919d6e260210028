"""Write the one task of the atlas that no index delivers: which of 17 fields is a question of MMLU from?

    python benchmarks/atlas_rows.py path/to/mmlu            # writes mmlu_fields.csv where you stand

The folder holds ``dev``, ``val`` and ``test``, each with a CSV file a subject, as MMLU's authors publish them. Every
question is taken once, without its answers; what stands under two fields is left out. Which of 57 subjects belongs to
which field: Hendrycks et al., Measuring Massive Multitask Language Understanding, ICLR 2021, by the table of
subcategories that the authors evaluate by.
"""

import csv
import sys
from collections.abc import Iterator
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


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    rows = sorted(questions(Path(sys.argv[1])))
    with Path("mmlu_fields.csv").open("x", encoding="utf-8", newline="") as file:  # never over another file
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["question", "field"])
        writer.writerows(rows)
    print(f"mmlu_fields.csv: {len(rows):,} questions of {len(FIELDS)} fields")


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
