"""A mixed batch under a bank, against each of its adapters alone."""

import asyncio
import copy
import threading
import warnings

import pytest
import torch
import toy_stacks as toy
from architectures import ARCHITECTURES
from torch import Tensor, nn
from toy_banks import METHODS, make_bank, random_rows
from toy_methods import FrozenA

import vxlab

every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
NAMES = ["n00003", None, "n00001", "n00003", "n00000"]


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-6) -> None:
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def served(bank: vxlab.AdapterBank, names: list[str | None], given: dict[str, Tensor], model: nn.Module) -> Tensor:
    """Return the logits of a batch of named rows."""
    bank.attach(model)
    with torch.no_grad(), bank.rows(names) as served:
        logits: Tensor = served(**given).logits
    bank.detach()
    return logits


def row(given: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    return {name: each[number : number + 1] for name, each in given.items()}


@every_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_row_meets_its_own_adapter(method, dtype, tmp_path):
    base, given = ARCHITECTURES["bert"]().to(dtype), toy.batch(5)
    bank = vxlab.AdapterBank.create(tmp_path / "bank", base, method, "all-linear")
    bank.add_many([f"n{number:05d}" for number in range(4)], 0.1 * random_rows(bank, 4))
    logits = served(bank, NAMES, given, base)
    for number, name in enumerate(NAMES):
        with torch.no_grad():
            alone = ARCHITECTURES["bert"]().to(dtype)
            expected = (bank.load(alone, name) if name else alone)(**row(given, number)).logits
        assert logits.dtype == dtype
        assert_close(logits[[number]], expected, 1e-6 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("kind", [vxlab.LoRA, vxlab.VeRA, vxlab.LoRAXS])
def test_rows_of_a_bank_with_ranks_by_layer_meet_their_own_adapters(kind, tmp_path):
    base, given = ARCHITECTURES["bert"](), toy.batch(5)
    bank = make_bank(tmp_path / "bank", kind(rank={"query": 2, "value": 5, "layer.1.attention.self.value": 3}))
    bank.add_many([f"n{number:05d}" for number in range(4)], 0.1 * random_rows(bank, 4))
    bank = vxlab.AdapterBank.open(tmp_path / "bank")
    logits = served(bank, NAMES, given, base)
    for number, name in enumerate(NAMES):
        with torch.no_grad():
            alone = ARCHITECTURES["bert"]()
            expected = (bank.load(alone, name) if name else alone)(**row(given, number)).logits
        assert_close(logits[[number]], expected)


@every_method
def test_a_row_has_the_bits_of_a_batch_of_its_adapter_alone(method, tmp_path):
    given, bank = toy.batch(5), make_bank(tmp_path / "bank", method, 4)
    bank.attach(ARCHITECTURES["bert"]())
    with torch.no_grad():
        with bank.rows(NAMES) as model:
            mixed = model(**given).logits
        for name in ("n00003", "n00001", "n00000", None):
            with bank.rows([name] * 5) as model:
                alone = model(**given).logits
            rows = [number for number, each in enumerate(NAMES) if each == name]
            if name is None:  # a batch without any adapter takes the base's own way
                assert_close(mixed[rows], alone[rows])
            else:
                assert torch.equal(mixed[rows], alone[rows])
        others = ["n00003", "n00002", "n00002", "n00003", "n00001"]
        with bank.rows(others) as model:
            assert torch.equal(model(**given).logits[[0, 3]], mixed[[0, 3]])


@every_method
def test_rows_without_an_adapter_are_the_bare_models(method, tmp_path):
    given, bank, bare = toy.batch(3), make_bank(tmp_path / "bank", method, 1), ARCHITECTURES["bert"]()
    expected = bare(**given, output_hidden_states=True)
    bank.attach(bare)
    with torch.no_grad():
        with bank.rows([None] * 3) as model:
            found = model(**given, output_hidden_states=True)
        with bank.rows([None, "n00000", None]) as model:
            mixed = model(**given, output_hidden_states=True)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(mixed.hidden_states[-1][[0, 2]], expected.hidden_states[-1][[0, 2]])


def test_a_family_without_a_chain_is_served_by_its_factors(tmp_path, frozen_a):
    given, bank = toy.batch(5), make_bank(tmp_path / "bank", FrozenA(rank=3), 4)
    logits = served(bank, NAMES, given, ARCHITECTURES["bert"]())
    for number, name in enumerate(NAMES):
        alone = ARCHITECTURES["bert"]()
        expected = (bank.load(alone, name) if name else alone)(**row(given, number)).logits
        assert_close(logits[[number]], expected.detach())


@pytest.mark.parametrize("name", ["gpt2", "llama", "distilbert", "vit"])
def test_other_architectures(name, tmp_path):
    base = ARCHITECTURES[name]()
    bank = vxlab.AdapterBank.create(tmp_path / "bank", base, vxlab.VeRA(rank=5), "all-linear")
    bank.add_many(["ann", "ben"], 0.1 * random_rows(bank, 2))
    given = {"pixel_values": torch.randn(3, 3, 16, 16)} if name == "vit" else toy.batch(3)
    names = ["ben", "ann", "ben"]
    logits = served(bank, names, given, base)
    for number, each in enumerate(names):
        alone = bank.load(ARCHITECTURES[name](), each)
        assert_close(logits[[number]], alone(**row(given, number)).logits.detach(), 5e-6)


@every_method
def test_autocast_and_half_precision_models_stay_close(method, tmp_path):
    given, bank = toy.batch(5), make_bank(tmp_path / "bank", method)
    bank.add_many([f"n{number:05d}" for number in range(4)], 0.1 * random_rows(bank, 4))
    expected = served(bank, NAMES, given, ARCHITECTURES["bert"]())
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(served(bank, NAMES, given, ARCHITECTURES["bert"]()).float(), expected, 0.05)
    half = ARCHITECTURES["bert"]().bfloat16()
    bank = vxlab.AdapterBank.create(tmp_path / "half", half, method)
    bank.add_many([f"n{number:05d}" for number in range(4)], 0.1 * random_rows(bank, 4))
    logits = served(bank, NAMES, given, half)
    assert logits.dtype is torch.bfloat16
    assert_close(logits.float(), expected, 0.05)


@pytest.mark.parametrize("scheme", ["nf4", "int8", "torchao-int8"])
def test_a_quantised_base_computes_its_own_part(scheme, tmp_path):
    pytest.importorskip("bitsandbytes")
    import toy_quantised

    def made() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(*(toy_quantised.quantised(nn.Linear(64, 64), scheme) for _ in range(2)))

    bank = vxlab.AdapterBank.create(tmp_path / "bank", made(), vxlab.LoRAXS(rank=4), "all-linear")
    bank.add_many(["ann", "ben"], random_rows(bank, 2))
    model, x, names = bank.attach(made()), torch.randn(3, 5, 64), ["ben", None, "ann"]
    with torch.no_grad(), bank.rows(names):
        y = model(x)
    layers = [*model]
    assert all(type(layer).__name__ == "BankLinear" for layer in layers)
    bare = bank.detach()
    with torch.no_grad():
        assert_close(y[1], bare(x[[1]])[0])
        for number in (0, 2):
            assert_close(y[[number]], bank.load(made(), names[number])(x[[number]]), 1e-5)


def test_a_bank_kept_in_bfloat16_is_served_as_it_is_loaded(tmp_path):
    given, bank = toy.batch(2), make_bank(tmp_path / "bank", METHODS["vera"], 2, dtype="bfloat16")
    logits = served(bank, ["n00001", None], given, ARCHITECTURES["bert"]())
    assert_close(logits[[0]], bank.load(ARCHITECTURES["bert"](), "n00001")(**row(given, 0)).logits.detach())
    assert_close(logits[[1]], ARCHITECTURES["bert"]()(**row(given, 1)).logits.detach())  # its head is not rounded


def test_detached_the_model_is_what_it_was(tmp_path):
    bank, base = make_bank(tmp_path / "bank", METHODS["lora_xs"], 1), ARCHITECTURES["bert"]()
    base.classifier.bias.requires_grad_(False)
    state, trains = copy.deepcopy(base.state_dict()), {n: p.requires_grad for n, p in base.named_parameters()}
    modules, hooks = [*map(id, base.modules())], [len(each._forward_pre_hooks) for each in base.modules()]
    attributes = set(vars(base))
    torch.manual_seed(3)
    assert bank.attach(base) is base
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), drawn)  # nothing was drawn from the caller's generator
    assert not any(parameter.requires_grad for parameter in base.parameters())
    assert base.state_dict().keys() == state.keys()  # what save_pretrained writes is the base
    assert bank.detach() is base
    assert all(torch.equal(base.state_dict()[name], each) for name, each in state.items())
    assert {n: p.requires_grad for n, p in base.named_parameters()} == trains
    assert [*map(id, base.modules())] == modules
    assert [len(each._forward_pre_hooks) for each in base.modules()] == hooks
    assert set(vars(base)) == attributes
    bank.attach(base)


