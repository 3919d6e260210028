"""The cost model, against counting every way through a layer."""

import itertools
from collections.abc import Iterator

import pytest

from vxlab.adapters.core.cost_model import Plan, choose_route

SHAPES = [(768, 768), (3072, 768), (768, 3072), (64, 4096)]
RANKS = [1, 8, 64, 256, 600, 1024]
TOKENS = [0, 1, 100, 700, 1000, 2048, 8192, 100_000]


def multiplications(way: Plan, T: int, out: int, n: int, r: int, left: bool, right: bool, weight: bool) -> float:
    """Count one forward and backward pass with the input's gradient, beyond x·Wᵀ and gy·W; inf where impossible."""
    z_there = way.keep_z or not way.fold_forward
    total = r * out * n if way.fold_forward else T * r * out
    total += T * r * n if z_there else 0
    total += r * out * n if way.fold_backward else T * r * n
    gz_there = not way.fold_backward or (right and not way.whole_gradient)
    total += T * r * out if gz_there else 0
    if way.whole_gradient:
        if not way.keep_x:
            return float("inf")
        total += 0 if weight else T * out * n
        return total + r * out * n * (left + right)
    if left:
        if not (way.keep_z or way.keep_x):
            return float("inf")
        total += T * r * out + (0 if way.keep_z else T * r * n)
    if right:
        if not way.keep_x:
            return float("inf")
        total += T * r * n
    return total


def ways(keep_x: bool, may_fold: bool) -> Iterator[Plan]:
    folds = [False, True] if may_fold else [False]
    for forward, backward, keep_z, whole in itertools.product(folds, folds, [False, True], [False, True]):
        yield Plan(forward, backward, keep_x, keep_z, whole)


@pytest.mark.parametrize("may_fold", [True, False])
@pytest.mark.parametrize(
    ("left", "right", "weight"),
    [(True, False, False), (True, True, False), (False, False, False), (True, True, True)],
    ids=["left", "left and right", "nothing", "everything"],
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_other_way_that_keeps_the_same_multiplies_less(
    shape: tuple[int, int], left: bool, right: bool, weight: bool, may_fold: bool
) -> None:
    for r, T in itertools.product(RANKS, TOKENS):
        chosen = choose_route(
            T, *shape, r, may_fold=may_fold, left_trains=left, right_trains=right, weight_trains=weight
        )
        # Where x is kept because it is the smaller, z is not kept too.
        x_alone = chosen.keep_x and not right
        candidates = [way for way in ways(chosen.keep_x, may_fold) if not (way.keep_z and x_alone)]
        best = min(multiplications(way, T, *shape, r, left, right, weight) for way in candidates)
        assert multiplications(chosen, T, *shape, r, left, right, weight) <= best * (1 + 1e-9), (r, T, chosen)


@pytest.mark.parametrize(("rank", "kept"), [(8, "z"), (768, "z"), (769, "x"), (1024, "x")])
def test_a_frozen_right_keeps_the_smaller_of_z_and_x(rank: int, kept: str) -> None:
    chosen = choose_route(2048, 3072, 768, rank, may_fold=True, left_trains=True, right_trains=False)
    assert (chosen.keep_z, chosen.keep_x) == (kept == "z", kept == "x")


def test_nothing_is_kept_where_nothing_trains() -> None:
    chosen = choose_route(2048, 768, 768, 8, may_fold=True, left_trains=False, right_trains=False)
    assert (chosen.keep_x, chosen.keep_z, chosen.whole_gradient) == (False, False, False)


def test_folding_starts_where_the_tokens_outnumber_the_features() -> None:
    def folds(tokens: int, out: int, n: int, right: bool) -> tuple[bool, bool]:
        chosen = choose_route(tokens, out, n, 8, may_fold=True, left_trains=True, right_trains=right)
        return chosen.fold_forward, chosen.fold_backward

    assert folds(768, 3072, 768, True) == (False, False)
    assert folds(769, 3072, 768, True) == (True, False)
    assert folds(3073, 3072, 768, True) == (True, True)
    assert folds(616, 3072, 768, False) == (False, True)  # gz is not needed: T·(in + out) > in·out


def test_half_precision_and_dropout_never_fold() -> None:
    chosen = choose_route(100_000, 768, 768, 8, may_fold=False, left_trains=True, right_trains=True)
    assert (chosen.fold_forward, chosen.fold_backward) == (False, False)


def test_the_whole_gradient_is_taken_beyond_half_the_width() -> None:
    def whole(rank: int, right: bool) -> bool:
        return choose_route(100_000, 768, 768, rank, may_fold=True, left_trains=True, right_trains=right).whole_gradient

    assert [whole(rank, True) for rank in (150, 250)] == [False, True]  # LoRA: four thin products against one whole
    assert [whole(rank, False) for rank in (768, 769)] == [False, True]  # VeRA: as soon as x is the smaller
