"""Compare two folders of reports: the runs' scores and every table of the executed notebooks, cell by cell.

    vxlab report all -p scale smoke                       # with VXLAB_REPORTS=BEFORE, by one version of the code
    cp -r BEFORE/runs* AFTER/                             # so that nothing is trained again
    vxlab report all -p scale smoke                       # with VXLAB_REPORTS=AFTER, by the other
    python benchmarks/same_numbers.py BEFORE AFTER

Prints what differs, and what only one of the folders has. Times and memory are left out, and tables that AFTER has
beside those of BEFORE are told, which makes no difference. The exit status is 1 where anything differs, else 0.
"""

import argparse
import html
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import vxlab

MEASURED = re.compile(r"seconds|memory|finished_at|folder|attempts|, s$|frozen pass|steps' worth|temporary|peak")
"""Columns of times and memory, and of where and when a run was made."""
OF_MEASURED = ("95 % from", "to", "here", "verdict")
"""Columns that hold what was measured in a notebook on costs, beside the times themselves."""
COSTS = "07_cost"

Table = list[list[str]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    asked = parser.parse_args()
    differences = [*compare_stores(asked.before, asked.after), *compare_notebooks(asked.before, asked.after)]
    print(*differences, f"{len(differences)} differences", sep="\n")
    return 1 if differences else 0


def compare_stores(before: Path, after: Path) -> Iterator[str]:
    """Yield the runs that one store lacks, and the columns in which a run of both differs."""
    one, other = (vxlab.Store(folder).table().set_index("key") for folder in (before, after))
    yield from (f"only before: run {key}" for key in one.index.difference(other.index))
    yield from (f"only after: run {key}" for key in other.index.difference(one.index))
    both = one.index.intersection(other.index)
    print(f"{len(both)} runs in both stores")
    for name in (name for name in one.columns if not MEASURED.search(name)):
        for key in both:
            a, b = (str(table.at[key, name]) if name in table else "no such column" for table in (one, other))
            if a != b:
                yield f"run {key[:12]}, {name}: {a} before, {b} after"


def compare_notebooks(before: Path, after: Path) -> Iterator[str]:
    """Yield the notebooks and tables that are missing after, and the cells that differ."""
    for path in sorted(before.glob("*.ipynb")):
        if not (after / path.name).is_file():
            yield f"only before: {path.name}"
            continue
        found, there = (read_tables(folder / path.name) for folder in (before, after))
        print(f"{path.name}: {len(found)} tables before, {len(there)} after")
        yield from (f"{path.name}, {told}" for told in compare_tables(found, there, path.name.startswith(COSTS)))


def compare_tables(before: Sequence[Table], after: Sequence[Table], costs: bool = False) -> Iterator[str]:
    """Yield how the tables of one notebook differ; those of one heading are compared in their order."""
    left: dict[tuple[str, ...], list[Table]] = defaultdict(list)
    for table in after:
        left[tuple(table[0])].append(table)
    for table in before:
        names = table[0]
        if not left[tuple(names)]:
            yield f"only before: the table of {', '.join(names)}"
            continue
        yield from _compare_cells(table, left[tuple(names)].pop(0), costs)
    for names in (names for names, tables in left.items() for _ in tables):
        print(f"only after: the table of {', '.join(names)}")


def _compare_cells(before: Table, after: Table, costs: bool) -> Iterator[str]:
    names = before[0]
    if len(before) != len(after):
        yield f"the table of {', '.join(names)} has {len(before)} rows before, {len(after)} after"
    for number, (a, b) in enumerate(zip(before, after, strict=False)):
        for column in range(max(len(a), len(b))):
            name = names[column] if column < len(names) else ""
            cells = [row[column] if column < len(row) else "no cell" for row in (a, b)]
            measured = MEASURED.search(name) or (costs and name in OF_MEASURED)
            if cells[0] != cells[1] and not measured:
                yield f"row {number} of {', '.join(names)}: {name} is {cells[0]!r} before, {cells[1]!r} after"


def read_tables(notebook: Path) -> list[Table]:
    """Return every table that an executed notebook shows, its heading as the first row."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    pages = ["".join(out.get("data", {}).get("text/html", "")) for cell in cells for out in cell.get("outputs", [])]
    tables = [found for page in pages for found in re.findall(r"<table.*?</table>", page, re.DOTALL)]
    return [[_cells(row) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)] for table in tables]


def _cells(row: str) -> list[str]:
    found = re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row, re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in found]


if __name__ == "__main__":
    sys.exit(main())
