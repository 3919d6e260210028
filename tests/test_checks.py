"""Fields checked by their annotations: what is taken, what is turned into what, and what the refusals say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vxlab.checks import settle, settle_fields
from vxlab.errors import VxlabError


@pytest.mark.parametrize(
    ("given", "annotation", "settled"),
    [
        (np.int64(3), int, 3),
        (2**70, int, 2**70),
        (np.float32(1e-3), float, 1e-3),
        (np.array(0.5), float, 0.5),
        (Fraction(1, 2), float, 0.5),
        (8, float, 8),
        (np.False_, bool, False),
        (Path("a") / "b", str, "a/b"),
        (np.str_("a"), str, "a"),
        (None, int | None, None),
        ("review", tuple[str, ...], ("review",)),
        (["a", Path("b")], tuple[str, ...], ("a", "b")),
        ([], tuple[str, ...], ()),
        ("query-value", str | tuple[str, ...], "query-value"),
        (["query", "value"], str | tuple[str, ...] | None, ("query", "value")),
        (1e-3, tuple[float, ...], (1e-3,)),
        (np.array([1e-3, 2e-3]), tuple[float, ...], (1e-3, 2e-3)),
        (range(2), tuple[int, ...], (0, 1)),
        ({"value", "query", "key"}, str | tuple[str, ...], ("key", "query", "value")),
    ],
)
def test_what_means_a_value_becomes_it(given: Any, annotation: Any, settled: Any) -> None:
    result = settle("x", given, annotation)
    assert result == settled
    assert type(result) is type(settled)


@pytest.mark.parametrize(
    ("given", "annotation", "message"),
    [
        ("8", int, "x='8' is a text; it must be a whole number: write x=8, without quotes"),
        ("8.5", int, "x='8.5' is a text; it must be a whole number, such as x=8"),
        (2.0, int, "x=2.0 is a float; it must be a whole number, such as x=8"),
        (True, int, "x=True is a bool; it must be a whole number, such as x=8"),
        ("1e-3", float | None, "x='1e-3' is a text; it must be a number or None: write x=1e-3, without quotes"),
        (float("inf"), float, "x=inf is not finite; it must be a number, such as x=0.001"),
        (np.nan, float, "x=nan is not finite; it must be a number, such as x=0.001"),
        (10**400, float, f"x=1{'0' * 78}… is not finite; it must be a number, such as x=0.001"),
        (np.eye(30), float, "x=array([[1., 0., 0., "),
        ("No", bool, "x='No' is a text; it must be True or False: write x=False"),
        (1, bool, "x=1 is an int; it must be True or False: write x=True"),
        (b"a", str, "x=b'a' is a bytes; it must be a text, such as x='name'"),
        (3, tuple[str, ...], "x=3 is an int; it must be a text or a list of texts, such as x=['name']"),
        ({"a": 1}, tuple[str, ...], "x={'a': 1} is a dict; it must be a text or a list of texts, such as x=['name']"),
        (["a", 1], str | tuple[str, ...], "x=['a', 1] is a list; it must be a text or a list of texts, such as x='na"),
        ("1e-3", tuple[float, ...], "x='1e-3' is a text; it must be a number or a list of numbers: write x=1e-3, wi"),
    ],
)
def test_what_does_not_is_refused_with_the_repair(given: Any, annotation: Any, message: str) -> None:
    with pytest.raises(VxlabError) as refused:
        settle("x", given, annotation)
    assert str(refused.value).startswith(message)


def test_a_value_that_has_no_text_or_a_long_one_is_still_refused_on_one_line() -> None:
    with pytest.raises(VxlabError, match=r"^x=<int> is not finite; it must be a number"):
        settle("x", 10**5000, float)
    with pytest.raises(VxlabError) as refused:
        settle("x", np.eye(300), int)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200


@dataclass(frozen=True)
class Settings:
    rank: int
    names: tuple[str, ...] = ()
    others: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settle_fields(self, "Settings ")


def test_every_field_is_settled_in_place_and_what_is_not_understood_is_left_alone() -> None:
    others = {"rank": "8"}
    settings = Settings(np.int32(2), ["a"], others)  # type: ignore[arg-type]
    assert (settings.rank, settings.names) == (2, ("a",))
    assert settings.others is others
    with pytest.raises(VxlabError, match=r"^Settings rank='2' is a text"):
        Settings("2")  # type: ignore[arg-type]


def test_names_with_whole_numbers_become_a_mapping_that_never_changes() -> None:
    given = {"value": np.int64(16), "query": 4}
    settled = settle("rank", given, int | Mapping[str, int])
    assert settled == {"query": 4, "value": 16}
    assert [type(each) for each in settled.values()] == [int, int]
    assert hash(settled) == hash(settle("rank", dict(reversed(given.items())), Mapping[str, int]))
    assert settle("rank", settled, int | Mapping[str, int]) == settled


@pytest.mark.parametrize("given", [{"query": 4.5}, {"query": True}, {"query": "4"}, {0: 4}, {"query": {}}, [4, 8]])
def test_names_with_anything_else_are_refused(given: Any) -> None:
    with pytest.raises(VxlabError, match=r"must be a whole number or a mapping of names to whole numbers"):
        settle("rank", given, int | Mapping[str, int])


def _in_a_function() -> Callable[..., Any]:
    class Local:
        pass

    @dataclass
    class Own:
        rank: "int"
        local: "Local"

        def __post_init__(self) -> None:
            settle_fields(self)

    return Own


def test_a_class_whose_annotations_cannot_be_looked_up_is_left_alone() -> None:
    assert _in_a_function()("8", None).rank == "8"
