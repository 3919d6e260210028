"""Parse comma- and tab-separated text strictly: what does not fit is named by its line, never patched up."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vxlab.errors import VxlabError

_SHOWN = 12


@dataclass(frozen=True)
class Table:
    """Hold a file's fields.

    Args:
        header: the names of the columns, without the spaces around them; one may occur twice.
        records: each row's fields by the number of the line it begins at.
        notes: what the user should know of the file, in sentences.
    """

    header: tuple[str, ...]
    records: dict[int, list[Any]]
    notes: tuple[str, ...] = ()


def parse_csv(text: str, place: str) -> Table:
    r"""Parse comma-separated values; a quoted field may hold commas, lines and doubled quotes, an empty one is None.

    A row with fewer fields than columns lacks its last ones. A stray quote that opens a field swallows the rows after
    it: where it is never closed, or closed in the middle of a field, the line is named; where the lines that it
    holds all read as rows of their own, which a text may do as well, they are counted in a note.

    Raises:
        VxlabError: a quote that does not fit, or a row with more fields than columns. The message names the line.

    >>> parse_csv('text,label\n"a, b",1\n', "train.csv").records
    {2: ['a, b', '1']}
    """
    lines = io.StringIO(text, newline="").readlines()  # at \n, \r and \r\n alone: texts may hold U+2028
    records = _parse_records(lines, place)
    header = tuple(name.strip() for name in records.pop(min(records), [])) if records else ()
    if len(header) == 1 and (others := [mark for mark in ";\t|" if mark in header[0]]):
        raise VxlabError(
            f"{place}, line 1: CSV separates fields by commas, and here is {others[0]!r} ({header[0]:.60}); "
            f"pandas.read_csv(FILE, sep={others[0]!r}).to_csv(NEW, index=False) writes commas"
        )
    for line, fields in records.items():
        if len(fields) > len(header):
            raise VxlabError(
                f"{place}, line {line}: {len(fields)} fields where {len(header)} are needed ({list_names(header)}); "
                "put a text that holds a comma between quotes"
            )
    notes = _note_swallowed(lines, records, len(header), place)
    for fields in records.values():
        if "" in fields:
            fields[:] = [field or None for field in fields]
        fields.extend([None] * (len(header) - len(fields)))
    return Table(header, records, notes)


def parse_tsv(text: str, place: str, columns: Sequence[str] = (), skip_malformed: bool = False) -> Table:
    r"""Parse tab-separated values in which quotes mean nothing, and an empty field is an empty text.

    Args:
        text: the file's text.
        place: the file, in the words of an error.
        columns: names of the columns of a file without a header; by default the first line is the header.
        skip_malformed: leave out lines with another number of fields than columns, and say how many, instead of
            raising.

    Raises:
        VxlabError: a line with another number of fields than columns.

    >>> parse_tsv('text\tlabel\n"a"\t1\n', "train.tsv").records
    {2: ['"a"', '1']}
    """
    lines = split_lines(text)
    first = 1 if columns else 2
    header = tuple(columns) or tuple(name.strip() for name in (lines[0].split("\t") if lines else ()))
    records = {number: line.split("\t") for number, line in enumerate(lines[first - 1 :], start=first)}
    malformed = [number for number, row in records.items() if len(row) != len(header)]
    for number in malformed:
        row = records.pop(number)
        if not skip_malformed:
            raise VxlabError(
                f"{place}, line {number}: {len(row)} tab-separated fields where {len(header)} are needed "
                f"({list_names(header)})"
            )
    notes = (f"{place}: {len(malformed)} lines lack fields and are left out",) if malformed else ()
    return Table(header, records, notes + _note_quoted(records, place))


def split_lines(text: str) -> list[str]:
    r"""Split at \n and \r\n, or at \r in a file that has no other line ends; empty lines at the end are none."""
    lines = text.split("\n") if "\n" in text else text.split("\r")  # not splitlines: texts may hold U+2028
    while lines and not lines[-1].strip("\r"):
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def list_names(names: Sequence[Any]) -> str:
    """List the names of columns for a message, which a file without a header may make long."""
    plain = [" ".join(str(name).split()) for name in names[:_SHOWN]]  # a wrong line's end may be in one
    shown = [f"{name:.40}{'...' * (len(name) > 40)}" or "(no name)" for name in plain]
    return ", ".join(shown) + ", ..." * (len(names) > _SHOWN)


def _parse_records(lines: list[str], place: str) -> dict[int, list[Any]]:
    """Return the fields of every row by its first line; an empty line is no row."""
    records: dict[int, list[Any]] = {}
    reader, first = csv.reader(lines, strict=True), 1
    limit = csv.field_size_limit(sum(map(len, lines)) + 1)
    try:
        for fields in reader:
            if fields:
                records[first] = fields
            first = reader.line_num + 1
    except csv.Error as error:
        raise VxlabError(f"{place}, line {first}: {_explain(str(error), reader.line_num)}") from error
    finally:
        csv.field_size_limit(limit)
    return records


def _explain(error: str, line: int) -> str:
    if "end of data" in error:
        return 'the row that begins here opens a quote that is never closed; write a quote in a text as "" in quotes'
    if "expected after" in error:
        return (
            f"the row that begins here has a quote, in line {line}, that closes a field before its end; "
            'write a quote in a text as "" in quotes'
        )
    return f"not readable as CSV ({error})"


def _note_swallowed(lines: list[str], records: dict[int, list[str]], width: int, place: str) -> tuple[str, ...]:
    """Say which rows of several lines would be several rows without their quotes.

    Each line must read as a row: ``width`` fields, one of them with a value that its column has in other rows too.
    """
    if not records:
        return ()
    ends = zip(records, [*list(records)[1:], len(lines) + 1], strict=True)
    long = {first: end for first, end in ends if end > first + 1 and any(_is_long(field) for field in records[first])}
    if not long or width < 2:
        return ()
    counts = [Counter(row[column] for row in records.values() if column < len(row)) for column in range(width)]

    def reads_as_row(line: str) -> bool:
        fields = [field.strip('"') for field in line.rstrip("\r\n").split(",")]
        return len(fields) == width and any(counts[column][field] > 1 for column, field in enumerate(fields))

    spans = {first: [line for line in lines[first - 1 : end - 1] if line.strip()] for first, end in long.items()}
    doubtful = [first for first, span in spans.items() if all(map(reads_as_row, span))]
    if not doubtful:
        return ()
    first, more = doubtful[0], sum(len(spans[each]) - 1 for each in doubtful)
    return (
        f"{place}: {len(doubtful)} quoted text(s) hold lines that read as rows of their own "
        f"(first: lines {first} to {first + len(spans[first]) - 1}); if the quotes are stray, {more} row(s) are lost",
    )


def _is_long(field: str) -> bool:
    return "\n" in field or "\r" in field


def _note_quoted(records: dict[int, list[str]], place: str) -> tuple[str, ...]:
    """Say how many fields of a TSV file look as if quotes were to mean something: in quotes, with doubled ones."""
    quoted = sum(
        field.endswith('"') and '""' in field[1:-1] and '"' not in field[1:-1].replace('""', "")
        for row in records.values()
        for field in row
        if field.startswith('"')
    )
    if not quoted:
        return ()
    return (f'{place}: {quoted} fields stand between quotes ("), which mean nothing in TSV and stay part of the text',)