def test_an_adapter_that_was_exchanged_or_added_meanwhile_is_served_as_it_is_now(tmp_path):
    given, bank = toy.batch(2), make_bank(tmp_path / "bank", METHODS["lora"], 2)
    model = bank.attach(ARCHITECTURES["bert"](), slots=2)

    def logits(names: list[str]) -> Tensor:
        with torch.no_grad(), bank.rows(names):
            found: Tensor = model(**given).logits
        return found

    first = logits(["n00000", "n00001"])
    assert torch.equal(logits(["n00000", "n00001"]), first)
    rows = bank.rows_of(["n00001", "n00000"])
    for name in ("n00000", "n00001"):
        bank.remove(name)
    bank.add_many(["n00000", "n00001", "ann"], torch.cat([rows, rows[:1]]))
    bank.compact()
    assert torch.equal(logits(["n00001", "n00000"]), first)
    assert torch.equal(logits(["n00001", "ann"]), first)


def test_every_thread_has_its_own_rows(tmp_path):
    given, bank = toy.batch(2), make_bank(tmp_path / "bank", METHODS["vera"], 4)
    model = bank.attach(ARCHITECTURES["bert"](), slots=2)
    pairs = [["n00000", "n00001"], ["n00002", "n00003"], ["n00003", None]]

    def logits(names: list[str | None]) -> Tensor:
        with torch.no_grad(), bank.rows(names):
            found: Tensor = model(**given).logits
        return found

    expected, failed = [logits(names) for names in pairs], []

    def serve(names: list[str | None], wanted: Tensor) -> None:
        failed.extend(names for _ in range(10) if not torch.equal(logits(names), wanted))

    threads = [threading.Thread(target=serve, args=each) for each in zip(pairs, expected, strict=True)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed


def test_every_task_has_its_own_rows(tmp_path):
    given, bank = toy.batch(2), make_bank(tmp_path / "bank", METHODS["vera"], 4)
    model = bank.attach(ARCHITECTURES["bert"]())

    async def logits(names: list[str]) -> Tensor:
        with bank.rows(names):
            await asyncio.sleep(0)  # where the other task has its turn
            found: Tensor = model(**given).logits.detach()
            await asyncio.sleep(0)
        return found

    async def both() -> list[Tensor]:
        return await asyncio.gather(logits(["n00000", "n00001"]), logits(["n00002", "n00003"]))

    for one, names in zip(asyncio.run(both()), (["n00000", "n00001"], ["n00002", "n00003"]), strict=True):
        assert torch.equal(one, asyncio.run(logits(names)))


@pytest.mark.slow
def test_compiled_each_batch_meets_its_own_adapters(tmp_path):
    torch._dynamo.reset()
    given, bank = toy.batch(3), make_bank(tmp_path / "bank", METHODS["vera"], 4)
    model = bank.attach(ARCHITECTURES["bert"]())
    batches = [["n00001", None, "n00003"], ["n00002", "n00003", "n00000"], [None] * 3, ["n00001", None, "n00003"]]

    def logits(names: list[str | None]) -> Tensor:
        with torch.no_grad(), bank.rows(names):
            found: Tensor = model(**given).logits
        return found

    expected = [logits(names) for names in batches]
    with warnings.catch_warnings():  # torch's own, while it traces
        warnings.simplefilter("ignore", DeprecationWarning)
        model.compile(backend="aot_eager")
        for names, wanted in zip(batches, expected, strict=True):
            assert_close(logits(names), wanted)


def test_contexts_nest_and_an_error_ends_them(tmp_path):
    given, bank = toy.batch(2), make_bank(tmp_path / "bank", METHODS["lora"], 2)
    model = bank.attach(ARCHITECTURES["bert"]())
    with torch.no_grad(), bank.rows(["n00000", "n00001"]):
        before = model(**given).logits
        with pytest.raises(ZeroDivisionError), bank.rows([None, None]):
            1 / 0  # noqa: B018
        assert torch.equal(model(**given).logits, before)
    with pytest.raises(vxlab.VxlabError, match="nobody said"):
        model(**given)


@pytest.mark.gpu
@pytest.mark.parametrize("slots", [None, 2, 0])
@every_method
def test_on_a_gpu_rows_meet_their_adapters_too(method, slots, tmp_path):
    given, bank = toy.batch(5), make_bank(tmp_path / "bank", method, 4)
    expected = served(bank, NAMES, given, ARCHITECTURES["bert"]())
    there = {name: each.cuda() for name, each in given.items()}
    model = bank.attach(ARCHITECTURES["bert"]().cuda(), slots)
    with torch.no_grad(), bank.rows(NAMES):
        for _ in range(2):
            assert_close(model(**there).logits.cpu(), expected, 1e-4)
    bank.detach()
    model = bank.attach(ARCHITECTURES["bert"](), slots).cuda()  # moved afterwards
    with torch.no_grad(), bank.rows(NAMES):
        assert_close(model(**there).logits.cpu(), expected, 1e-4)


def test_a_copy_of_the_model_has_no_rows(tmp_path):
    given, bank = toy.batch(2), make_bank(tmp_path / "bank", METHODS["lora"], 2)
    model = bank.attach(ARCHITECTURES["bert"]())
    with torch.no_grad(), bank.rows(["n00000", None]):
        copied = copy.deepcopy(model)
        with pytest.raises(vxlab.VxlabError, match="nobody said"):
            copied(**given)
        model(**given)


def test_gradients_reach_the_input(tmp_path):
    bank = make_bank(tmp_path / "bank", METHODS["vera"], 2)
    model, names = bank.attach(ARCHITECTURES["bert"]()), ["n00000", "n00001"]
    found = []
    for each in (model, None):
        x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
        if each is None:
            bank.detach()
            for number, name in enumerate(names):
                alone = bank.load(ARCHITECTURES["bert"](), name)
                alone(inputs_embeds=x[[number]]).logits.square().sum().backward()
        else:
            with bank.rows(names):
                model(inputs_embeds=x).logits.square().sum().backward()
        found.append(x.grad)
    assert_close(*found, 1e-5)
