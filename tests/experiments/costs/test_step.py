"""What a step costs: activations against a count by hand, memory by category, and timing in turn."""

import weakref
from contextlib import nullcontext
from types import SimpleNamespace

import image_models
import pytest
import torch
from architectures import ARCHITECTURES, VOCABULARY
from torch import nn

import vxlab
from vxlab.experiments.costs import step as step_cost
from vxlab.experiments.costs.step import (
    forward_loss,
    kernels,
    random_batch,
    saved_activation_bytes,
    step_memory,
    time_call,
    training_step,
)

TOKENS, WIDTH, MIDDLE, OUT = 10, 6, 7, 3
FLOAT = 4  # bytes


def _stack(*trained: int) -> nn.Sequential:
    """Return three linear layers, of which those numbered train."""
    layers = [nn.Linear(WIDTH, MIDDLE), nn.Linear(MIDDLE, MIDDLE), nn.Linear(MIDDLE, OUT)]
    for number, layer in enumerate(layers):
        layer.requires_grad_(number in trained)
    return nn.Sequential(*layers)


@pytest.fixture
def bert():
    return ARCHITECTURES["bert"]()


def test_activations_of_linear_layers_are_their_inputs():
    x = torch.randn(TOKENS, WIDTH)
    kept = saved_activation_bytes(model := _stack(0, 1, 2), lambda: model(x))
    assert kept == FLOAT * TOKENS * (WIDTH + MIDDLE + MIDDLE)


@pytest.mark.parametrize(("trained", "widths"), [((2,), MIDDLE), ((1,), MIDDLE), ((0,), WIDTH), ((), 0)])
def test_a_frozen_layer_keeps_no_input_and_its_weight_never_counts(trained, widths):
    x = torch.randn(TOKENS, WIDTH)
    model = _stack(*trained)
    assert saved_activation_bytes(model, lambda: model(x)) == FLOAT * TOKENS * widths


def test_buffers_do_not_count():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.ones(TOKENS, WIDTH))
            self.shift = nn.Parameter(torch.zeros(WIDTH))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + self.shift) * self.scale

    model, x = Scaled(), torch.randn(TOKENS, WIDTH)
    assert saved_activation_bytes(model, lambda: model(x)) == 0


def test_views_of_one_storage_count_once_and_whole():
    x = torch.randn(TOKENS, WIDTH, requires_grad=True)

    def forward() -> torch.Tensor:
        hidden = x * 1.0  # saves nothing: the factor is a number
        return hidden[:5].square().sum() + hidden[5:].square().sum() + hidden.T.square().sum()

    assert saved_activation_bytes(nn.Identity(), forward) == FLOAT * TOKENS * WIDTH


def test_saved_tensors_that_come_and_go_do_not_hide_each_other():
    layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(20))

    def forward() -> torch.Tensor:
        hidden = torch.randn(TOKENS, WIDTH)
        for layer in layers:
            hidden = layer(hidden)
        return hidden

    assert saved_activation_bytes(layers, forward) == FLOAT * TOKENS * WIDTH * 20


def test_counting_leaves_nothing_behind():
    class Mark:
        """Lives as long as the graph."""

    marks = []

    def forward() -> torch.Tensor:
        hidden = torch.zeros(3, requires_grad=True).exp()  # saves its own output, which holds the graph
        mark = hidden.grad_fn.metadata["mark"] = Mark()
        marks.append(weakref.ref(mark))
        return hidden

    saved_activation_bytes(nn.Identity(), forward)
    assert marks[0]() is None


def test_memory_by_category_is_what_the_model_and_the_optimizer_hold(bert):
    weights = FLOAT * sum(p.numel() for p in bert.parameters()) + sum(b.nbytes for b in bert.buffers())
    vxlab.attach(bert, vxlab.LoRA(rank=2), "all-linear")
    trained = FLOAT * sum(p.numel() for p in bert.parameters() if p.requires_grad)
    head = FLOAT * vxlab.trainable_parameters(bert).head
    tensors = sum(p.requires_grad for p in bert.parameters())
    optimizer = torch.optim.AdamW([p for p in bert.parameters() if p.requires_grad])
    memory = step_memory(bert, random_batch(bert, 2, 7), optimizer)
    assert memory.weights == weights
    assert memory.adapter == trained - head
    assert memory.gradients == trained
    assert memory.optimizer == 2 * trained + FLOAT * tensors  # two moments, and each tensor's count of steps
    assert memory.activations > 0
    assert memory.temporary >= 0
    assert memory.peak >= memory.weights + memory.adapter + memory.optimizer + memory.activations


def test_what_layers_share_counts_once(bert):
    vxlab.attach(bert, vxlab.VeRA(rank=4), "query-value")
    optimizer = torch.optim.AdamW([p for p in bert.parameters() if p.requires_grad])
    adapter = step_memory(bert, random_batch(bert, 2, 7), optimizer).adapter
    assert adapter == FLOAT * (4 * 32 + 32 * 4 + 4 * (32 + 4))  # A, B, and of four layers b and d


def test_a_model_of_which_nothing_trains_needs_no_optimizer(bert):
    bert.requires_grad_(False)
    bert.get_input_embeddings().register_forward_hook(lambda module, inputs, output: output.requires_grad_())
    memory = step_memory(bert, random_batch(bert, 2, 7), None)
    assert (memory.adapter, memory.gradients, memory.optimizer) == (0, 0, 0)
    assert memory.activations > 0


def test_the_peak_of_one_big_temporary_is_seen(bert):
    big = 50_000_000
    optimizer = torch.optim.AdamW(bert.parameters())
    batch = random_batch(bert, 2, 7)
    before = step_memory(bert, batch, optimizer)
    bert.register_forward_hook(lambda *_: _waste(big))
    after = step_memory(bert, batch, optimizer)
    assert after.activations == before.activations
    assert before.peak - before.weights - before.optimizer < big < after.peak - after.weights - after.optimizer


