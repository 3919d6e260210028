"""Allocations counted operation by operation: what comes, what goes, and the most at once."""

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vxlab.experiments.costs.allocations import Allocations, storage_id

FLOAT, SIZE = 4, 1000


def test_what_goes_no_longer_counts_and_the_peak_stays():
    with Allocations() as counted:
        first = torch.zeros(SIZE)
        second = first + 1
        del first
        third = second * 2
        del second
    assert (counted.now, counted.peak) == (FLOAT * SIZE, 2 * FLOAT * SIZE)
    del third
    assert counted.now == 0


def test_views_and_changes_in_place_are_no_new_memory():
    before = torch.zeros(SIZE)
    with Allocations() as counted:
        before.view(10, -1).T[3:].add_(1)
        before.detach().mul_(2)
    assert counted.peak == 0


def test_the_backward_pass_is_counted_too():
    x, layer = torch.randn(SIZE, 8), nn.Linear(8, 8)
    with Allocations() as counted:
        layer(x).square().sum().backward()
    assert counted.now == sum(parameter.grad.nbytes for parameter in layer.parameters())
    assert counted.peak > 2 * FLOAT * SIZE * 8


def test_shapes_alone_count_as_the_tensors_would():
    def peak() -> int:
        with Allocations() as counted:
            (torch.zeros(SIZE, dtype=torch.bfloat16).float().exp() + 1).sum()
        return counted.peak

    with FakeTensorMode():
        of_shapes = peak()
    assert of_shapes == peak() == 2 * FLOAT * SIZE + 0 * SIZE


def test_memories_are_told_apart_where_they_hold_nothing():
    with FakeTensorMode():
        one, other = torch.zeros(3), torch.zeros(3)
    assert storage_id(one) == storage_id(one[1:]) != storage_id(other)
