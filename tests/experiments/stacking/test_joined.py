"""Batches of several runs in one: equal parts, filled where no row sees it."""

from typing import ClassVar

import pytest
import torch

from vxlab import VxlabError
from vxlab.experiments.stacking.joined import join_batches


class Right:
    padding_side: ClassVar[str] = "right"
    pad_token_id, pad_token_type_id = 7, 1


class Left(Right):
    padding_side = "left"


def batch(rows: int, tokens: int) -> dict[str, torch.Tensor]:
    ids = torch.arange(rows * tokens).reshape(rows, tokens) + 100
    return {"input_ids": ids, "token_type_ids": 0 * ids, "attention_mask": 0 * ids + 1, "labels": torch.zeros(rows)}


@pytest.mark.parametrize("tokenizer", [Right, Left])
def test_filling_is_padding_and_a_repeated_row(tokenizer: type[Right]) -> None:
    joined = join_batches([batch(3, 2), batch(2, 4)], tokenizer)
    assert (joined.rows, joined.tokens, joined.own_tokens) == (3, 4, [2, 4])
    assert joined.inputs["input_ids"].shape == (6, 4)
    own, filling = (slice(0, 2), slice(2, 4)) if tokenizer is Right else (slice(2, 4), slice(0, 2))
    assert torch.equal(joined.inputs["input_ids"][:3, own], batch(3, 2)["input_ids"])
    assert (joined.inputs["input_ids"][:3, filling] == 7).all()
    assert (joined.inputs["attention_mask"][:3, filling] == 0).all()
    assert (joined.inputs["token_type_ids"][:3, filling] == 1).all()
    assert torch.equal(joined.inputs["input_ids"][5], joined.inputs["input_ids"][3])
    assert [len(labels) for labels in joined.labels] == [3, 2]


def test_other_tensors_are_refused() -> None:
    with pytest.raises(VxlabError, match="does not stack with others"):
        join_batches([batch(2, 2), {**batch(2, 2), "pixel_values": torch.ones(2, 2)}], Right)
    with pytest.raises(VxlabError, match=r"pixel_values \(2, 3, 4\)"):
        join_batches([{"pixel_values": torch.ones(2, 3, 4), "labels": torch.zeros(2)}] * 2, Right)


def test_images_are_filled_up_by_rows_alone() -> None:
    one, other = ({"pixel_values": torch.rand(rows, 3, 4, 4), "labels": torch.zeros(rows)} for rows in (3, 2))
    joined = join_batches([one, other], None)
    assert (joined.rows, joined.tokens, joined.own_tokens) == (3, 1, [1, 1])
    assert torch.equal(joined.inputs["pixel_values"][:3], one["pixel_values"])
    assert torch.equal(joined.inputs["pixel_values"][5], other["pixel_values"][0])
