"""A probe of the frozen model: scikit-learn's own answers, on features that padding does not touch, once a task."""

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_runs
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import vxlab
from vxlab.cli import main
from vxlab.experiments.probes.linear_probe import cross_validate
from vxlab.experiments.provenance.probe_words import choice_in_words
from vxlab.experiments.provenance.run_facts import run_facts, run_list
from vxlab.experiments.record import RunRecord
from vxlab.experiments.runs.trained import full_updates, load_trained, trained_updates
from vxlab.experiments.store.housekeeping import problems

WORDS = ("awful", "boring", "dull", "fine", "fair", "good", "great", "lovely")
C = [0.0001, 0.000316, 0.001, 0.00316, 0.01, 0.0316, 0.1, 0.316, 1, 3.16, 10, 31.6, 100]
ALPHA = [1e5, 31600, 1e4, 3160, 1000, 316, 100, 31.6, 10, 3.16, 1, 0.316, 0.1]


def write_task(folder: Path, kind: str, rows: int = 150) -> str:
    """Write texts of mixed words, whose labels follow their mean word with some noise."""
    draw = random.Random(1)
    folder.mkdir()
    for split, size in {"train": rows, "validation": 60, "test": 80}.items():
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label"))
            for row in range(size):
                places = [draw.randrange(len(WORDS)) for _ in range(draw.randint(3, 7))]
                level = sum(places) / len(places) + draw.gauss(0, 1)
                made = {"two": int(level > 3), "three": int(level > 3) + int(level > 4), "numbers": round(level, 3)}
                writer.writerow((" ".join([f"{split}{row}", *(WORDS[place] for place in places)]), made[kind]))
    return str(folder)


