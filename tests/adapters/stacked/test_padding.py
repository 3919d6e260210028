import pytest
import torch

from vxlab.adapters.stacked.padding import keep_once, leading_block, pad_together, padding_mask
from vxlab.errors import VxlabError


def test_blocks_of_one_matrix_are_kept_once_and_others_padded():
    whole = torch.randn(4, 6)
    alike = keep_once([whole[:2], whole, whole[:3, :5]], "A")
    assert alike.tensor is whole
    other = whole[:2].clone()
    other[0, 0] += 1
    apart = keep_once([other, whole], "A")
    assert apart.tensor.shape == (2, 4, 6)
    assert torch.equal(leading_block(apart.tensor[0], apart.sizes[0]), other)
    assert not apart.tensor[0, 2:].any()
    crossed = keep_once([whole[:2], whole[:, :3]], "A")  # neither holds the other
    assert crossed.tensor.shape == (2, 4, 6)


def test_a_mask_is_one_on_what_is_an_adapters_own():
    tensors = [torch.ones(2, 1), torch.ones(1, 3)]
    padded = pad_together(tensors, "A")
    assert torch.equal(padding_mask([each.shape for each in tensors], padded), padded)
    assert padding_mask([torch.Size([2, 3])] * 2, padded) is None


def test_tensors_of_other_dimensions_do_not_go_together():
    with pytest.raises(VxlabError, match=r"number of dimensions of `layer\.A`"):
        pad_together([torch.ones(2), torch.ones(2, 2)], "`layer.A`")
