"""Adapters that were trained elsewhere in a store: looked at like a run's, and counted with no run."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES
from text_batches import text_batches
from toy_records import key_of, stored_record
from toy_updates import moved_run

import vxlab
from vxlab.cli import main
from vxlab.experiments import RunRecord
from vxlab.experiments.imports.imported import import_adapter, import_adapters
from vxlab.experiments.runs import finished_run, load_trained, require_finished, trained_updates
from vxlab.experiments.store import Store, leftovers, new_owner, problems, runs_table
from vxlab.experiments.sweeps.stored import stored_sweeps
from vxlab.experiments.sweeps.stored_scores import best_runs
from vxlab.studies.subspaces import whereabouts
from vxlab.studies.updates import pair_table, update_tables
from vxlab.studies.weight_similarity import rotation_table, similarity_table

peft = pytest.importorskip("peft")
foreign: Any = pytest.importorskip("foreign_folders")
pytestmark = pytest.mark.filterwarnings("ignore:.* was drawn at random when the model was loaded")
TEXTS = ["a lovely film about people in town", "the story was boring", "great summer", "an awful, long, average film"]


@pytest.fixture(scope="module")
def base(tiny_model: str) -> str:
    return tiny_model


def peft_folder(folder: Path, base: str, config: Any, seed: int = 3) -> Any:
    """Write a folder as peft does, of the tiny encoder, and return peft's model."""
    with foreign.as_peft_warns():
        model = peft.get_peft_model(vxlab.load_model(base, 2), config)
        foreign.move(model, seed)
        model.eval().save_pretrained(folder)
    return model


def lora(**settings: Any) -> Any:
    return peft.LoraConfig(
        **{"r": 3, "target_modules": ["query", "value"], "modules_to_save": ["classifier"], **settings}
    )