@pytest.fixture(scope="module", params=["two", "three", "numbers"])
def fitted(request: pytest.FixtureRequest, tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    folder = tmp_path_factory.mktemp("probe")
    return vxlab.run(probe(tiny_model, write_task(folder / "task", request.param)), store=folder / "s", progress=False)


def probe(model: str, task: str, **changes: Any) -> vxlab.RunSpec:
    return toy_runs.spec(model, task, method=vxlab.Probe(), **changes)


def slow_features(record: RunRecord) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return the features of every split, one text at a time in float64, by transformers' own classes alone."""
    from transformers import AutoTokenizer, BertModel

    model = BertModel.from_pretrained(record.spec["model"]).double().eval()
    tokenizer = AutoTokenizer.from_pretrained(record.spec["model"])
    found: dict[str, dict[str, Any]] = {}
    for name in ("train", "validation", "test"):
        with Path(record.spec["task"], f"{name}.csv").open(encoding="utf-8") as file:
            texts = [row["text"] for row in csv.DictReader(file)]
        made: list[dict[str, NDArray[np.float64]]] = []
        for text in texts:
            with torch.no_grad():
                output = model(**tokenizer(text, truncation=True, max_length=16, return_tensors="pt"))
            states = output.last_hidden_state[0].numpy()
            made.append({"mean": states.mean(0), "first": states[0], "pooler": output.pooler_output[0].numpy()})
        found[name] = {pooling: np.stack([each[pooling] for each in made]) for pooling in made[0]}
    return found


def slow_labels(record: RunRecord, split: str) -> NDArray[Any]:
    with Path(record.spec["task"], f"{split}.csv").open(encoding="utf-8") as file:
        told = [row["label"] for row in csv.DictReader(file)]
    return np.array(told, dtype=float if record.task["num_labels"] == 1 else int)


def by_scikit_learn(record: RunRecord) -> tuple[str, float, Pipeline, NDArray[Any]]:
    """Choose strength and pooling by scikit-learn alone; return them, the model and its test features."""
    features, truth = slow_features(record), slow_labels(record, "train")
    regression = record.task["num_labels"] == 1
    folds: Any = (KFold if regression else StratifiedKFold)(5, shuffle=True, random_state=0)

    def model(strength: float) -> Pipeline:
        last = Ridge(alpha=strength) if regression else LogisticRegression(C=strength, tol=1e-6, max_iter=5000)
        return make_pipeline(StandardScaler(), last)

    def score(predicted: NDArray[Any], labels: NDArray[Any]) -> float:
        return float(np.corrcoef(predicted, labels)[0, 1] if regression else accuracy_score(labels, predicted))

    best: dict[str, tuple[float, float, Pipeline]] = {}
    for pooling, train in features["train"].items():
        held_out = {
            each: cross_val_predict(model(each), train, truth, cv=folds) for each in (ALPHA if regression else C)
        }
        strength = max(held_out, key=lambda each: score(held_out[each], truth))
        whole = model(strength).fit(train, truth)
        validation = score(whole.predict(features["validation"][pooling]), slow_labels(record, "validation"))
        best[pooling] = validation, strength, whole
    pooling = max(best, key=lambda name: best[name][0])
    return pooling, best[pooling][1], best[pooling][2], features["test"][pooling]


def test_a_probe_answers_as_scikit_learn_does_on_features_of_its_own(fitted: RunRecord) -> None:
    pooling, strength, model, test = by_scikit_learn(fitted)
    logits, labels = (each.numpy() for each in fitted.predictions())
    truth = slow_labels(fitted, "test")
    assert (fitted.probe["pooling"], fitted.probe["strength"], fitted.probe["folds"]) == (pooling, strength, 5)
    np.testing.assert_allclose(labels, truth, rtol=1e-6)
    if fitted.task["num_labels"] == 1:
        np.testing.assert_allclose(logits[:, 0], model.predict(test), atol=1e-4)
        assert fitted.score("pearson") == pytest.approx(np.corrcoef(model.predict(test), truth)[0, 1], abs=1e-5)
        return
    shares = torch.from_numpy(logits).softmax(1).numpy()
    np.testing.assert_allclose(shares, model.predict_proba(test), atol=1e-3)
    assert fitted.score() == accuracy_score(truth, model.predict(test))
    average = {"f1": "binary", "f1_macro": "macro"}[metric := fitted.task["metrics"][1]]
    assert fitted.score(metric) == pytest.approx(f1_score(truth, model.predict(test), average=average))
    assert fitted.score("loss") == pytest.approx(
        -np.log(model.predict_proba(test)[np.arange(80), truth]).mean(), abs=1e-3
    )


def test_a_probes_record_is_whole_and_counts_what_is_stored(fitted: RunRecord) -> None:
    outputs = fitted.task["num_labels"]
    assert fitted.parameters["backbone"] == fitted.layers == fitted.steps == 0
    assert fitted.parameters["head"] == outputs * (32 + 1)
    assert fitted.bytes_stored == sum(each.stat().st_size for each in (fitted.folder / "adapter").iterdir())
    again = RunRecord.whole(fitted.folder, fitted.key)
    assert again == fitted
    assert again is not None
    assert again.probe["validation"].keys() == {"mean", "first", "pooler"}
    assert fitted.score(split="validation") == max(fitted.probe["validation"].values())
    with vxlab.Store(fitted.folder.parents[1]) as store:
        assert list(problems(store)) == []
        (row,) = store.table().to_dict("records")
        assert (row["label"], row["targets"], row["status"]) == ("probe", "none", "finished")
        assert np.isnan(row["learning_rate"])


def test_what_a_probe_chose_is_told(fitted: RunRecord) -> None:
    told = choice_in_words(fitted)
    assert f"{'α' if fitted.task['num_labels'] == 1 else 'C'} = {fitted.probe['strength']:g} by 5-fold" in told
    assert told.count("mean over tokens") == told.count("first token") == told.count("own pooled output") == 1


def test_a_page_says_what_a_probe_chose_and_no_seed_of_it(
    fitted: RunRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = run_facts([fitted]).set_index("fact")["value"]
    assert facts["the probe's choice"] == choice_in_words(fitted)
    assert "seeds" not in facts
    assert run_list([fitted])["seed"].isna().all()
    store = str(fitted.folder.parents[1])
    assert main(["runs", "list", "--store", store]) == main(["runs", "verify", "--store", store]) == 0
    told = capsys.readouterr().out
    assert "nan" not in told
    assert "all are whole" in told


def test_a_file_and_the_command_line_name_a_probe_as_any_other_method(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("candidates: [{method: lora, rank: 2}, {method: probe}]\nepochs: 1\n", encoding="utf-8")
    fair = vxlab.read_sweep(file)
    assert isinstance(fair, vxlab.FairSweep)
    assert list(fair.names) == ["LoRA r=2", "probe"]
    assert "probe" in vxlab.fair_recipe("smoke", others=["head", "probe"]).names
    file.write_text("candidates: [{method: probe, learning_rate: 0.1}]\n", encoding="utf-8")
    with pytest.raises(vxlab.VxlabError, match=r"learning_rate=0\.1 of probe, which has none; leave it out"):
        vxlab.read_sweep(file)


def test_a_loaded_probe_gives_the_runs_own_answers(fitted: RunRecord) -> None:
    from transformers import AutoTokenizer

    model, tokenizer = load_trained(fitted), AutoTokenizer.from_pretrained(fitted.spec["model"])
    texts = list(vxlab.load_task(fitted.spec["task"]).splits["test"]["text"])
    batch = tokenizer(texts, truncation=True, max_length=16, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits
    torch.testing.assert_close(logits, fitted.predictions()[0], atol=1e-4, rtol=1e-4)
    assert not any(parameter.requires_grad for parameter in model.model.parameters())


def test_what_looks_at_updates_says_that_a_probe_has_none(fitted: RunRecord, tmp_path: Path) -> None:
    for look in (trained_updates, full_updates, vxlab.explore_updates, vxlab.explore_subspaces):
        with pytest.raises(vxlab.VxlabError, match="is of a probe, which trains nothing in the backbone"):
            look(fitted)  # type: ignore[operator]
    with pytest.raises(vxlab.VxlabError, match=r"holds no adapter, but a run of probe, .*load_trained\(record\)"):
        vxlab.load_adapter(vxlab.load_model(fitted.spec["model"], 2), fitted.folder / "adapter")


def test_nothing_that_belongs_to_steps_makes_another_run_of_a_probe(tiny_model: str, toy_task: str) -> None:
    plain = vxlab.RunSpec(method=vxlab.Probe(), model=tiny_model, task=toy_task, device="cpu", max_length=16)
    others = (
        {"learning_rate": 3.0}, {"head_learning_rate": 1.0}, {"epochs": 9}, {"batch_size": 3}, {"warmup": 0.5},
        {"weight_decay": 0.1}, {"targets": "mlp"}, {"seed": 7},
    )  # fmt: skip
    for changes in others:
        assert probe(tiny_model, toy_task, **changes) == plain
        assert probe(tiny_model, toy_task, **changes).key() == plain.key()
    for changes in ({"max_length": 12}, {"train_examples": 9}, {"precision": "bfloat16"}):
        assert probe(tiny_model, toy_task, **changes).key() != plain.key()


def test_a_method_that_takes_steps_still_needs_its_rates() -> None:
    with pytest.raises(vxlab.VxlabError, match=r"learning_rate=0\.0 is not a positive number"):
        vxlab.RunSpec(method=vxlab.Head())


def test_a_sweep_fits_a_probe_once(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    specs = vxlab.grid(
        [vxlab.Probe()], learning_rates=[1e-3, 1e-2], seeds=range(3), model=tiny_model, task=toy_task, device="cpu"
    )
    table = vxlab.sweep(specs, store=tmp_path, engine="processes", workers=1, progress=False)
    assert len(table) == 6
    assert table["key"].nunique() == table["attempts"].sum() / 6 == 1
    assert set(table["status"]) == {"finished"}


def test_attaching_a_probe_is_refused_with_what_to_do() -> None:
    model = torch.nn.Linear(2, 2)
    with pytest.raises(vxlab.VxlabError, match=r"nothing to attach: .*run it with vxlab\.run\(vxlab\.RunSpec\(method="):
        vxlab.attach(model, vxlab.Probe())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_who_listens_to_steps_is_told_that_a_probe_takes_none(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    from vxlab.views.explorers.live.state import SoFar

    spec = probe(tiny_model, toy_task)
    with pytest.raises(vxlab.VxlabError, match=r"a listener hears of gradient steps, and Probe\(\) takes none"):
        vxlab.run(spec, store=tmp_path, listener=SoFar(spec, spec.load_task()))
    for interactive in (True, False):
        with pytest.raises(vxlab.VxlabError, match=r"Probe\(\) takes no gradient steps, so there is nothing to watch"):
            vxlab.live_run(spec, store=tmp_path, interactive=interactive)


def test_one_process_fits_a_probe(tiny_model: str, toy_task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(vxlab.VxlabError, match=r"Probe\(\) is fitted by one process; start it without torchrun's 2"):
        vxlab.run(probe(tiny_model, toy_task))


def test_rows_too_few_for_folds_leave_the_strength_to_validation(tiny_model: str, tmp_path: Path) -> None:
    task = tmp_path / "task"
    write_task(task, "two", rows=2)
    (task / "train.csv").write_text("text,label\na great film,1\nan awful film,0\n", encoding="utf-8")
    record = vxlab.run(probe(tiny_model, str(task)), store=tmp_path / "s", progress=False)
    assert record.probe["folds"] == 0
    assert "by validation" in choice_in_words(record)
    assert np.isfinite(record.score())


def test_rows_of_one_unit_stay_in_one_fold(tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tmp_path / "task"
    write_task(task, "two")
    for file in task.iterdir():
        head, *rows = file.read_text(encoding="utf-8").splitlines()
        told = [f"{row},{file.stem} {number // 4}" for number, row in enumerate(rows)]
        file.write_text("\n".join([f"{head},film", *told]) + "\n", encoding="utf-8")
    seen: list[Any] = []
    monkeypatch.setattr(
        "vxlab.experiments.runs.probe.cross_validate", lambda *given: seen.append(given[4]) or cross_validate(*given)
    )
    record = vxlab.run(probe(tiny_model, str(task), group_column="film"), store=tmp_path / "s", progress=False)
    assert len(seen) == 3
    for units in seen:
        assert [len(set(units[row : row + 4])) for row in range(0, 150, 4)] == [1] * 38
        assert len(set(units)) == 38
    units = record.units()
    assert units is not None
    assert len(set(units)) == 20


def test_the_bars_and_curves_of_runs_take_a_probe_beside_others(
    fitted: RunRecord, tiny_model: str, tmp_path: Path
) -> None:
    from vxlab.experiments.candidates.run_scores import score_table
    from vxlab.views.figures.curves import learning_curves

    head = toy_runs.spec(tiny_model, fitted.spec["task"], method=vxlab.Head(), epochs=1)
    runs = {"head only": vxlab.run(head, store=tmp_path, progress=False), "probe": fitted}
    assert list(score_table(runs)["answer"][1:]) == ["head only", "probe"]
    learning_curves(runs)
    learning_curves({"probe": fitted})
