"""Padding: a text is classified alone as it is among others, on every architecture, or the user is told."""

from pathlib import Path

import pytest
import torch
import toy_runs
import transformers
from classifiers import BOTH, CLASSIFIERS, DECODERS, ENCODERS, TEXTS, WIDTH, tokenizer, write_classifier
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

import vxlab
from vxlab.experiments.models.load import copy_with_new_head, load_tokenizer
from vxlab.experiments.models.padding import position_limit
from vxlab.experiments.runs.inputs import Materials

# These count a text's positions from its first token, padding or not.
FROM_THE_LEFT = {
    *ENCODERS, "gpt2", "gpt_neo", *BOTH,
} - {"xlnet"}  # fmt: skip
UNLIKE = {"diffllama"}  # building it draws numbers, also when it is built to be filled with weights
UNLIMITED = {
    "bloom", "t5", "umt5", "xlnet", "modernbert", *DECODERS,
} - {"gpt2", "gpt_neo", "opt"}  # fmt: skip


@pytest.fixture(scope="module", params=sorted(CLASSIFIERS))
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return an architecture's name, and the folder of a tiny model of it."""
    return request.param, write_classifier(request.param, tmp_path_factory.mktemp("models") / request.param)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_text_alone_has_the_logits_that_it_has_in_a_batch(written: tuple[str, str], side: str) -> None:
    name, folder = written
    tokenizer(side=side).save_pretrained(folder)
    refuses = name == "xlnet" if side == "right" else name in FROM_THE_LEFT
    if refuses:
        mended = "left" if side == "right" else "right"
        message = f"its tokenizer pads on the {side}, and .* set padding_side to '{mended}' in tokenizer_config.json"
        with pytest.raises(vxlab.VxlabError, match=message):
            vxlab.load_model(folder, 2)
        return
    model, reads = vxlab.load_model(folder, 2), load_tokenizer(folder)
    with torch.no_grad():
        together = model(**reads(list(TEXTS), padding=True, return_tensors="pt")).logits
        alone = torch.cat([model(**reads([text], return_tensors="pt")).logits for text in TEXTS])
    assert float(alone.std()) > 1e-3
    assert float((together - alone).abs().max()) < 1e-5


def test_a_copys_new_head_is_the_one_that_loading_again_draws(written: tuple[str, str]) -> None:
    name, folder = written
    tokenizer(side="left" if name == "xlnet" else "right").save_pretrained(folder)
    base = vxlab.load_model(folder, 3)
    torch.manual_seed(5)
    loaded, after_loading = vxlab.load_model(folder, 3), torch.rand(1)
    torch.manual_seed(5)
    copied, after_copying = copy_with_new_head(base), torch.rand(1)
    differing = [
        key for key, tensor in loaded.state_dict().items() if not torch.equal(tensor, copied.state_dict()[key])
    ]
    alike = not differing and torch.equal(after_loading, after_copying)
    assert alike is (name not in UNLIKE), differing


def test_the_limit_of_positions_is_where_the_model_ends(written: tuple[str, str]) -> None:
    name, folder = written
    tokenizer(side="left" if name == "xlnet" else "right").save_pretrained(folder)
    model = vxlab.load_model(folder, 2)
    limit = position_limit(model)
    assert limit == (None if name in UNLIMITED else 22 if name in {"roberta", "mpnet"} else 24)

    def read(tokens: int) -> None:
        with torch.no_grad():
            model(input_ids=torch.tensor([[9] * (tokens - 1) + [2]]), attention_mask=torch.ones(1, tokens).long())

    read(limit or 40)
    if limit is not None:
        with pytest.raises((IndexError, RuntimeError)):
            read(limit + 1)


def test_a_text_longer_than_the_positions_is_refused_before_training(toy_task: str, tmp_path: Path) -> None:
    folder = write_classifier("roberta", tmp_path)
    for materials in (Materials(), Materials(reuse=False)):
        assert materials.model(toy_runs.spec(folder, toy_task, max_length=22)) is not None
        with pytest.raises(vxlab.VxlabError, match=r"max_length=23: .* reads 22 tokens at most; choose 1 to 22"):
            materials.model(toy_runs.spec(folder, toy_task, max_length=23))