@pytest.fixture(scope="module")
def folders(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with adapters of peft and of ours in subfolders, and other things."""
    folder = tmp_path_factory.mktemp("theirs")
    for seed in (1, 2):
        peft_folder(folder / "people" / f"lora-{seed}", base, lora(lora_alpha=seed), seed)
    peft_folder(folder / "dora", base, lora(use_dora=True))
    peft_folder(folder / "vera", base, peft.VeraConfig(r=3, target_modules=["query", "value"]))
    run = moved_run(folder / "run", base, vxlab.LoRA(rank=3), seed=5)
    (folder / "notes").mkdir()
    (folder / "readme.txt").write_text(run.key)
    return folder


def test_a_folder_becomes_a_record_that_holds_what_is_known(base: str, folders: Path, tmp_path: Path) -> None:
    record = import_adapter(folders / "people" / "lora-1", base, store=tmp_path)
    assert (record.status, record.layers, len(record.key)) == ("imported", 4, 64)
    assert record.spec["method"]["name"] == "lora"
    assert record.spec["method"]["rank"] == 3
    assert record.spec["targets"] == "query-value"
    known = {name for name, value in record.spec.items() if value is not None}
    assert known == {"model", "method", "targets", "adapter"}
    assert record.parameters["backbone"] == 4 * 3 * (32 + 32)
    assert (record.metrics, record.curve, record.best_epoch, record.training, record.hardware) == ([], [], None, {}, {})
    with Store(tmp_path) as store:
        kept = store.record(record.key)
        assert kept is not None
        assert kept.digest == record.digest
        table = store.imports.table()
    assert table[["key", "status", "adapter", "label", "targets"]].to_numpy().tolist() == [
        [record.key, "imported", "lora-1", "LoRA r=3", "query-value"]
    ]


@pytest.mark.parametrize("name", ["people/lora-1", "dora", "vera", "run/adapter"])
def test_its_updates_and_its_answers_are_those_of_the_folder(
    name: str, base: str, folders: Path, tmp_path: Path
) -> None:
    record = import_adapter(folders / name, base, store=tmp_path)
    updates = vxlab.updates_from(folders / name, base)
    assert list(trained_updates(record)) == list(updates)
    for layer, update in trained_updates(record).items():
        torch.testing.assert_close(update.to_matrix(), updates[layer].to_matrix(), rtol=0, atol=1e-6)
    if name == "run/adapter":
        return
    with foreign.as_peft_warns():
        theirs = peft.PeftModel.from_pretrained(vxlab.load_model(base, 2), folders / name).eval()
    batch = {"input_ids": torch.tensor([[101, 2054, 2003, 102]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    with torch.no_grad():
        if name != "vera":  # whose head was not saved
            torch.testing.assert_close(load_trained(record)(**batch).logits, theirs(**batch).logits, rtol=0, atol=1e-5)


def test_one_adapter_on_one_base_is_there_once(base: str, folders: Path, tmp_path: Path) -> None:
    first = import_adapter(folders / "people" / "lora-1", base, store=tmp_path)
    assert import_adapter(folders / "people" / "lora-1", base, store=tmp_path).digest == first.digest
    headless = [import_adapter(folders / "vera", base, store=tmp_path / name).key for name in ("a", "b")]
    assert headless[0] == headless[1]
    converted = import_adapter(first.adapter_folder(), base, store=tmp_path)
    assert converted.key == first.key
    other = import_adapter(folders / "people" / "lora-2", base, store=tmp_path)
    assert other.key != first.key
    model: Any = vxlab.load_model(base, 2)
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight.add_(1)
    moved = tmp_path / "moved"
    model.save_pretrained(moved)
    for path in Path(base).iterdir():
        if not (moved / path.name).exists():
            (moved / path.name).write_bytes(path.read_bytes())
    assert import_adapter(folders / "people" / "lora-1", moved, store=tmp_path).key != first.key
    with Store(tmp_path) as store:
        assert len(store.imports.records()) == 3


def test_a_folder_of_folders_opens_in_every_study(base: str, folders: Path, tmp_path: Path) -> None:
    records = import_adapters(folders, base, store=tmp_path)
    assert list(records) == ["dora", "people/lora-1", "people/lora-2", "run/adapter", "vera"]
    one, two, dora = records["people/lora-1"], records["people/lora-2"], records["dora"]
    tables = update_tables(one, store=tmp_path)
    assert tables.layers["rank"].tolist() == [3] * 4
    updates = {name: trained_updates(record) for name, record in records.items()}
    pairs = pair_table(one, dora, store=tmp_path).set_index("layer")
    for layer, row in pairs.iterrows():
        x, y = (updates[name][layer].to_matrix().numpy() for name in ("people/lora-1", "dora"))
        assert row["cosine"] == pytest.approx((x * y).sum() / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-9)
    found = whereabouts(records, store=tmp_path)
    assert set(found.spectra["of"]) == {"W", *records}
    similar = similarity_table([one, two, records["vera"]], text_batches(base, TEXTS), draws=1)
    assert set(similar["kind"]) == {
        "LoRA – LoRA, seeds unknown", "VeRA – LoRA, seeds unknown", "LoRA – random LoRA", "VeRA – random VeRA",
    }  # fmt: skip
    names = {"VeRA, vera", "LoRA, people/lora-1", "LoRA, people/lora-2"}
    assert names >= set(similar[~similar["kind"].str.contains("random")]["first"])
    layer = next(iter(updates["people/lora-1"]))
    row = similar[(similar["kind"] == "LoRA – LoRA, seeds unknown") & (similar["layer"] == layer)].iloc[0]
    expected = updates["people/lora-2"][layer].cosine(updates["people/lora-1"][layer])
    assert row["cosine"] == pytest.approx(expected, abs=1e-12)
    assert len(rotation_table(one, two, role="query", samples=20)) == 2
    for shown in (vxlab.explore_updates(one, two, store=tmp_path, interactive=False),
                  vxlab.explore_subspaces(one, store=tmp_path, interactive=False)):  # fmt: skip
        assert shown.data
    words = vxlab.explore_updates(one, two, store=tmp_path, interactive=False).layout.annotations[-1].text
    assert "LoRA r=3" in words


def test_it_stands_beside_a_run(base: str, folders: Path, tmp_path: Path) -> None:
    run = moved_run(tmp_path / "run", base, vxlab.LoRA(rank=3))
    imported = import_adapter(folders / "people" / "lora-1", base, store=tmp_path)
    run = dataclasses.replace(run, identity=imported.identity)
    assert len(pair_table(run, imported, store=tmp_path)) == 4
    similar = similarity_table([run, imported], text_batches(base, TEXTS), draws=0)
    assert set(similar["kind"]) == {"LoRA – LoRA, seeds unknown"}


def test_no_table_of_runs_has_it(base: str, folders: Path, tmp_path: Path) -> None:
    with Store(tmp_path / "runs.db") as store:
        store.finish(stored_record(store.folder, key_of(1)), new_owner())
        before = store.table()
        sweeps = stored_sweeps(store)
        import_adapters(folders, base, store=store)
        assert store.table().equals(before)
        assert len(stored_sweeps(store)) == len(sweeps) == 1
        assert stored_sweeps(store)[0].runs.equals(sweeps[0].runs)
        assert runs_table(store)["key"].tolist() == [key_of(1)]
        assert best_runs(store)["runs"].tolist() == [1]
        assert leftovers(store) == []
        assert [said for name, said in problems(store) if name != key_of(1)] == []
        assert vxlab.explore_sweep(store, interactive=False)


def test_what_only_a_run_has_is_refused_in_words(base: str, folders: Path, tmp_path: Path) -> None:
    record = import_adapter(folders / "people" / "lora-1", base, store=tmp_path)
    with pytest.raises(vxlab.VxlabError, match="is an imported adapter, which no run scored"):
        record.score()
    with pytest.raises(vxlab.VxlabError, match=r"\(imported\) holds no predictions"):
        record.predictions()
    with pytest.raises(vxlab.VxlabError, match=r"LoRA, lora-1 .* is an imported adapter: its updates can be looked at"):
        require_finished(record)
    assert RunRecord.load(record.folder) is None
    assert vxlab.inspect_folder(record.adapter_folder(), base).kind.startswith("an adapter")
    with pytest.raises(vxlab.VxlabError):
        finished_run({"key": "0" * 64, "label": "LoRA", "status": "imported", "error": None}, tmp_path)


def test_folders_that_cannot_be_imported_leave_nothing(base: str, folders: Path, tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match=r"holds no adapter; it holds 5 that do \(dora, …\): import_adapters"):
        import_adapter(folders, base, store=tmp_path)
    with pytest.raises(vxlab.VxlabError, match="has no adapter in its subfolders"):
        import_adapters(folders / "notes", base, store=tmp_path)
    with pytest.raises(vxlab.VxlabError, match="is not there; name the folder of an adapter"):
        import_adapter(folders / "none", base, store=tmp_path)
    foreign.save_trained(tmp_path / "llama", "llama", peft.LoraConfig(r=2, target_modules=["q_proj"]))
    with pytest.raises(vxlab.VxlabError, match=r"adapts `model.layers.0.self_attn.q_proj`, which this BertFor"):
        import_adapter(tmp_path / "llama", base, store=tmp_path)
    with Store(tmp_path) as store:
        assert store.imports.records() == []
        assert not store.imports.folder.exists()


@pytest.mark.filterwarnings("error")
def test_a_head_that_does_not_lie_with_it_is_told_of(base: str, folders: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="holds no `classifier.bias`, and .* was drawn at random"):
        import_adapter(folders / "vera", base, store=tmp_path)
    assert len(vxlab.updates_from(folders / "vera", base)) == 4
    assert import_adapter(folders / "people" / "lora-1", base, store=tmp_path).parameters["head"] == 66


def test_targets_are_told_shortly_where_that_says_it_all(base: str, tmp_path: Path) -> None:
    for targets, said in (
        (["query", "key", "value"], ["key", "query", "value"]),
        (["dense", "query", "key", "value"], "all-linear"),
        (r".*encoder\.layer\.1\..*query", ["bert.encoder.layer.1.attention.self.query"]),
    ):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        exclude = {"exclude_modules": r".*pooler.*"} if "dense" in targets else {}
        peft_folder(folder, base, lora(target_modules=targets, **exclude))
        assert import_adapter(folder, base, store=tmp_path / "store").spec["targets"] == said


def test_a_folder_of_the_released_lora_xs_is_imported(base: str, tmp_path: Path) -> None:
    released: Any = pytest.importorskip("released_lora_xs")
    with foreign.as_peft_warns():
        model = released.released_model(vxlab.load_model(base, 2), ["query"], rank=3, bases=released.exact)
        folder = released.write_released(model, tmp_path / "released")
    alone = vxlab.updates_from(folder)
    layers = {name: layer for name, layer in model.base_model.model.named_modules() if hasattr(layer, "lora_A")}
    assert list(alone) == list(layers)
    record = import_adapter(folder, base, store=tmp_path)
    assert record.spec["method"]["name"] == "lora_xs"
    for name, layer in layers.items():
        A, B, R = (each.weight.detach().double() for each in (
            layer.lora_A["default"], layer.lora_B["default"], layer.default_lora_latent_mapping))  # fmt: skip
        expected = layer.scaling["default"] * B @ R @ A
        for updates in (alone, trained_updates(record), vxlab.updates_from(folder, base)):
            torch.testing.assert_close(updates[name].to_matrix(), expected, rtol=0, atol=1e-5)


def test_a_writer_s_adapter_is_imported_too(tiny_writer: str, tmp_path: Path) -> None:
    with foreign.as_peft_warns():
        model = peft.get_peft_model(vxlab.load_model(tiny_writer, 0), peft.LoraConfig(r=2, target_modules=["q_proj"]))
        foreign.move(model)
        model.save_pretrained(tmp_path / "a")
    record = import_adapter(tmp_path / "a", tiny_writer, store=tmp_path)
    assert record.task["num_labels"] == 0
    assert update_tables(record, store=tmp_path).layers["rank"].tolist() == [2, 2]
    assert ARCHITECTURES["llama-lm"]().config.model_type == "llama"


def test_the_command_line_lists_shows_and_deletes_it(
    base: str, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = import_adapter(folders / "people" / "lora-1", base, store=tmp_path / "runs.db")
    at = ["--store", str(tmp_path / "runs.db")]
    assert main(["runs", "list", *at]) == 0
    listed = capsys.readouterr().out
    for said in (record.key[:12], "imported  lora-1", "1 imported adapter in"):
        assert said in listed
    assert main(["runs", "list", "--status", "imported", *at]) == 0
    assert "0 runs" not in capsys.readouterr().out
    assert main(["runs", "show", record.key[:8], *at]) == 0
    assert "status: imported" in capsys.readouterr().out
    assert main(["runs", "verify", *at]) == 0
    assert main(["runs", "rm", record.key[:8], *at]) == 0
    assert "1 would go" in capsys.readouterr().out
    assert main(["runs", "rm", record.key[:8], "--yes", *at]) == 0
    with Store(tmp_path / "runs.db") as store:
        assert store.record(record.key) is None
