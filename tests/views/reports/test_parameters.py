from pathlib import Path

import pytest
import toy_notebooks as toy

from vxlab import VxlabError
from vxlab.views.reports.parameters import Parameter, as_text, check, from_text, parse, read, shared_from_text


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return toy.write(tmp_path / "rank.ipynb")


def test_read_finds_name_type_default_and_help(notebook: Path) -> None:
    found = read(notebook)
    assert list(found) == ["rank", "method", "learning_rate", "seed", "kinds", "sizes", "merged"]
    assert found["rank"] == Parameter("rank", "int", 8, "rank of the update")
    assert found["learning_rate"] == Parameter("learning_rate", "float", 0.01, "of the adapter; a second = sign")
    assert found["seed"] == Parameter("seed", "int | None", None, "none: drawn")
    assert found["kinds"].default == ["query", "value"]


def test_a_type_that_may_be_none_is_written_either_way(tmp_path: Path) -> None:
    cell = "from typing import Optional\n\na: Optional[int] = None\nb: int | None = None\nc: Optional[str] = 'x'"
    found = read(toy.write(tmp_path / "a.ipynb", parameters=cell))
    assert {name: each.hint for name, each in found.items()} == {
        "a": "int | None",
        "b": "int | None",
        "c": "str | None",
    }


def test_read_takes_the_type_from_the_default_where_there_is_no_hint(tmp_path: Path) -> None:
    found = read(toy.write(tmp_path / "a.ipynb", parameters="import os\n'words'\nshift = -3\nname = 'a # b'  # a name"))
    assert list(found.values()) == [Parameter("shift", "int", -3, ""), Parameter("name", "str", "a # b", "a name")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rank: int = 4 * 2", "parameter rank has no literal default"),
        ("rank: int", "parameter rank has no literal default"),
        ("rank: dict = {}", "parameter rank has type dict; use one of str, bool, int"),
        ("rank = None", "parameter rank has type NoneType; use one of"),
        ("rank: int = 'eight'", "parameter rank='eight' is not of type int; give a whole number"),
        ("%matplotlib inline", "line 1 of the parameters cell is no Python"),
    ],
)
def test_read_refuses_lines_of_another_form(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(VxlabError, match=message):
        read(toy.write(tmp_path / "a.ipynb", parameters=line))


def test_read_refuses_a_notebook_without_a_tagged_cell(tmp_path: Path) -> None:
    with pytest.raises(VxlabError, match="has no code cell tagged 'parameters'; tag the cell"):
        read(toy.write(tmp_path / "a.ipynb", toy.code("rank = 8"), parameters=None))


def test_check_returns_hinted_types_in_the_notebooks_order(notebook: Path) -> None:
    given = {"sizes": (4, 8), "seed": None, "learning_rate": 1, "rank": 64}
    values = check(notebook, given)
    assert values == {"rank": 64, "learning_rate": 1.0, "seed": None, "sizes": [4, 8]}
    assert list(values) == ["rank", "learning_rate", "seed", "sizes"]
    assert type(values["learning_rate"]) is float


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("rank", "64", "int; give a whole number such as 8"),
        ("rank", 8.0, "int; give"),
        ("rank", True, "int; give"),
        ("rank", None, "int; give"),
        ("learning_rate", False, "float; give a number such as 1e-4"),
        ("method", 3, "str; give text"),
        ("merged", 1, "bool; give true or false"),
        ("seed", 1.5, r"int \| None; give a whole number such as 8, or none"),
        ("sizes", ["8"], r"list\[int\]; give whole numbers with commas between"),
        ("kinds", "query", r"list\[str\]; give names with commas between"),
    ],
)
def test_check_refuses_a_value_of_another_type(notebook: Path, name: str, value: object, wanted: str) -> None:
    with pytest.raises(VxlabError, match=f"parameter {name}=.* is not of type {wanted}"):
        check(notebook, {name: value})


@pytest.mark.parametrize("door", [check, from_text])
def test_an_unknown_name_is_refused_with_the_nearest_and_all(notebook: Path, door) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(
        VxlabError, match=r"rank\.ipynb has no parameter 'rnak'; did you mean 'rank'\? \(it has: rank, meth"
    ):
        door(notebook, {"rnak": "8"})


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("007", "str", "007"),
        ("none", "str", "none"),
        ("true", "str", "true"),
        ("none", "str | None", None),
        ("007", "int", 7),
        ("-3", "int", -3),
        ("None", "int | None", None),
        ("1e-4", "float", 1e-4),
        ("3", "float", 3.0),
        ("none", "float | None", None),
        ("True", "bool", True),
        ("false", "bool", False),
        ("8, 16", "list[int]", [8, 16]),
        ("8", "list[int]", [8]),
        ("", "list[int]", []),
        ("query,value", "list[str]", ["query", "value"]),
    ],
)
def test_parse_goes_by_the_hint(text: str, hint: str, value: object) -> None:
    assert parse(text, hint) == value
    assert type(parse(text, hint)) is type(value)
    assert parse(as_text(value), hint) == value


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("8.0", "int"),
        ("none", "int"),
        ("", "int"),
        ("nan", "float"),
        ("inf", "float"),
        ("fast", "float"),
        ("1", "bool"),
        ("yes", "bool"),
        ("8,x", "list[int]"),
        ("['query']", "list[str]"),
    ],
)
def test_parse_refuses_what_is_not_of_the_type(text: str, hint: str) -> None:
    with pytest.raises(VxlabError, match=r"is not of type .*; give "):
        parse(text, hint)


def test_from_text_names_the_parameter_that_it_refuses(notebook: Path) -> None:
    assert from_text(notebook, {"seed": "none", "method": "007"}) == {"seed": None, "method": "007"}
    with pytest.raises(VxlabError, match="parameter rank: 'many' is not of type int; give a whole number such as 8"):
        from_text(notebook, {"rank": "many"})


@pytest.mark.parametrize("url", ["postgresql://me:s3cret@host/db", "postgresql://me@host/db?password=s3cret"])
def test_a_value_with_a_password_is_refused_and_not_shown(url: str, tmp_path: Path) -> None:
    notebook = toy.write(tmp_path / "a.ipynb")
    for refused in (
        lambda: check(notebook, {"method": url}),
        lambda: check(notebook, {"kinds": ["query", url]}),
        lambda: check(notebook, {"rank": url}),
        lambda: from_text(notebook, {"method": url}),
        lambda: from_text(notebook, {"rank": url}),
        lambda: shared_from_text([notebook], {"kinds": f"query,{url}"}),
    ):
        with pytest.raises(VxlabError) as said:
            refused()
        assert "s3cret" not in f"{said.value} {said.value.__cause__}"
    with pytest.raises(VxlabError, match=r"parameter method holds a password .* PGPASSWORD or ~/\.pgpass"):
        check(notebook, {"method": url})
