"""Saved adapters: small, exact, and refused wherever they would compute something else."""

import shutil
from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES, loaded_in_a_new_process
from toy_checkpoints import METHODS, altered, assert_refused, logits, trained

import vxlab
from vxlab.adapters.core.family import Method
from vxlab.adapters.saving import adapter_files


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_loading_gives_the_same_logits_bit_for_bit(name: str, method: Method, tmp_path: Path) -> None:
    model = trained(name, method)
    vxlab.save_adapter(model, tmp_path / "a")
    assert torch.equal(logits(vxlab.load_adapter(ARCHITECTURES[name](), tmp_path / "a"), name), logits(model, name))


def test_loading_in_a_new_process_gives_the_same_logits_bit_for_bit(tmp_path: Path) -> None:
    models = {method.name: trained("bert", method) for method in METHODS[:4]}
    folders = [vxlab.save_adapter(model, tmp_path / name) for name, model in models.items()]
    expected = [logits(model, "bert").numpy().tobytes().hex() for model in models.values()]
    assert loaded_in_a_new_process(folders) == expected


@pytest.mark.parametrize("method", [*METHODS[:5], *METHODS[6:]], ids=str)
def test_the_file_is_the_trained_bytes_and_little_more(method: Method, tmp_path: Path) -> None:
    model = trained("bert", method)
    folder = vxlab.save_adapter(model, tmp_path / "a")
    trained_bytes = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    assert (folder / "adapter.safetensors").stat().st_size <= trained_bytes + 4096
    assert sorted(path.name for path in folder.iterdir()) == ["adapter.json", "adapter.safetensors"]


def test_loading_onto_the_same_attached_method_overwrites_its_values(tmp_path: Path) -> None:
    model = trained("bert", vxlab.LoRA(rank=4))
    folder = vxlab.save_adapter(model, tmp_path / "a")
    fresh = vxlab.attach(ARCHITECTURES["bert"](), vxlab.LoRA(rank=4), targets="all-linear")
    assert torch.equal(logits(vxlab.load_adapter(fresh, folder), "bert"), logits(model, "bert"))


def test_what_else_was_trained_or_frozen_by_hand_comes_back(tmp_path: Path) -> None:
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.LoRA(rank=4))
    model.classifier.requires_grad_(False)
    norm = model.bert.embeddings.LayerNorm.requires_grad_(True)
    with torch.no_grad():
        norm.weight.add_(0.5)
    loaded = vxlab.load_adapter(ARCHITECTURES["bert"](), vxlab.save_adapter(model, tmp_path / "a"))
    assert torch.equal(logits(loaded, "bert"), logits(model, "bert"))
    trains = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name, p in loaded.named_parameters() if p.requires_grad} == trains


def test_loading_onto_a_merged_model_is_refused(tmp_path: Path) -> None:
    model = trained("bert", vxlab.LoRA(rank=4))
    folder = vxlab.save_adapter(model, tmp_path / "a")
    assert_refused(vxlab.merge(model), folder, r"the model is merged.*call unmerge\(model\) first")


def test_loading_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    folder = vxlab.save_adapter(trained("bert", vxlab.LoRA(rank=4)), tmp_path / "a")
    model = ARCHITECTURES["bert"]()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    vxlab.load_adapter(model, folder)
    assert torch.equal(torch.rand(3), expected)


def test_a_base_in_bfloat16_is_recognised(tmp_path: Path) -> None:
    folder = vxlab.save_adapter(trained("bert", vxlab.LoRA(rank=4)), tmp_path / "a")
    model = vxlab.load_adapter(ARCHITECTURES["bert"]().bfloat16(), folder)
    assert logits(model, "bert").dtype is torch.bfloat16


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return vxlab.save_adapter(trained("bert", vxlab.LoRAXS(rank=4)), tmp_path / "a")


def test_another_base_is_refused(saved: Path) -> None:
    other = ARCHITECTURES["bert"]()
    with torch.no_grad():
        other.bert.embeddings.word_embeddings.weight[3, 5] += 1e-6
    assert_refused(other, saved, "was trained on another base.*load the model it was trained on")
    assert_refused(ARCHITECTURES["roberta"](), saved, "was trained on another base")


