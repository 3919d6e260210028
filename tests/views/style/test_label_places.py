"""Labels lie on no other label and on no mark, where there is a place."""

import math

from vxlab.views.style import LabelPlaces


def test_a_label_stands_beside_its_mark_where_nothing_is_in_the_way():
    labels = LabelPlaces([0, 1, 2], [0, 1, 2], [])
    assert [labels.place(x, x, side) for x, side in ((0, -1), (1, 1), (2, 1))] == [
        "middle left", "middle right", "middle right",
    ]  # fmt: skip


def test_two_labels_between_their_marks_part():
    labels = LabelPlaces([0.0, 0.45, 0.55, 1.0], [0.0, 5.0, 5.0, 10.0], [])
    assert [labels.place(0.45, 5.0, 1), labels.place(0.55, 5.0, -1)] == ["middle right", "top left"]


def test_a_mark_that_is_another_candidates_is_not_covered():
    labels = LabelPlaces([0.0, 0.5, 0.53, 0.53, 1.0], [0.0, 5.0, 5.0, 5.35, 10.0], [])
    assert labels.place(0.5, 5.0, 1) == "bottom right"


def test_where_every_place_is_taken_it_stands_beside_its_mark():
    labels = LabelPlaces([0.5], [5.0], [0.0, 10.0, math.nan])
    placed = [labels.place(0.5, 5.0, -1) for _ in range(7)]
    places = [f"{level} {side}" for side in ("left", "right") for level in ("middle", "top", "bottom")]
    assert placed == [*places, "middle left"]


def test_no_marks_and_one_mark_are_placed():
    assert LabelPlaces([], [], []).place(1.0, 2.0, 1) == "middle right"
    assert LabelPlaces([3.0], [2.0], [[math.nan, math.nan]]).place(3.0, 2.0, -1) == "middle left"
