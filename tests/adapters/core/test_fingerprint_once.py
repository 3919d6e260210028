"""The base's fingerprint is hashed once a process, and again for whatever has changed."""

import gc
import weakref
from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES
from toy_checkpoints import assert_refused, logits, trained

import vxlab
from vxlab.adapters.core import fingerprint
from vxlab.adapters.core.fingerprint import base_fingerprints, check_fingerprints, weights_fingerprint

LORA = vxlab.LoRA(rank=2)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype | None]:
    """Return the list of what is hashed from here on, in a process that has hashed nothing yet."""
    found: list[torch.dtype | None] = []

    def watched(tensors: dict[str, torch.Tensor], dtype: torch.dtype | None = None) -> str:
        found.append(dtype)
        return weights_fingerprint(tensors, dtype)

    monkeypatch.setattr(fingerprint, "_known", {})
    monkeypatch.setattr(fingerprint, "weights_fingerprint", watched)
    return found


def test_only_the_first_save_and_load_hash_the_base(hashed: list[torch.dtype | None], tmp_path: Path) -> None:
    model = trained("bert", LORA)
    vxlab.save_adapter(model, tmp_path / "a")
    assert sorted(map(str, hashed)) == ["None", "torch.bfloat16", "torch.float16"]
    vxlab.save_adapter(vxlab.unmerge(vxlab.merge(model)), tmp_path / "b")
    loaded = vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path / "a")
    vxlab.save_adapter(vxlab.load_adapter(loaded, tmp_path / "b"), tmp_path / "c")
    assert len(hashed) == 3
    assert torch.equal(logits(loaded, "bert"), logits(model, "bert"))
    settings = [(tmp_path / name / "adapter.json").read_text() for name in "abc"]
    assert settings[0] == settings[1] == settings[2]


def test_a_base_that_was_written_behind_torchs_back_is_refused(tmp_path: Path) -> None:
    model = ARCHITECTURES["bert"]()
    folder = vxlab.save_adapter(trained("bert", LORA), tmp_path / "a")
    vxlab.detach(vxlab.load_adapter(model, folder))
    weight = model.bert.embeddings.word_embeddings.weight
    version = weight._version
    weight.data[3, 5] *= -1
    assert weight._version == version
    assert_refused(model, folder, "frozen weights have another fingerprint")
    weight.data[3, 5] *= -1
    vxlab.load_adapter(model, folder)


def test_what_is_known_is_what_hashing_gives(hashed: list[torch.dtype | None]) -> None:
    tensors = {"a": torch.randn(30, 40), "b": torch.randn(7).double()}
    for _ in range(2):
        found = base_fingerprints(tensors)
        assert found["sha256"] == weights_fingerprint(tensors)
        for dtype in (torch.bfloat16, torch.float16, torch.float32):
            assert found[f"sha256_{str(dtype).removeprefix('torch.')}"] == weights_fingerprint(tensors, dtype)
        check_fingerprints(tensors, found, "these")
    assert len(hashed) == 4


def test_what_changes_while_it_is_hashed_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {"a": torch.zeros(5)}

    def disturbed(tensors: dict[str, torch.Tensor], dtype: torch.dtype | None = None) -> str:
        tensors["a"] += 1
        return weights_fingerprint(tensors, dtype)

    monkeypatch.setattr(fingerprint, "_known", {})
    with monkeypatch.context() as patch:
        patch.setattr(fingerprint, "weights_fingerprint", disturbed)
        base_fingerprints(tensors)
    tensors["a"].zero_()
    assert base_fingerprints(tensors)["sha256"] == weights_fingerprint(tensors)


def test_no_tensor_is_kept_alive() -> None:
    tensors = {"a": torch.randn(50)}
    base_fingerprints(tensors)
    alive = weakref.ref(tensors.pop("a"))
    gc.collect()
    assert alive() is None


def test_weights_on_the_meta_device_are_refused_as_before() -> None:
    with pytest.raises(vxlab.VxlabError, match="`a` is on the meta device, without values; load the model's weights"):
        base_fingerprints({"a": torch.randn(5, device="meta")})


@pytest.mark.gpu
def test_a_model_on_a_gpu_and_back_has_the_fingerprint_that_is_known(hashed: list[torch.dtype | None]) -> None:
    layer = torch.nn.Linear(40, 30)
    here = base_fingerprints(dict(layer.named_parameters()))
    assert base_fingerprints(dict(layer.to("cuda").named_parameters())) == here
    with torch.no_grad():
        layer.weight[0, 0] += 1
    assert base_fingerprints(dict(layer.named_parameters()))["sha256"] != here["sha256"]
    assert len(hashed) == 6