def test_another_family_is_refused(saved: Path) -> None:
    attached = vxlab.attach(ARCHITECTURES["bert"](), vxlab.LoRA(rank=4), targets="all-linear")
    assert_refused(attached, saved, r"holds LoRAXS\(.*but the model has LoRA\(.*call detach")


def test_a_truncated_file_is_refused(saved: Path) -> None:
    tensors = saved / "adapter.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-10])
    assert_refused(ARCHITECTURES["bert"](), saved, "adapter.safetensors is truncated or altered")


def test_a_damaged_or_missing_settings_file_is_refused(saved: Path, tmp_path: Path) -> None:
    assert_refused(ARCHITECTURES["bert"](), tmp_path / "nowhere", "holds no adapter: adapter.json cannot be read")
    run = tmp_path / "run"
    shutil.copytree(saved, run / "adapter")
    assert_refused(ARCHITECTURES["bert"](), run, "holds no adapter: .*; it lies in .*run/adapter")
    shutil.copytree(saved, run / "last")
    assert_refused(ARCHITECTURES["bert"](), run, "those in it do: adapter, last")
    settings = saved / "adapter.json"
    whole = settings.read_text()
    settings.write_text(whole[:50])
    assert_refused(ARCHITECTURES["bert"](), saved, "adapter.json is damaged: not JSON")
    settings.write_text("{}")
    assert_refused(ARCHITECTURES["bert"](), saved, "is not a vxlab adapter: it lacks base, format")
    settings.write_text(whole.replace('"format":1', '"format":9'))
    assert_refused(ARCHITECTURES["bert"](), saved, "has format 9; this vxlab reads format 1")


def test_a_basis_that_does_not_reproduce_is_refused(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vxlab.adapters.families import lora_xs

    exact = lora_xs.singular_triplets

    def flipped(*args: object) -> object:
        triplets = exact(*args)  # type: ignore[arg-type]
        for U, _, Vh in triplets.values():
            U[:, 1], Vh[1] = -U[:, 1], -Vh[1]  # as good an SVD, with one sign turned
        return triplets

    monkeypatch.setattr(lora_xs, "singular_triplets", flipped)
    assert_refused(
        ARCHITECTURES["bert"](), saved, "the frozen basis of `bert.encoder.layer.0.*` does not reproduce here"
    )


def test_random_matrices_that_do_not_reproduce_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = vxlab.save_adapter(trained("bert", vxlab.VeRA(rank=8)), tmp_path / "a")
    drawn = vxlab.VeRA.shared
    monkeypatch.setattr(vxlab.VeRA, "shared", lambda self, shapes: {k: -t for k, t in drawn(self, shapes).items()})
    assert_refused(ARCHITECTURES["bert"](), folder, "frozen random matrices of .* do not reproduce from their seed")


def test_tensors_of_another_rank_are_refused(tmp_path: Path) -> None:
    folder = vxlab.save_adapter(trained("bert", vxlab.LoRA(rank=4)), tmp_path / "a")
    altered(folder, settings={"rank": 3})
    assert_refused(ARCHITECTURES["bert"](), folder, r"does not fit the model: A\.3x32.* missing or unexpected")


def test_a_merged_model_is_not_saved(tmp_path: Path) -> None:
    model = vxlab.merge(trained("bert", vxlab.LoRA(rank=4)))
    with pytest.raises(vxlab.VxlabError, match=r"the model is merged.*call unmerge"):
        vxlab.save_adapter(model, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_failed_save_leaves_the_earlier_adapter_whole(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def full_disk(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(adapter_files, "save_file", full_disk)
    with pytest.raises(vxlab.VxlabError, match=r"cannot be saved in .*No space left"):
        vxlab.save_adapter(trained("bert", vxlab.LoRA(rank=2)), saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in saved.parent.iterdir()] == ["a"]


def test_saving_over_an_adapter_replaces_it(saved: Path) -> None:
    model = trained("bert", vxlab.VeRA(rank=8))
    vxlab.save_adapter(model, saved)
    assert torch.equal(logits(vxlab.load_adapter(ARCHITECTURES["bert"](), saved), "bert"), logits(model, "bert"))