def _waste(size: int) -> None:
    torch.empty(size, dtype=torch.uint8).fill_(1)


def test_a_step_trains_and_one_without_an_optimizer_does_not(bert):
    batch = random_batch(bert, 2, 7)
    before = {name: p.clone() for name, p in bert.named_parameters()}
    training_step(bert, batch, None)()
    assert all(torch.equal(p, before[name]) for name, p in bert.named_parameters())
    assert bert.classifier.weight.grad is not None
    training_step(bert, batch, torch.optim.SGD(bert.parameters(), lr=1.0))()
    assert not torch.equal(bert.classifier.weight, before["classifier.weight"])


def test_the_loss_in_half_precision_is_near_that_in_float32(bert):
    batch = random_batch(bert, 2, 7)
    assert forward_loss(bert, batch, "bfloat16").item() == pytest.approx(forward_loss(bert, batch).item(), rel=0.05)
    unlabelled = {name: value for name, value in batch.items() if name != "labels"}
    logits = bert(**unlabelled).logits
    assert forward_loss(bert, unlabelled).item() == pytest.approx(logits.square().mean().item())


def test_a_timed_call_runs_once():
    ran: list[int] = []
    assert time_call(lambda: ran.append(1)) >= 0
    assert ran == [1]


def test_random_batches_are_repeatable_and_unpadded(bert):
    batch, again, other = (random_batch(bert, 3, 7, seed=seed) for seed in (0, 0, 1))
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (3, 7)
    assert batch["input_ids"].max() < VOCABULARY
    assert batch["attention_mask"].all()
    assert torch.equal(batch["input_ids"], again["input_ids"])
    assert not torch.equal(batch["input_ids"], other["input_ids"])


def test_a_random_batch_of_images_is_as_large_as_asked():
    batch = random_batch(image_models.bare_model("vit"), 2, resolution=48)
    assert {name: tuple(each.shape) for name, each in batch.items()} == {"pixel_values": (2, 3, 48, 48), "labels": (2,)}


def test_what_a_batch_lacks_or_cannot_have_is_refused(bert):
    with pytest.raises(vxlab.VxlabError, match="ViTForImageClassification reads images; give resolution"):
        random_batch(image_models.bare_model("vit"), 2, 7)
    with pytest.raises(vxlab.VxlabError, match="resolution=32: BertForSequenceClassification reads no images"):
        random_batch(bert, 2, 7, resolution=32)
    with pytest.raises(vxlab.VxlabError, match="reads texts; give tokens"):
        random_batch(bert, 2)
    with pytest.raises(vxlab.VxlabError, match="tokens=513 is more than the 512 positions of this model; choose 1-512"):
        random_batch(bert, 2, 513)
    with pytest.raises(vxlab.VxlabError, match="batch_size=0 is not a positive integer; choose 1 or more"):
        random_batch(bert, 0, 7)
    with pytest.raises(vxlab.VxlabError, match="tokens=-1 is not a positive integer; choose 1 or more"):
        random_batch(bert, 2, -1)


class _Event:
    """As the profiler has one of a GPU: a kernel of 3 µs, or what is none."""

    def __init__(self, name, on_gpu=True, annotation=False):
        self._name, self._on_gpu, self._annotation = name, on_gpu, annotation

    def name(self):
        return self._name

    def device_type(self):
        return step_cost.DeviceType.CUDA if self._on_gpu else step_cost.DeviceType.CPU

    def is_user_annotation(self):
        return self._annotation

    def duration_ns(self):
        return 3000


def test_kernels_are_counted_without_copies_and_spans_and_what_the_processor_does(monkeypatch):
    events = [
        _Event("ampere_sgemm_128x64"), _Event("elementwise_kernel"), _Event("Memcpy DtoD"), _Event("Memset (Device)"),
        _Event("Optimizer.step#AdamW.step", annotation=True), _Event("aten::mm", on_gpu=False),
    ]  # fmt: skip
    profiled = SimpleNamespace(profiler=SimpleNamespace(kineto_results=SimpleNamespace(events=lambda: events)))
    monkeypatch.setattr(step_cost, "profile", lambda **asked: nullcontext(profiled))
    assert kernels(lambda: None) == (2, pytest.approx(6e-6))


def test_without_a_gpu_no_kernels_are_seen():
    assert kernels(lambda: torch.ones(3) + 1) == (0, 0.0)


def test_on_a_gpu_time_is_taken_between_events_on_its_stream(monkeypatch):
    happened = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            happened.append("event")

        def synchronize(self):
            happened.append("waited for the event")

        def elapsed_time(self, end):
            return 250.0  # milliseconds

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: happened.append("waited for all"))
    assert time_call(lambda: happened.append("step")) == 0.25
    assert happened == ["waited for all", "event", "step", "event", "waited for the event"]


def test_a_model_that_writes_answers_with_every_token(tiny_writer):
    model = vxlab.load_model(tiny_writer, 0)
    batch = random_batch(model, 2, 7)
    assert torch.equal(batch["labels"], batch["input_ids"])
    logits = model(input_ids=batch["input_ids"]).logits[:, :-1].flatten(0, 1)
    expected = nn.functional.cross_entropy(logits, batch["input_ids"][:, 1:].flatten())
    assert forward_loss(model, batch).item() == pytest.approx(expected.item(), rel=1e-5)
    assert forward_loss(model, batch, loss=lambda *given: given[0](**given[1]).loss * 2).item() == pytest.approx(
        2 * expected.item(), rel=1e-5
    )
