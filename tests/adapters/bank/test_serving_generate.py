"""Texts that a language model writes under a bank, against each adapter's own."""

import pytest
import torch
import toy_stacks as toy
import transformers
from architectures import ARCHITECTURES
from torch import Tensor
from toy_banks import random_rows

import vxlab
from vxlab.errors import VxlabError

NAMES = ["ann", None, "ben", "ann"]
WAYS = {
    "greedy": {"do_sample": False},
    "beams": {"do_sample": False, "num_beams": 3},
    "answers": {"do_sample": False, "num_beams": 4, "num_return_sequences": 2},
}


def served(tmp_path, name: str = "llama-lm", **settings: int) -> tuple[vxlab.AdapterBank, torch.nn.Module]:
    base = ARCHITECTURES[name]()
    bank = vxlab.AdapterBank.create(tmp_path / "bank", base, vxlab.LoRA(rank=4), "all-linear")
    bank.add_many(["ann", "ben"], 0.3 * random_rows(bank, 2))
    return bank, bank.attach(base, **settings)


def prompts() -> dict[str, Tensor]:
    given = toy.batch(4)
    given["input_ids"], given["attention_mask"] = given["input_ids"].flip(1), given["attention_mask"].flip(1)
    return given  # padded on the left


def written(model, given: dict[str, Tensor], **settings) -> Tensor:
    found: Tensor = model.generate(**given, max_new_tokens=8, pad_token_id=0, eos_token_id=None, **settings)
    return found


@pytest.mark.parametrize("name", ["llama-lm", "gpt2-lm"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_each_row_writes_what_its_adapter_writes_alone(way, name, tmp_path):
    bank, model = served(tmp_path, name)
    given, each = prompts(), way.get("num_return_sequences", 1)
    with bank.rows(NAMES):
        texts = written(model, given, **way)
    bank.detach()
    for number, adapter in enumerate(NAMES):
        alone = ARCHITECTURES[name]()
        if adapter:
            bank.load(alone, adapter)
        own = {key: tensor[[number]] for key, tensor in given.items()}
        assert torch.equal(texts[number * each : (number + 1) * each], written(alone, own, **way))
    assert len({tuple(text.tolist()[7:]) for text in texts}) > 1


def test_after_generate_a_batch_has_as_many_rows_as_names_again(tmp_path):
    bank, model = served(tmp_path)
    given = prompts()
    doubled = {name: torch.cat([each, each]) for name, each in given.items()}
    with bank.rows(NAMES), torch.no_grad():
        before = model(**given).logits
        written(model, given, num_beams=2)
        assert torch.equal(model(**given).logits, before)
        with pytest.raises(VxlabError, match="4 named rows"):
            model(**doubled)
        with pytest.raises(VxlabError, match="4 named rows, 2 rows each"):
            written(model, doubled, num_beams=2)
        assert torch.equal(model(**given).logits, before)
    with pytest.raises(VxlabError, match="nobody said"):
        written(model, given)


def test_generate_is_the_models_own_again_after_detach(tmp_path):
    bank, model = served(tmp_path)
    bank.detach()
    assert not vars(model).keys() & {"generate", "_expand_inputs_for_generation", "vxlab_bank"}
    assert written(model, prompts()).shape == (4, 15)


@pytest.mark.parametrize("beams", [1, 3])
def test_an_encoder_sees_rows_and_its_decoder_beams(beams, tmp_path):
    def made() -> transformers.T5ForConditionalGeneration:
        config = transformers.T5Config(
            vocab_size=64, d_model=32, d_ff=48, d_kv=8, num_layers=2, num_heads=4, decoder_start_token_id=0
        )
        torch.manual_seed(0)
        return transformers.T5ForConditionalGeneration(config).eval()

    model, given = made(), toy.batch(3)
    bank = vxlab.AdapterBank.create(tmp_path / "bank", model, vxlab.LoRA(rank=4), r".*\.(q|v|k|o)")
    bank.add_many(["ann", "ben"], 0.3 * random_rows(bank, 2))
    bank.attach(model)
    with bank.rows(["ben", "ann", None]):
        texts = written(model, given, num_beams=beams, do_sample=False)
    bank.detach()
    for number, adapter in enumerate(["ben", "ann"]):
        alone = bank.load(made(), adapter)
        own = {key: tensor[[number]] for key, tensor in given.items()}
        assert torch.equal(texts[[number]], written(alone, own, num_beams=beams, do_sample=False))
