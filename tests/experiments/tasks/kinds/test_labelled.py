"""What the labels of a batch teach, against the loss under every order of them."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vxlab.experiments.tasks.kinds.labelled import Classification, Regression


class _Answering(nn.Module):
    """Answer with a linear map of x, and with transformers' losses where there are labels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3, width, dtype=torch.float64)

    def forward(self, x, labels=None):
        logits = self.linear(x).tanh()
        if labels is None:
            return SimpleNamespace(logits=logits)
        loss = nn.functional.mse_loss(logits[:, 0], labels) if logits.shape[1] == 1 else None
        return SimpleNamespace(loss=nn.functional.cross_entropy(logits, labels) if loss is None else loss)


def _batch(labels):
    return {"x": torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64), "labels": labels}


CASES = [
    (Classification(), 3, torch.tensor([0, 2, 2, 1])),
    (Regression(), 1, torch.tensor([0.5, -1.0, 3.0, 2.0], dtype=torch.float64)),
]


@pytest.mark.parametrize(("kind", "width", "labels"), CASES)
def test_the_lesson_has_the_gradient_of_the_loss_less_its_mean_over_all_orders_of_the_labels(kind, width, labels):
    torch.manual_seed(0)
    model = _Answering(width)
    weight = model.linear.weight
    (lesson,) = torch.autograd.grad(kind.lesson(model, _batch(labels)), weight)
    orders = [labels[list(order)] for order in itertools.permutations(range(4))]
    mean = sum(kind.batch_loss(model, _batch(each)) for each in orders) / len(orders)
    (brute,) = torch.autograd.grad(kind.batch_loss(model, _batch(labels)) - mean, weight)
    torch.testing.assert_close(lesson, brute, rtol=1e-6, atol=1e-7)  # the lesson is summed in float32


@pytest.mark.parametrize(("kind", "width", "labels"), CASES)
def test_over_all_orders_of_the_labels_the_lessons_cancel(kind, width, labels):
    torch.manual_seed(0)
    model = _Answering(width)
    lessons = [kind.lesson(model, _batch(labels[list(order)])).double() for order in itertools.permutations(range(4))]
    (total,) = torch.autograd.grad(sum(lessons), model.linear.weight)
    assert total.abs().max() < 1e-5


def test_labels_that_are_alike_teach_nothing():
    model = _Answering(2)
    (lesson,) = torch.autograd.grad(
        Classification().lesson(model, _batch(torch.tensor([1, 1, 1, 1]))), model.linear.weight
    )
    assert not lesson.any()
