"""Adapters in transformers' own Trainer and in a loop of accelerate's: checkpoints hold them alone, and resume."""

import copy
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
import transformers
from accelerate.state import AcceleratorState
from architectures import ARCHITECTURES
from safetensors.torch import load_file
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments

import vxlab
from vxlab.experiments.models.files import quiet_transformers

METHOD = vxlab.VeRA(rank=8)
STATE = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin")
"""What Trainer keeps of itself."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet_transformers():
        yield


class Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """Token ids whose first decides the label."""

    def __init__(self) -> None:
        self.ids = torch.randint(5, 60, (24, 6), generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"input_ids": self.ids[i], "labels": int(self.ids[i, 0] > 30)}


class Interrupt(TrainerCallback):  # type: ignore[misc]
    """Stop like a kill, before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def bert() -> Any:
    return ARCHITECTURES["bert"]()


def attached(method: Any = METHOD) -> Any:
    torch.manual_seed(3)
    return vxlab.attach(bert(), method)


def trainer(model: Any, folder: Path, *callbacks: Any, **settings: Any) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(folder), num_train_epochs=2, per_device_train_batch_size=4, learning_rate=5e-2, save_steps=4,
        save_strategy="steps", logging_steps=1, report_to="none", use_cpu=True, disable_tqdm=True, **settings,
    )  # fmt: skip
    return Trainer(model, arguments, train_dataset=Rows(), eval_dataset=Rows(), callbacks=list(callbacks))


def trains(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=Rows().ids[:4]).logits


def losses(done: Trainer) -> list[float]:
    return [row["loss"] for row in done.state.log_history if "loss" in row]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Path]:
    """A training of 12 steps, with checkpoints at 4, 8 and 12."""
    folder = tmp_path_factory.mktemp("whole")
    done = trainer(attached(), folder, vxlab.AdapterCallback())
    with quiet_transformers():
        done.train()
    return done, folder


def test_a_checkpoint_holds_the_adapter_alone(whole: tuple[Trainer, Path]) -> None:
    _, folder = whole
    files = {path.name: path.stat().st_size for path in (folder / "checkpoint-12").iterdir()}
    assert set(files) == {*STATE, "adapter.json", "adapter.safetensors", "model.safetensors"}
    assert sum(size for name, size in files.items() if name not in STATE) < 10_000
    held = load_file(folder / "checkpoint-12" / "model.safetensors")
    assert {name for name, tensor in held.items() if tensor.numel()} == set(trains(attached()))


def test_a_checkpoint_is_an_adapter_to_load(whole: tuple[Trainer, Path]) -> None:
    done, folder = whole
    assert torch.equal(logits(vxlab.load_adapter(bert(), folder / "checkpoint-12")), logits(done.model))
    assert not torch.equal(logits(vxlab.load_adapter(bert(), folder / "checkpoint-4")), logits(done.model))


def test_a_checkpoint_is_never_taken_for_the_base(whole: tuple[Trainer, Path]) -> None:
    _, folder = whole
    with pytest.raises((OSError, ValueError), match=r"config\.json|model_type"):
        transformers.AutoModel.from_pretrained(folder / "checkpoint-12")
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        transformers.BertForSequenceClassification.from_pretrained(folder / "checkpoint-12", config=bert().config)
    with pytest.raises(vxlab.VxlabError, match="holds an adapter of vxlab's and no model; name the model that it was"):
        vxlab.load_model(str(folder / "checkpoint-12"), 2)


@pytest.mark.parametrize("named", [True, False])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    named: bool, whole: tuple[Trainer, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done, _ = whole
    with pytest.raises(KeyboardInterrupt):
        trainer(attached(), tmp_path, vxlab.AdapterCallback(), Interrupt(10)).train()
    torch.manual_seed(99)
    resumed = trainer(vxlab.attach(bert(), METHOD), tmp_path, vxlab.AdapterCallback())
    with caplog.at_level(logging.WARNING, "transformers.trainer"):
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8") if named else True)
    assert "missing keys" not in caplog.text
    assert same(trains(resumed.model), trains(done.model))
    assert losses(resumed) == losses(done)


def test_the_best_checkpoint_is_loaded_and_saved_at_the_end(tmp_path: Path) -> None:
    done = trainer(
        attached(), tmp_path, vxlab.AdapterCallback(), eval_strategy="steps", eval_steps=4, save_total_limit=1,
        load_best_model_at_end=True, metric_for_best_model="eval_loss", greater_is_better=True,
    )  # fmt: skip
    done.train()
    best = Path(done.state.best_model_checkpoint)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == [best.name]
    assert best.name != "checkpoint-12"  # or this would show nothing
    assert torch.equal(logits(vxlab.load_adapter(bert(), best)), logits(done.model))
    (tmp_path / "notes.txt").write_text("mine")
    done.save_model()
    assert torch.equal(logits(vxlab.load_adapter(bert(), tmp_path)), logits(done.model))
    assert {"notes.txt", best.name, "adapter.json"} <= {path.name for path in tmp_path.iterdir()}


def test_resuming_something_else_is_refused(whole: tuple[Trainer, Path]) -> None:
    _, folder = whole
    base = bert()
    base.bert.embeddings.word_embeddings.weight.data += 1
    for model, message in (
        (vxlab.attach(base, METHOD), "was trained on another base"),
        (vxlab.attach(bert(), vxlab.VeRA(rank=8, seed=1)), r"holds VeRA\(.*but the model has VeRA\("),
        (vxlab.attach(bert(), vxlab.LoRA(rank=2)), r"is of another adapter than this BertFor.*missing or unexp"),
    ):
        with pytest.raises(vxlab.VxlabError, match=message):
            trainer(model, folder, vxlab.AdapterCallback()).train(resume_from_checkpoint=str(folder / "checkpoint-8"))


def test_a_model_without_a_method_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match="has no adapter; call vxlab"):
        trainer(bert(), tmp_path, vxlab.AdapterCallback())


