"""Parse rows written as JSON: one list of objects, or one object a line."""

import json
from typing import Any

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows.delimited import split_lines

_ONE_OBJECT = (
    "the file is one object; write a list of objects, one for each row, or one a line, "
    "such as pandas' to_json(NEW, orient='records')"
)


def parse_json(text: str, place: str) -> tuple[dict[int, dict[str, Any]], str]:
    r"""Parse a list of objects, or one object a line.

    Returns:
        The rows by their number, and what is counted: ``row`` from 1 in a list, else ``line``.

    Raises:
        VxlabError: what is not JSON, a row that is no object, or an object that has a key twice.

    >>> parse_json('{"text": "a"}\n\n{"text": "b"}\n', "train.jsonl")
    ({1: {'text': 'a'}, 3: {'text': 'b'}}, 'line')
    """
    if text.lstrip().startswith("["):
        rows, unit = dict(enumerate(_parse(text, place), start=1)), "row"
    else:
        lines, unit = enumerate(split_lines(text), start=1), "line"
        try:
            rows = {number: _parse(line, f"{place}, line {number}") for number, line in lines if line.strip()}
        except VxlabError as error:
            raise _explain(text, place, error) from error
    if len(rows) == 1 and all(_is_object_of_columns(row) for row in rows.values()):
        raise VxlabError(f"{place}: {_ONE_OBJECT}")
    for number, row in rows.items():
        if not isinstance(row, dict):
            raise VxlabError(
                f'{place}, {unit} {number}: every row must be an object, such as {{"text": "...", "label": 0}}'
            )
    return rows, unit


def _explain(text: str, place: str, error: VxlabError) -> VxlabError:
    """Return the error of a line, or that of a file which is one object over many lines."""
    try:
        _parse(text, place)
    except VxlabError:
        return error
    return VxlabError(f"{place}: {_ONE_OBJECT}")


def _is_object_of_columns(row: Any) -> bool:
    """Say whether a row's values are all columns; a row may hold the turns of a chat alone."""
    if not isinstance(row, dict) or row.keys() <= {"messages"}:
        return False
    return all(isinstance(value, dict | list) for value in row.values())


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise VxlabError(f"{where}: not JSON of rows (nested too deeply)") from error
    except ValueError as error:  # also a number of more digits than Python reads
        raise VxlabError(f"{where}: not JSON ({str(error).split(';')[0]})") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice[:40]!r} stands twice in one object")
    if not all(map(str.isascii, found)):
        "".join(found).encode()  # half of a character (a lone surrogate) raises an error that is a ValueError
    return found
