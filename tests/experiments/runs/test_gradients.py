"""The gradient of a task's loss for the weights of a base model, held against autograd."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import toy_runs
import toy_writers
from architectures import ARCHITECTURES
from torch import Tensor, nn

import vxlab
from vxlab.experiments.runs.gradients import first_batches, first_gradients, weight_gradients
from vxlab.experiments.runs.inputs import Materials
from vxlab.experiments.tasks.splits import sample


class Regression(nn.Module):
    """Two layers, the first alone under dropout, with a loss as transformers' models return one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.unused = nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(2, 2)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> SimpleNamespace:
        y = self.second(self.dropout(self.first(x)).tanh())
        return SimpleNamespace(loss=None if labels is None else (y - labels).square().mean())


@pytest.fixture
def model() -> Regression:
    torch.manual_seed(0)
    return Regression()


def rows(count: int) -> dict[str, Tensor]:
    return {"x": torch.randn(count, 5), "labels": torch.randn(count, 3)}


def layers(model: nn.Module) -> dict[str, nn.Module]:
    return {name: model.get_submodule(name) for name in ("first", "second")}


def test_it_is_autograds_gradient_of_all_rows_together_however_they_are_batched(model: Regression) -> None:
    whole = rows(10)
    model.eval()(**whole).loss.backward()
    for sizes in ([10], [4, 4, 2], [1, 9]):
        parts = zip(*(tensor.split(sizes) for tensor in whole.values()), strict=True)
        found = weight_gradients(model, [dict(zip(whole, part, strict=True)) for part in parts], layers(model))
        for name, layer in layers(model).items():
            assert (found[name].dtype, found[name].device.type) == (torch.float32, "cpu")
            torch.testing.assert_close(found[name], layer.weight.grad, rtol=1e-5, atol=1e-7)


def test_a_transposed_weights_gradient_is_out_by_in() -> None:
    model = ARCHITECTURES["gpt2"]().eval()
    batch = {"input_ids": torch.arange(24).reshape(3, 8), "labels": torch.tensor([0, 1, 1])}
    model(**batch).loss.backward()
    targets = vxlab.resolve_targets(model, "mlp")
    for name, gradient in weight_gradients(model, [batch], targets).items():
        weight = targets[name].get_parameter("weight")
        assert gradient.shape == (targets[name].nf, weight.shape[0])
        torch.testing.assert_close(gradient, weight.grad.T, rtol=1e-5, atol=1e-7)


def test_the_model_and_the_random_state_are_left_as_they_were(model: Regression) -> None:
    model.train()
    model.dropout.eval()
    model.first.weight.requires_grad_(False)
    model.second.weight.grad = torch.ones_like(model.second.weight)
    modes = [module.training for module in model.modules()]
    trained, state = [p.requires_grad for p in model.parameters()], torch.get_rng_state()
    batch = rows(4)
    torch.set_rng_state(state)
    with torch.no_grad():
        assert weight_gradients(model, [batch], layers(model))["first"].any()
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == trained
    assert torch.equal(torch.get_rng_state(), state)
    assert (model.second.weight.grad == 1).all()
    assert model.first.weight.grad is None


