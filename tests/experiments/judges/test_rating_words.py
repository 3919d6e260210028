"""Ratings found in a judge's words, by hand."""

import pytest

from vxlab.experiments.judges.rating_words import find_rating


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("Clear and right.\n\nRating: [[9]]", 9.0),
        ("Rating: [[10]]", 10.0),
        ("[[7.5]]", 7.5),
        ("[[8.]]", 8.0),
        ("Rating: [6]", 6.0),
        ("As [3] says, it is wrong. Rating: [[2]]", 2.0),
        ("First [[4]], or rather [[5]]", 4.0),
        ("Rating: [[rating]]", None),
        ("Rating: [[11]]", None),
        ("Rating: [[0]]", None),
        ("Rating: [[-3]]", None),
        ("Rating: 9", None),
        ("Rating: [[9", None),
        ("Rating: [[nine]]", None),
        ("9/10", None),
        ("", None),
        ("<think>[[3]]? No.</think>\n[[8]]", 8.0),
        ("<think>It could be a [[3]], or", None),
        ("Rating: [[9 out of 10]]", None),
    ],
)
def test_ratings(text, rating):
    assert find_rating(text) == rating