def test_a_method_that_acts_between_steps_is_refused(tmp_path: Path) -> None:
    adalora = vxlab.PEFT("adalora", {"init_r": 4, "target_r": 2})
    with pytest.raises(vxlab.VxlabError, match="acts between steps, which Trainer does not know of"):
        trainer(attached(adalora), tmp_path, vxlab.AdapterCallback())


class Plain(nn.Module):
    """A model that is not transformers'."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(60, 32)
        self.query, self.out = nn.Linear(32, 32), nn.Linear(32, 2)

    def forward(self, input_ids: torch.Tensor, labels: Any = None) -> Any:
        logits = self.out(self.query(self.embedding(input_ids)).mean(1).tanh())
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def test_a_model_that_is_not_of_transformers_keeps_its_adapter_alone_and_resumes(tmp_path: Path) -> None:
    def plain() -> Any:
        torch.manual_seed(4)
        return vxlab.attach(Plain(), vxlab.LoRA(rank=2), targets="query")

    done = trainer(plain(), tmp_path / "whole", vxlab.AdapterCallback())
    done.train()
    (tmp_path / "whole" / "checkpoint-12").rename(tmp_path / "last")
    again = trainer(plain(), tmp_path / "whole", vxlab.AdapterCallback())
    again.train(resume_from_checkpoint=True)
    assert same(trains(again.model), trains(done.model))
    held = load_file(tmp_path / "last" / "model.safetensors")
    assert {name for name, tensor in held.items() if tensor.numel()} == set(trains(plain()))
    assert same(trains(vxlab.load_adapter(Plain(), tmp_path / "last")), trains(done.model))


@pytest.mark.parametrize("method", [vxlab.LoRA(rank=2), vxlab.PEFT("dora", {"r": 2})], ids=str)
def test_save_pretrained_writes_the_adapter_alone_while_one_is_on(method: Any, tmp_path: Path) -> None:
    model = attached(method)
    model.save_pretrained(tmp_path / "a")
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        "adapter.json", "adapter.safetensors", "model.safetensors",
    }  # fmt: skip
    loaded = vxlab.load_adapter(bert(), tmp_path / "a")
    assert torch.equal(logits(loaded), logits(model))


def test_save_pretrained_takes_a_models_arguments_and_refuses_to_push(tmp_path: Path) -> None:
    model = attached()
    model.save_pretrained(tmp_path / "a", True, model.state_dict())
    assert (tmp_path / "a" / "adapter.json").is_file()
    with pytest.raises(vxlab.VxlabError, match="push_to_hub=True writes a whole model; save the adapter, and push"):
        model.save_pretrained(tmp_path / "b", push_to_hub=True)
    assert not (tmp_path / "b").exists()


def test_a_folder_with_a_model_is_left_whole(tmp_path: Path) -> None:
    bert().save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(vxlab.VxlabError, match="holds a model, and this one has an adapter on it; give another folder"):
        attached().save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_plain_model_is_saved_plain_after_merge_and_detach(tmp_path: Path) -> None:
    model = attached(vxlab.LoRA(rank=2))
    for parameter in trains(model):
        model.get_parameter(parameter).data += 0.1
    wanted = logits(vxlab.merge(model))
    with pytest.raises(vxlab.VxlabError, match=r"is merged, with its adapter still on it; call vxlab.detach\(model\)"):
        model.save_pretrained(tmp_path)
    vxlab.detach(model).save_pretrained(tmp_path)
    assert torch.equal(logits(type(model).from_pretrained(tmp_path)), wanted)


@pytest.mark.parametrize("method", [vxlab.Head(), vxlab.BitFit(), vxlab.Full()], ids=str)
def test_what_puts_no_adapter_on_saves_the_model_that_it_is(method: Any, tmp_path: Path) -> None:
    model = attached(method)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(type(model).from_pretrained(tmp_path)), logits(model))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_saves_its_own_adapter(copied: Any, tmp_path: Path) -> None:
    model = attached(vxlab.LoRA(rank=2))
    other = copied(model)
    other.classifier.bias.data += 1
    other.save_pretrained(tmp_path)
    assert torch.equal(logits(vxlab.load_adapter(bert(), tmp_path)), logits(other))
    assert not torch.equal(logits(other), logits(model))


def prepared(model: Any, precision: str = "no") -> tuple[Any, Any, Any]:
    AcceleratorState._reset_state(True)
    accelerator = accelerate.Accelerator(cpu=True, mixed_precision=precision)
    vxlab.save_adapters_only(accelerator)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-2)
    return accelerator, *accelerator.prepare(model, optimizer)


def steps(accelerator: Any, model: Any, optimizer: Any, number: int) -> None:
    for _ in range(number):
        batch = Rows()[int(torch.randint(24, ()))]  # so that the random state matters, too
        loss = model.train()(input_ids=batch["input_ids"][None], labels=torch.tensor([batch["labels"]])).loss
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()


def test_accelerate_keeps_the_adapter_alone_and_resumes(tmp_path: Path) -> None:
    model = attached()
    accelerator, model, optimizer = prepared(model)
    steps(accelerator, model, optimizer, 3)
    accelerator.save_state(str(tmp_path / "state"))
    saved = trains(model)
    files = {path.name for path in (tmp_path / "state").iterdir()}
    assert files == {"adapter.json", "adapter.safetensors", "optimizer.bin", "random_states_0.pkl"}
    steps(accelerator, model, optimizer, 3)

    torch.manual_seed(99)
    accelerator, again, optimizer = prepared(vxlab.attach(bert(), METHOD))
    accelerator.load_state(str(tmp_path / "state"))
    assert same(trains(again), saved)
    steps(accelerator, again, optimizer, 3)
    assert same(trains(again), trains(model))
    assert same(trains(vxlab.load_adapter(bert(), tmp_path / "state")), saved)


def test_accelerates_wrapper_is_taken_off_for_the_logits_that_a_reload_gives(tmp_path: Path) -> None:
    accelerator, model, optimizer = prepared(attached(), "bf16")
    steps(accelerator, model, optimizer, 2)
    accelerator.save_state(str(tmp_path / "state"))
    wanted = logits(vxlab.load_adapter(bert(), tmp_path / "state"))
    assert not torch.equal(logits(model), wanted)  # the forward pass is still in bfloat16
    assert not torch.equal(logits(accelerator.unwrap_model(model)), wanted)
    assert torch.equal(logits(accelerator.unwrap_model(model, keep_fp32_wrapper=False)), wanted)


def test_accelerate_saves_several_models_each_as_it_is(tmp_path: Path) -> None:
    AcceleratorState._reset_state(True)
    accelerator = accelerate.Accelerator(cpu=True)
    vxlab.save_adapters_only(accelerator)
    models = [nn.Linear(2, 2), attached(vxlab.LoRA(rank=2)), nn.Linear(3, 3), attached(METHOD)]
    models = list(accelerator.prepare(*models))
    accelerator.save_state(str(tmp_path))
    before = [copy.deepcopy(trains(model)) for model in models]
    for model in models:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += 1
    accelerator.load_state(str(tmp_path))
    assert [same(trains(model), kept) for model, kept in zip(models, before, strict=True)] == [True] * 4
    assert {"adapter.json", "adapter_1", "model.safetensors", "model_1.safetensors"} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_accelerate_with_sharded_models_is_refused() -> None:
    class Sharded:
        distributed_type = "FSDP"

    with pytest.raises(vxlab.VxlabError, match="accelerate's FSDP writes models itself"):
        vxlab.save_adapters_only(Sharded())


def test_accelerate_in_several_processes_saves_what_is_inside_the_wrapper(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        AcceleratorState._reset_state(True)
        accelerator = accelerate.Accelerator(cpu=True)
        vxlab.save_adapters_only(accelerator)
        model = attached()
        accelerator._models.append(nn.parallel.DistributedDataParallel(model))
        accelerator.save_state(str(tmp_path / "state"))
        before = trains(model)
        model.classifier.bias.data += 1
        accelerator.load_state(str(tmp_path / "state"))
    finally:
        torch.distributed.destroy_process_group()
        AcceleratorState._reset_state(True)
    assert same(trains(model), before)
    assert same(trains(vxlab.load_adapter(bert(), tmp_path / "state")), before)
