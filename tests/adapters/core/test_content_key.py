"""The key to what tensors hold, against the sum by Python's own integers and every way of writing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vxlab.adapters.core import content_key as module
from vxlab.adapters.core.content_key import content_key

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.bool, torch.complex64]


def _layer(dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(96, 64, bias=False, dtype=dtype)


def _key(tensor: Tensor) -> str:
    return content_key({"weight": tensor})


def test_a_sum_is_that_of_the_words_weighted_modulo_two_to_the_64(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[list[int]] = []
    monkeypatch.setattr(module, "memory_of", lambda sums: taken.extend(sums.tolist()) or b"")
    tensor = torch.randint(-(2**63), 2**63 - 1, (2048,), dtype=torch.int64)
    _key(tensor)
    data, weights = tensor.numpy().tobytes(), module._WEIGHTS.tolist()
    for sums, each in zip(taken, (data, data[4:] + data[:4]), strict=True):
        words = [int.from_bytes(each[i : i + 8], "little", signed=True) for i in range(0, len(each), 8)]
        for row, found in enumerate(sums):
            wanted = sum(w * x for w, x in zip(weights, words[1024 * row :], strict=False))
            assert (found - wanted) % 2**64 == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_every_single_bit_counts(dtype: torch.dtype) -> None:
    weight = _layer(dtype).weight.detach().flatten()[:1030]
    data = weight.view(torch.uint8)
    known = {_key(weight)}
    bits = [(place, bit) for place in (*range(16), len(data) - 1, len(data) // 2) for bit in range(8)]
    for place, bit in bits:
        data[place] ^= 1 << bit
        known.add(_key(weight))
        data[place] ^= 1 << bit
    assert len(known) == 1 + len(bits)
    assert _key(weight) in known


@pytest.mark.parametrize("first", [0, 1])
def test_two_signs_changed_are_seen_wherever_they_stand(first: int) -> None:
    weight = _layer().weight.detach().flatten()
    before = _key(weight)
    for second in range(first + 1, 200):
        weight[[first, second]] *= -1
        assert _key(weight) != before
        weight[[first, second]] *= -1
    assert _key(weight) == before


def _by_loading(layer: nn.Linear) -> None:
    layer.load_state_dict({"weight": layer.weight.detach() + 1e-3})


def _through_the_storage(layer: nn.Linear) -> None:
    layer.weight.untyped_storage()[3] = layer.weight.untyped_storage()[3] ^ 128


def _by_another_storage(layer: nn.Linear) -> None:
    layer.weight.data = layer.weight.data.clone().neg_()


def _by_set(layer: nn.Linear) -> None:
    with torch.no_grad():
        layer.weight.set_(layer.weight.detach().flip(0).contiguous())


def _in_numpy(layer: nn.Linear) -> None:
    layer.weight.detach().numpy()[3, 5] += 1e-3


def _in_place(layer: nn.Linear) -> None:
    with torch.no_grad():
        layer.weight[3, 5] += 1e-3


WRITES: list[Callable[[nn.Linear], object]] = [
    _in_place,
    _in_numpy,
    _by_set,
    _by_another_storage,
    _through_the_storage,
    _by_loading,
    lambda layer: layer.weight.data.copy_(layer.weight.data.flip(1)),
    lambda layer: layer.weight.data[:, 7].neg_(),
    lambda layer: layer.weight.data[3, 5].mul_(-1),
    lambda layer: layer.weight.data[3].zero_(),
    lambda layer: layer.to(torch.bfloat16),
]


@pytest.mark.parametrize("write", WRITES)
def test_every_way_of_writing_is_seen_and_so_is_the_way_back(write: Callable[[nn.Linear], object]) -> None:
    layer = _layer()
    before, copy = _key(layer.weight), layer.weight.detach().clone()
    write(layer)
    assert _key(layer.weight) != before
    layer.weight.data = copy
    assert _key(layer.weight) == before


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (1025,), (700, 700)], ids=str)
def test_equal_tensors_have_one_key_wherever_they_lie(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = (torch.randn(shape, dtype=torch.float64) * 100).to(dtype)
    data = tensor.reshape(-1).view(torch.uint8)
    askew = torch.empty(len(data) + 8, dtype=torch.uint8)[dtype.itemsize :][: len(data)]
    askew.copy_(data)
    assert _key(askew.view(dtype).view(shape)) == _key(tensor)
    assert _key(tensor.T.contiguous().T if tensor.ndim == 2 else tensor.clone()) == _key(tensor)
    assert _key(nn.Parameter(tensor, requires_grad=False)) == _key(tensor)


def test_a_tensor_mapped_from_a_file_has_the_key_of_its_values(tmp_path: Path) -> None:
    tensors = {"flag": torch.ones(3, dtype=torch.uint8), "weight": torch.randn(33, 7), "half": torch.randn(5).half()}
    save_file(tensors, tmp_path / "a.safetensors")
    assert content_key(load_file(tmp_path / "a.safetensors")) == content_key(tensors)


def test_names_shapes_dtypes_and_whose_the_values_are_count() -> None:
    a, b = torch.randn(4, 6), torch.randn(4, 6)
    others = [{"a": a}, {"b": a}, {"a": a.view(6, 4)}, {"a": a.view(torch.int32)}, {"a": a, "b": b}, {"a": b, "b": a}]
    assert len({content_key(each) for each in [*others, {}, {"a": torch.zeros(0)}]}) == len(others) + 2


def test_threads_find_one_key_and_torchs_own_number_of_threads_stays() -> None:
    tensors, threads = {str(i): torch.randn(300, 300) for i in range(8)}, torch.get_num_threads()
    before = torch.get_rng_state()
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(content_key, [tensors] * 32))) == 1
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), before)
