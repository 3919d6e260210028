"""A model card: valid for the hub, with the run's own numbers, without this machine's paths, and its code works."""

import dataclasses
import getpass
import json
import math
import re
import shutil
from pathlib import Path

import exported
import pytest
import torch
from huggingface_hub import ModelCard

import vxlab
from vxlab.experiments.assets import list_assets
from vxlab.experiments.candidates.run_scores import score_table
from vxlab.experiments.exchange.bases import BaseName, name_base, packaged_name
from vxlab.experiments.exchange.load_code import write_load_code
from vxlab.experiments.exchange.model_card import write_card
from vxlab.experiments.exchange.source import open_source
from vxlab.experiments.record import RunRecord
from vxlab.experiments.runs.trained import load_trained


@pytest.fixture(scope="module")
def merged(classifier: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vxlab.export_adapter(classifier, tmp_path_factory.mktemp("cards") / "whole", format="merged")


def test_the_hub_reads_it(merged: Path) -> None:
    card = ModelCard.load(merged / "README.md")
    assert card.data.to_dict() == {
        "library_name": "transformers", "pipeline_tag": "text-classification", "tags": ["vxlab", "lora"],
    }  # fmt: skip


def test_it_holds_the_runs_own_numbers(merged: Path, classifier: RunRecord) -> None:
    text = (merged / "README.md").read_text()
    _, own = score_table({"own": classifier}).to_dict("records")
    row = f"{100 * own['score']:.1f} % | {100 * own['low']:.1f} % to {100 * own['high']:.1f} %"
    assert f"| 40 of test | accuracy | {row} |" in text
    for told in (classifier.key, classifier.identity["model"], "LoRA r=4", "| trained parameters | 1,024 (",
                 "| learning rates | 0.01 |", "1 epoch, 15 steps", f"vxlab {vxlab.__version__}"):  # fmt: skip
        assert told in text


def test_nothing_of_this_machine_is_in_an_export(
    classifier: RunRecord, writer: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "LoRA r=4")  # whatever it is, it is not shown
    for number, run in enumerate((classifier, writer)):
        for format in ("peft", "lora", "merged", "vxlab"):
            folder = vxlab.export_adapter(run, tmp_path / f"{number}{format}", format=format)
            for path in folder.iterdir():
                if path.suffix in (".md", ".json") and path.name != "tokenizer.json":  # which is full of words
                    text = path.read_text()
                    found = re.findall(r"(?:/tmp|/home|/root|/work|/var)\b[^\"\s]*", text)
                    assert found == [], path
                    assert not re.search(rf"\b{re.escape(getpass.getuser())}\b", text), path
    assert "LoRA r=4" not in (tmp_path / "0merged" / "README.md").read_text()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("format", ["peft", "lora", "merged", "vxlab"])
def test_its_code_loads_what_was_trained(
    format: str, classifier: RunRecord, writer: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, run in enumerate((classifier, writer)):
        here = tmp_path / str(number)
        here.mkdir()
        (here / Path(run.spec["model"]).name).symlink_to(run.spec["model"])
        folder = vxlab.export_adapter(run, here / "out", format=format)
        monkeypatch.chdir(here)
        loaded = exported.run_code(folder / "README.md")["model"]
        assert torch.allclose(exported.answers(loaded), exported.answers(load_trained(run)), atol=1e-5)


def test_an_adapter_without_its_run_says_so(tiny_model: str, tmp_path: Path) -> None:
    model = exported.attach_stirred(tiny_model, 2, vxlab.LoRAXS(rank=4))
    text = (vxlab.export_adapter(model, tmp_path / "a", format="merged") / "README.md").read_text()
    assert "Not recorded here: it was exported without its run." in text
    assert "| alpha | default |" in text


def test_ranks_by_layer_are_told_with_their_layers(tiny_model: str, tmp_path: Path) -> None:
    model = exported.attach_stirred(tiny_model, 2, vxlab.LoRAXS(rank={"query": 2, "value": 5}), "query-value")
    text = (vxlab.export_adapter(model, tmp_path / "a", format="lora") / "README.md").read_text()
    rows = {line.split(" | ")[0]: line for line in text.splitlines() if line.startswith("| ")}
    assert "| rank | 2 on `bert.encoder.layer.*.attention.self.query` (2); 5 on `bert.encoder.layer.*" in rows["| rank"]
    assert rows["| method"] == "| method | LoRA-XS by layer |"


def test_what_would_break_a_table_is_escaped(classifier: RunRecord) -> None:
    spec = {**classifier.spec, "model": "a|b"}
    source = dataclasses.replace(open_source(classifier), record=dataclasses.replace(classifier, spec=spec))
    source = dataclasses.replace(source, layers=("a|b.0.q",))
    card = write_card(source, name_base("", {}), "merged", "out", None)
    assert "`a\\|b.*.q` (1)" in card
    assert "Not known: it was exported from a model in memory" in card


def test_a_score_without_an_interval_has_none(classifier: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vxlab.experiments.candidates.run_scores.interval", lambda *_, **__: (math.nan, math.nan))
    card = write_card(open_source(classifier), name_base("", {}), "merged", "out", None)
    assert re.search(r"\| 40 of test \| accuracy \| [\d.]+ % \| – \|", card)


def test_bases_are_named_as_others_know_them(tiny_model: str) -> None:
    packaged = name_base("minilm", {"model": "0a" * 32})
    assert packaged == BaseName("minilm", "sentence-transformers/all-MiniLM-L6-v2", "0a" * 32, True, "Apache-2.0")
    hub = name_base("org/name", {"model": "0a" * 20})
    assert (hub.name, hub.hub_id, hub.is_commit) == ("org/name", "org/name", True)
    folder = name_base(tiny_model, {})
    assert (folder.name, folder.hub_id, len(folder.fingerprint)) == ("tiny", "", 64)
    assert name_base(f"{tiny_model}/../tiny", {}).name == "tiny"
    assert name_base("/no/such/place", {}).fingerprint == ""
    where = vxlab.experiments.assets.cache._folder(list_assets()["minilm"])
    assert packaged_name(str(where)) == "minilm"


def test_the_code_names_what_a_base_is(classifier: RunRecord, writer: RunRecord) -> None:
    source = open_source(classifier)
    packaged = write_load_code(source, name_base("minilm", {"model": "1"}), "peft", "out")
    assert 'vxlab.load_model("minilm", 2), load_tokenizer("minilm")' in packaged
    hub = write_load_code(source, BaseName("org/name", "org/name", "0", False, ""), "lora", "out")
    loading = 'BertForSequenceClassification.from_pretrained(base, dtype="float32", num_labels=2)'
    assert f'base = "org/name"\nmodel = {loading}' in hub
    assert "model.load_adapter(folder)" in hub
    folder = write_load_code(open_source(writer), BaseName("w", "", "0", False, ""), "lora", "out")
    assert 'base = "w"\nmodel = LlamaForCausalLM.from_pretrained(base, dtype="float32")' in folder
    assert "`base` is your copy of the base" in folder


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_its_code_pads_as_the_model_did(tiny_writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = shutil.copytree(tiny_writer, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))  # as most models that write have it
    model = exported.attach_stirred(str(base), 3, vxlab.LoRA(rank=2))
    card = vxlab.export_adapter(model, tmp_path / "out", format="lora") / "README.md"
    monkeypatch.chdir(tmp_path)
    loaded = exported.run_code(card)["model"].eval()
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 0, 0]])
    with torch.no_grad():
        theirs, ours = (each(input_ids=ids, attention_mask=(ids > 0).long()).logits for each in (loaded, model))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)


def test_scores_are_told_without_intervals_where_the_predictions_are_gone(
    classifier: RunRecord, tmp_path: Path
) -> None:
    moved = shutil.copytree(classifier.folder, tmp_path / "run")
    (moved / "predictions.safetensors").unlink()
    card = (vxlab.export_adapter(moved, tmp_path / "out", format="merged") / "README.md").read_text()
    score = f"{100 * classifier.score('accuracy'):.1f} %"
    assert f"| 40 of test | accuracy | {score} | – | 60.0 % |" in card