def test_a_model_is_left_as_it_was_also_where_a_batch_fails(model: Regression) -> None:
    model.train()

    def failing() -> Iterator[dict[str, Tensor]]:
        yield rows(2)
        raise OSError("no more rows")

    with pytest.raises(OSError, match="no more rows"):
        weight_gradients(model, failing(), layers(model))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_dropout_is_off(model: Regression) -> None:
    batch = rows(6)
    first, second = (weight_gradients(model.train(), [batch], layers(model)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_layer_that_the_loss_does_not_reach_has_a_gradient_of_zero(model: Regression) -> None:
    assert not weight_gradients(model, [rows(2)], {"unused": model.unused})["unused"].any()


@pytest.mark.parametrize(
    ("batches", "names", "message"),
    [
        ([], ["first"], "batches is empty, so there is no gradient"),
        ([{"x": torch.ones(2, 5)}], ["first"], "this Regression returned no loss; give every batch its labels"),
        ([{"x": torch.ones(0, 5), "labels": torch.ones(0, 3)}], ["first"], "a batch without examples"),
        ([{"x": torch.ones(1, 5), "labels": torch.ones(1, 3)}], [], "layers is empty; pass vxlab.resolve_targets"),
    ],
)
def test_what_has_no_gradient_is_refused(model: Regression, batches: Any, names: list[str], message: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=message):
        weight_gradients(model, batches, {name: model.get_submodule(name) for name in names})


def test_a_runs_first_gradients_are_those_of_a_stratified_sample_at_its_own_start(
    tiny_model: str, toy_task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, materials = toy_runs.spec(tiny_model, toy_task, seed=4), Materials()
    torch.manual_seed(9)
    before = torch.get_rng_state()
    with monkeypatch.context() as patch:  # the generators of GPUs are the caller's, and nothing puts them back
        patch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("a GPU's generator was seeded"))
        found = first_gradients(spec, materials, batches=3)
    assert torch.equal(torch.get_rng_state(), before)

    torch.manual_seed(4)
    own = materials.model(spec)
    train = spec.load_task().splits["train"]
    texts = train.select(sample(np.array(train["label"]), 24, seed=0))
    batch = materials.tokenizer(spec)(list(texts["text"]), padding=True, return_tensors="pt")
    own(**batch, labels=torch.tensor(list(texts["label"]))).loss.backward()
    assert list(found) == list(vxlab.resolve_targets(own, "query-value"))
    for name, gradient in found.items():
        expected = own.get_parameter(f"{name}.weight").grad
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)
    own.zero_grad()
    given = first_gradients(spec, materials, batches=3, model=own)
    assert all(torch.equal(given[name], found[name]) for name in found)


def test_every_first_batch_of_a_file_sorted_by_label_has_its_mix(
    tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    task = Path(shutil.copytree(toy_task, tmp_path / "sorted"))
    header, *rows = (task / "train.csv").read_text().splitlines()
    (task / "train.csv").write_text("\n".join([header, *sorted(rows, key=lambda row: row.split(",")[1])]) + "\n")
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    found = [
        [batch["labels"].tolist() for batch in first_batches(spec, Materials(), 3)]
        for spec in (toy_runs.spec(tiny_model, str(task), batch_size=10, seed=seed) for seed in (0, 1))
    ]
    assert [[sum(labels) for labels in batches] for batches in found] == [[4, 4, 4]] * 2  # two in five, as in all rows
    assert found[0] == found[1]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_first_batches_end_where_the_split_does(tiny_model: str, toy_task: str) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, batch_size=50)
    batches = list(first_batches(spec, Materials(), 7))
    assert [len(batch["labels"]) for batch in batches] == [50, 50, 20]
    with pytest.raises(vxlab.VxlabError, match="batches=0 is not a positive integer"):
        first_gradients(spec, Materials(), batches=0)


@pytest.mark.parametrize("packing", [False, True])
def test_where_the_model_writes_a_batch_counts_by_its_examples(tiny_writer, toy_prompts, packing):
    method = vxlab.LoRAXS(rank=2, basis="gradient")
    spec = toy_writers.spec(tiny_writer, toy_prompts, method=method, train_examples=20, packing=packing)
    materials = Materials()
    model = vxlab.load_model(tiny_writer, 0).double()
    targets = vxlab.resolve_targets(model, spec.targets)
    expected = {name: torch.zeros_like(layer.weight) for name, layer in targets.items()}
    batches = list(first_batches(spec, materials, 16))
    assert [len(batch["labels"]) for batch in batches] == [8, 8, 4]
    for batch in batches:
        loss = model(**batch).loss  # transformers' own: the mean over the answers' tokens
        found = torch.autograd.grad(loss, [layer.weight for layer in targets.values()])
        for name, gradient in zip(targets, found, strict=True):
            expected[name] += gradient * len(batch["labels"]) / 20
    for name, gradient in first_gradients(spec, materials).items():
        torch.testing.assert_close(gradient.double(), expected[name], rtol=1e-4, atol=1e-7)
    assert vxlab.adapted_layers(materials.adapted(materials.job(spec))).keys() == targets.keys()
