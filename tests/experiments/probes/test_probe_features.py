"""Features of frozen models of every architecture: a text's own, and only where they make sense."""

from pathlib import Path

import numpy as np
import pytest
import torch
from classifiers import CLASSIFIERS, DECODERS, TEXTS, tokenizer, write_classifier
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import ResNetConfig, ResNetForImageClassification

import vxlab
from vxlab.experiments.models.load import load_tokenizer
from vxlab.experiments.probes.probe_features import available_poolings, features_of, pool
from vxlab.experiments.tasks.kinds import CLASSIFICATION, Collate, Form


def rows_of(folder: str) -> Dataset:
    """Return four tokenised texts, numbered out of their order."""
    encoded = dict(load_tokenizer(folder)(list(TEXTS)))
    lengths = [len(ids) for ids in encoded["input_ids"]]
    return Dataset.from_dict({**encoded, "label": [0] * 4, "length": lengths, "row": [2, 0, 3, 1]})


def collate_of(folder: str) -> Collate:
    """Return what pads a batch of texts."""
    return CLASSIFICATION.collate(load_tokenizer(folder), Form())


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_a_text_has_its_features_alone_as_in_a_batch(name: str, tmp_path: Path) -> None:
    folder = write_classifier(name, tmp_path / name)
    tokenizer(side="left" if name == "xlnet" else "right").save_pretrained(folder)
    model, rows, collate = vxlab.load_model(folder, 2), rows_of(folder), collate_of(folder)
    poolings = available_poolings(model, rows, collate)
    expected = {"mean", "last" if name in DECODERS else "first"}
    assert set(poolings) - {"pooler"} == expected
    together = features_of(model, rows, collate, poolings)
    for place, row in enumerate(rows["row"]):
        only = rows.select([place]).remove_columns("row").add_column("row", [0])
        alone = features_of(model, only, collate, poolings)
        for pooling in poolings:
            np.testing.assert_allclose(together[pooling][row], alone[pooling][0], atol=1e-5)
    assert all(float(each.std(0).max()) > 1e-4 for each in together.values())


def test_what_a_model_pools_itself_counts_where_it_is_pretrained(tmp_path: Path) -> None:
    pretrained, drawn = write_classifier("albert", tmp_path / "albert"), write_classifier("bert", tmp_path / "bert")
    poolings = available_poolings(vxlab.load_model(pretrained, 2), rows_of(pretrained), collate_of(pretrained))
    assert poolings == ("mean", "first", "pooler")
    file = tmp_path / "bert" / "model.safetensors"
    without = {name: each for name, each in load_file(file).items() if "pooler" not in name}
    save_file(without, file, metadata={"format": "pt"})
    assert available_poolings(vxlab.load_model(drawn, 2), rows_of(drawn), collate_of(drawn)) == ("mean", "first")


def test_a_feature_that_is_not_finite_is_an_error(tmp_path: Path) -> None:
    folder = write_classifier("bert", tmp_path / "bert")
    model = vxlab.load_model(folder, 2)
    with torch.no_grad():
        model.get_parameter("bert.embeddings.word_embeddings.weight").fill_(float("nan"))
    with pytest.raises(vxlab.VxlabError, match=r"features \(mean over tokens\) are not finite in float32"):
        features_of(model, rows_of(folder), collate_of(folder), ["mean"])


def test_a_model_without_a_state_for_each_token_is_refused(tmp_path: Path) -> None:
    folder = write_classifier("bert", tmp_path / "bert")
    model = vxlab.load_model(folder, 2)
    model.bert.register_forward_hook(lambda module, given, output: output.__class__(output.last_hidden_state[:, :1]))
    with pytest.raises(vxlab.VxlabError, match="BertModel does not give one for each; use Head"):
        available_poolings(model, rows_of(folder), collate_of(folder))


def test_a_map_of_convolutions_is_pooled_to_one_vector_an_image() -> None:
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=2)
    found = pool(
        ResNetForImageClassification(config).eval(), {"pixel_values": torch.rand(3, 3, 32, 32)}, ("mean", "pooler")
    )
    assert found["pooler"].shape == (3, 8)
    torch.testing.assert_close(found["pooler"], found["mean"])
