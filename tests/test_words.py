"""Numbers, lists and names in words."""

import math

import pytest

from vxlab import words


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (-0.5, ".1f", "−0.5"), (-0.04, ".1f", "0.0"), (-0.04, "+.1f", "+0.0"), (-0.0, ".0%", "0%"), (-2, "d", "−2"),
        (0, "d", "0"), (-1e-9, ".1e", "−1.0e−09"), (-math.inf, ".1f", "−inf"), (math.nan, ".1f", "nan"),
    ],
)  # fmt: skip
def test_a_number_has_a_true_minus_and_what_rounds_to_zero_none(value: float, form: str, text: str) -> None:
    assert words.write_number(value, form) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (1e-5, "0.001 %"), (2e-6, "2.0e-04 %"), (0.1234, "12.3 %"), (1.0, "100 %")]
)
def test_a_share_has_three_digits_however_small(share: float, text: str) -> None:
    assert words.percent(share) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (123_456, "123 kB"), (2.5e9, "2.5 GB"), (4e12, "4,000 GB")],
)
def test_bytes_go_in_thousands(number: float, text: str) -> None:
    assert words.in_bytes(number) == text


@pytest.mark.parametrize(("seconds", "text"), [(59.1, "60 s"), (60, "1 min"), (61, "2 min"), (3600, "1 h 0 min")])
def test_time_left_is_rounded_up(seconds: float, text: str) -> None:
    assert words.time_left(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 runs"), (1, "1 run"), (1234, "1,234 runs")])
def test_one_thing_has_no_s(number: int, text: str) -> None:
    assert words.number_of(number, "run") == text


@pytest.mark.parametrize(
    ("word", "choices", "text"),
    [
        ("veera", ["lora", "vera"], "; did you mean 'vera'? (known: lora, vera)"),
        ("zzz", ["lora", "vera"], "; known: lora, vera"),
        ("zzz", [], "; known: none"),
        (12, [1, 123], "; did you mean '123'? (known: 1, 123)"),
    ],
)
def test_an_unknown_word_is_told_the_nearest(word: object, choices: list[object], text: str) -> None:
    assert words.nearest(word, choices) == text
    assert words.nearest(word, iter(choices)) == text
