"""The E2E challenge's files: every input once, with all of its references."""

import csv

import datasets
import pytest
from places import ROOT

from vxlab.errors import DataWarning, VxlabError
from vxlab.experiments.tasks.kinds import GENERATION
from vxlab.experiments.tasks.sets.e2e import METRICS
from vxlab.experiments.tasks.task import load_task

E2E = ROOT.parent / "shared" / "data" / "e2e"
OFFICIAL = ROOT.parent / "shared" / "data" / "e2e_metrics"


def _pairs(inputs, references=2, name="name"):
    return [(f"{name}[{number}], area[riverside]", f"{name} {number} is by the river, said {each}.")
            for number in range(inputs) for each in range(references)]  # fmt: skip


def _write(folder, **files):
    for name, pairs in {"devset": _pairs(20, name="dev"), "testset_w_refs": _pairs(5, name="test"), **files}.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("mr", "ref"), *pairs])
    return folder


def test_the_challenges_splits_are_taken_as_they_are(tmp_path):
    task = load_task("e2e", folder=_write(tmp_path, trainset=_pairs(30)))
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 60, "validation": 20, "test": 5}
    assert task.splits["train"][1] == {
        "text": "name[0], area[riverside]\n",
        "answer": "name 0 is by the river, said 1.",
    }
    assert task.splits["test"][0] == {
        "text": "test[0], area[riverside]\n",
        "references": ["test 0 is by the river, said 0.", "test 0 is by the river, said 1."],
    }
    assert (task.num_labels, task.label_names, task.metrics, task.kind) == (0, (), METRICS, GENERATION)
    assert (task.unit, task.units("test"), task.notes) == ("inputs", None, ())
    assert "Novikova" in task.citation


def test_without_the_training_file_the_dev_set_is_trained_on_and_validation_never_shares_an_input(tmp_path):
    with pytest.warns(DataWarning, match="trainset.csv is not in the folder: devset.csv is trained on"):
        task = load_task("e2e", folder=_write(tmp_path))
    train, validation = (set(task.splits[split]["text"]) for split in ("train", "validation"))
    assert len(train) + len(validation) == 20
    assert not train & validation
    assert len(task.splits["validation"]) == 2
    assert len(task.splits["train"]) == 36


def test_an_input_of_the_test_set_that_is_trained_on_is_said(tmp_path):
    _write(tmp_path, trainset=[*_pairs(30), *_pairs(1, name="test")])
    with pytest.warns(DataWarning, match=r"1 of the 5 rows of test \(20.0 %\) are in train too"):
        load_task("e2e", folder=tmp_path)


def test_a_reference_that_stands_there_twice_counts_twice_as_in_the_challenges_script(tmp_path):
    pair = ("test[0]", "It is by the river.")
    task = load_task("e2e", folder=_write(tmp_path, trainset=_pairs(30), testset_w_refs=[pair, pair]))
    assert task.splits["test"]["references"][:] == [[pair[1], pair[1]]]


def test_the_folder_may_be_named_by_the_environment_and_the_prompt_by_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("VXLAB_E2E", str(_write(tmp_path, trainset=_pairs(30))))
    task = load_task("e2e", prompt_template="Tell: {mr} ||")
    assert task.splits["test"]["text"][0] == "Tell: test[0], area[riverside] ||"
    assert task.fingerprint != load_task("e2e").fingerprint
    with pytest.raises(VxlabError, match="e2e has its own columns: leave out answer_column"):
        load_task("e2e", answer_column="ref")


def test_a_lacking_file_is_named(tmp_path):
    _write(tmp_path)
    (tmp_path / "testset_w_refs.csv").unlink()
    with pytest.raises(VxlabError, match=r"no testset_w_refs.csv; E2E needs trainset.csv, devset.csv"):
        load_task("e2e", folder=tmp_path)
    with pytest.raises(VxlabError, match=r"nowhere: no such folder \(VXLAB_E2E"):
        load_task("e2e", folder=tmp_path / "nowhere")


def test_the_hubs_parquet_copy_is_read_and_no_program(monkeypatch):
    columns = ("meaning_representation", "human_reference")
    sizes = {"train": _pairs(30), "validation": _pairs(4, name="dev"), "test": _pairs(5, name="test")}
    shelf = {split: datasets.Dataset.from_dict(dict(zip(columns, zip(*pairs, strict=True), strict=True)))
             for split, pairs in sizes.items()}  # fmt: skip
    asked = {}

    def load(path, configuration, **chosen):
        asked.update(chosen, path=path, configuration=configuration)
        return datasets.DatasetDict(shelf)

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.delenv("VXLAB_E2E", raising=False)
    task = load_task("e2e")
    assert asked == {"path": "tuetschek/e2e_nlg", "configuration": None, "revision": "refs/convert/parquet"}
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 60, "validation": 4, "test": 5}
    assert task.splits["train"]["text"][0] == "name[0], area[riverside]\n"


@pytest.mark.skipif(not E2E.is_dir(), reason="no files of the E2E challenge in ../shared/data/e2e")
def test_the_real_files_are_read_whole():
    with pytest.warns(DataWarning, match="devset.csv is trained on"):
        task = load_task("e2e", folder=E2E)
    train, validation, test = (task.splits[split] for split in ("train", "validation", "test"))
    assert len(set(train["text"])) + len(validation) == 547
    assert len(train) + sum(map(len, validation["references"])) == 4672
    assert (len(test), sum(map(len, test["references"]))) == (630, 4693)
    assert task.overlap == {"validation": {"train": 0}, "test": {"train": 0, "validation": 0}}
    assert task.fingerprint[:12] == "70690a6af1ae"


@pytest.mark.skipif(not (E2E.is_dir() and OFFICIAL.is_dir()), reason="no files of the E2E challenge in ../shared/data")
def test_inputs_and_references_are_those_that_the_challenges_script_scores():
    # Its output there is each input's first reference, scored against the others: 14 inputs of the 630 have no other,
    # and are not among the 616.
    texts = (OFFICIAL / "test.sys.txt").read_text(encoding="utf-8").splitlines()
    blocks = (OFFICIAL / "test.ref.txt").read_text(encoding="utf-8").strip("\n").split("\n\n")
    with pytest.warns(DataWarning, match="devset.csv is trained on"):
        references = load_task("e2e", folder=E2E).splits["test"]["references"]
    several = [each for each in references if len(each) > 1]
    assert [each[0] for each in several] == texts
    assert [each[1:] for each in several] == [block.split("\n") for block in blocks]