def test_a_token_without_an_embedding_is_refused(toy_task: str, tmp_path: Path) -> None:
    folder = write_classifier("bert", tmp_path)
    larger = tokenizer()
    larger.add_tokens(["lovely", "dull"])
    larger.save_pretrained(folder)
    assert vxlab.load_model(folder, 2) is not None  # nobody need write those
    message = (
        r"has 48 token embeddings, and its tokenizer writes 'lovely' as id 48 \(it knows 50\); call "
        r"model.resize_token_embeddings\(50\), and save both"
    )
    with pytest.raises(vxlab.VxlabError, match=message):
        Materials().model(toy_runs.spec(folder, toy_task))
    larger.add_special_tokens({"pad_token": "[PAD]"})  # as many do for GPT-2
    larger.save_pretrained(folder)
    with pytest.raises(vxlab.VxlabError, match=r"writes '\[PAD\]' as id 50 \(it knows 51\)"):
        vxlab.load_model(folder, 2)


def test_a_tokenizer_that_cannot_pad_is_refused(tmp_path: Path) -> None:
    folder = write_classifier("gpt2", tmp_path)
    tokenizer(pad_token=None).save_pretrained(folder)
    model = vxlab.load_model(folder, 2)
    assert model.config.pad_token_id == load_tokenizer(folder).eos_token_id == 2
    tokenizer(pad_token=None, eos_token=None).save_pretrained(folder)
    with pytest.raises(vxlab.VxlabError, match="has no padding token, and no end-of-text token to pad with; name one"):
        vxlab.load_model(folder, 2)


def test_a_model_that_fails_on_its_tokenizers_texts_is_refused(tmp_path: Path) -> None:
    folder = write_classifier("bart", tmp_path)  # which reads the last token of the id that ends a text
    ending = tokenizer()
    ending.backend_tokenizer.post_processor = None
    ending.save_pretrained(folder)
    with pytest.raises(vxlab.VxlabError, match="BartForSequenceClassification fails on what its tokenizer") as caught:
        vxlab.load_model(folder, 2)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_of_another_alphabet_is_taken(tmp_path: Path) -> None:
    folder = write_classifier("bert", tmp_path)
    greek = Tokenizer(models.BPE({"<pad>": 0, "α": 1, "β": 2}, []))  # which writes nothing for the texts of the check
    PreTrainedTokenizerFast(tokenizer_object=greek, pad_token="<pad>").save_pretrained(folder)
    assert vxlab.load_model(folder, 2).config.pad_token_id == 0


def test_a_model_that_mixes_the_padding_in_is_warned_of(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.FNetConfig(vocab_size=48, **WIDTH, max_position_embeddings=24)
    transformers.FNetModel(config).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="FNetForSequenceClassification reads the padding too, so that a text's logi"):
        vxlab.load_model(str(tmp_path), 2)


def test_a_text_without_tokens_is_refused(toy_task: str, tmp_path: Path) -> None:
    folder = write_classifier("gpt2", tmp_path)
    bare = tokenizer()
    bare.backend_tokenizer.post_processor = None
    bare.save_pretrained(folder)
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"w{i} w{i % 7} film,{i % 2}\n" for i in range(40)) + '"\t",1\n')
    with pytest.raises(vxlab.VxlabError, match=r"row \d+ of the \w+ split holds '\\t', in which .* no token; take it"):
        Materials().splits(toy_runs.spec(folder, str(rows)))


@pytest.mark.parametrize(("name", "refused"), [("bart", True), ("t5", True), ("gpt2", False)])
def test_a_text_with_the_end_of_texts_in_it_is_refused_where_that_is_looked_for(
    name: str, refused: bool, tmp_path: Path
) -> None:
    folder, rows = write_classifier(name, tmp_path), tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"w{i} w{i % 7} film,{i % 2}\n" for i in range(40)) + "w1 </s> w2,1\n")
    spec = toy_runs.spec(folder, str(rows))
    if not refused:
        assert Materials().model(spec) is not None
        return
    with pytest.raises(
        vxlab.VxlabError, match=r"row \d+ of the \w+ split holds '</s>' in its text, by which the model"
    ):
        Materials().model(spec)


@pytest.mark.parametrize("name", ["bart", "t5", "gpt2"])
def test_a_run_takes_the_logits_of_whatever_a_model_returns(name: str, toy_task: str, tmp_path: Path) -> None:
    returns = {"output_hidden_states": True, "output_attentions": name == "bart", "return_dict": False}
    folder = write_classifier(name, tmp_path / "model", **returns, attn_implementation="eager")
    spec = toy_runs.spec(folder, toy_task, method=vxlab.Head(), epochs=1, train_examples=16, eval_examples=8)
    record = vxlab.run(spec, store=tmp_path / "store", progress=False)
    assert record.predictions()[0].shape == (8, 2)
