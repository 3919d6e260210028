"""GLUE's nine tasks, from files in its own layout and from the hub's."""

import datasets
import pytest
from places import ROOT

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.sets.glue import GLUE_TASKS, glue_name, read_glue
from vxlab.experiments.tasks.task import load_task

GLUE = ROOT.parent / "shared" / "data" / "glue"

# name: header, a line for each class (or target), in GLUE's own layout
FILES = {
    "cola": (None, ["gj04\t0\t*\tThem goed§.", 'gj04\t1\t\tHe said§ "no.']),
    "sst2": ("sentence\tlabel", ["dull§ \t0", "fun§ \t1"]),
    "mrpc": ("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", ['0\t1\t2\t"a§\tb§', "1\t3\t4\tc§\td§"]),
    "stsb": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        ["0\tg\tf\ty\t1\tn\tn\ta§\tb§\t0.000", "1\tg\tf\ty\t1\tn\tn\tc§\td§\t5.000"],
    ),
    "qqp": ("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", ["0\t1\t2\ta§\tb§\t0", "0\t1\t2\tc§\t\t1"]),
    "mnli": (
        "index\tpromptID\tsentence1\tsentence2\tlabel1\tgold_label",
        [f"0\t1\tp{n}§\th{n}§\t-\t{name}" for n, name in enumerate(("entailment", "neutral", "contradiction"))],
    ),
    "qnli": ("index\tquestion\tsentence\tlabel", ["0\tq§\ts§\tentailment", "1\tq§\tt§\tnot_entailment"]),
    "rte": ("index\tsentence1\tsentence2\tlabel", ["0\ta§\tb§\tentailment", "1\ta§\tc§\tnot_entailment"]),
    "wnli": ("index\tsentence1\tsentence2\tlabel", ["0\ta§\tb§\t0", "1\ta§\tc§\t1"]),
}


def _write(root, name):
    header, lines = FILES[name]
    folder = root / GLUE_TASKS[name].folder
    folder.mkdir()
    devs = ("dev_matched", "dev_mismatched") if name == "mnli" else ("dev",)
    for stem, copies in (("train", 10), *((dev, 1) for dev in devs)):
        content = ([header] if header else []) + _numbered(lines, copies)
        (folder / f"{stem}.tsv").write_text("\n".join(content) + "\n", encoding="utf-8")
    return folder


def _numbered(lines, copies):
    """Return the lines so many times, each copy with texts of its own."""
    return [line.replace("§", str(number) if copies > 1 else "") for number in range(copies) for line in lines]


@pytest.mark.parametrize("name", GLUE_TASKS)
def test_every_task_reads_from_glues_own_layout(tmp_path, name):
    folder = _write(tmp_path, name)
    task, again = load_task(name, folder=tmp_path), load_task(name, folder=folder)
    assert task.fingerprint == again.fingerprint
    tests = ["test", "test_mismatched"] if name == "mnli" else ["test"]
    assert list(task.splits) == ["train", "validation", *tests]
    pair = ["text_pair"] if len(GLUE_TASKS[name].text) == 2 else []
    assert all(split.column_names == ["text", *pair, "label"] for split in task.splits.values())
    assert task.splits["test"]["label"] == ([0.0, 5.0] if name == "stsb" else list(range(task.num_labels)))
    assert len(task.splits["train"]) + len(task.splits["validation"]) == 10 * len(FILES[name][1])


def test_quotes_mean_nothing_in_glues_files(tmp_path):
    _write(tmp_path, "cola")
    assert load_task("cola", folder=tmp_path).splits["test"]["text"] == ["Them goed.", 'He said "no.']


@pytest.mark.parametrize(
    ("name", "metrics", "names"),
    [
        ("cola", ("matthews",), ("unacceptable", "acceptable")),
        ("sst2", ("accuracy",), ("negative", "positive")),
        ("mrpc", ("accuracy", "f1"), ("not_equivalent", "equivalent")),
        ("stsb", ("pearson", "spearman"), ()),
        ("qqp", ("accuracy", "f1"), ("not_duplicate", "duplicate")),
        ("mnli", ("accuracy",), ("entailment", "neutral", "contradiction")),
        ("qnli", ("accuracy",), ("entailment", "not_entailment")),
        ("rte", ("accuracy",), ("entailment", "not_entailment")),
        ("wnli", ("accuracy",), ("not_entailment", "entailment")),
    ],
)
def test_metrics_and_class_order_are_the_official_ones(tmp_path, name, metrics, names):
    _write(tmp_path, name)
    task = load_task(name, folder=tmp_path)
    assert (task.metrics, task.label_names, task.num_labels) == (metrics, names, len(names) or 1)
    assert "GLUE" in task.citation


@pytest.mark.parametrize(
    ("written", "name"), [("SST-2", "sst2"), ("sst_2", "sst2"), ("STS-B", "stsb"), ("CoLA", "cola")]
)
def test_names_are_known_however_they_are_written(written, name):
    assert glue_name(written) == name
    assert glue_name("imdb") is None


def test_the_environment_names_the_default_folder(tmp_path, monkeypatch):
    _write(tmp_path, "rte")
    monkeypatch.setenv("VXLAB_GLUE", str(tmp_path))
    assert load_task("RTE").source == "GLUE's own files, RTE"


def test_mrpc_reads_microsofts_files_and_tests_on_their_test_file(tmp_path):
    header, lines = FILES["mrpc"]
    (tmp_path / "msr_paraphrase_train.txt").write_text(
        "\n".join(["\ufeff" + header, *_numbered(lines, 10)]), encoding="utf-8"
    )
    (tmp_path / "msr_paraphrase_test.txt").write_text("\n".join([header, *_numbered(lines, 1)]), encoding="utf-8")
    task = load_task("mrpc", folder=tmp_path)
    assert len(task.splits["test"]) == 2
    assert task.splits["test"]["text"] == ['"a', "c"]
    assert task.source == "Microsoft's own files, MRPC"


def test_qqps_cut_lines_are_left_out(tmp_path):
    folder = _write(tmp_path, "qqp")
    with (folder / "train.tsv").open("a") as file:
        file.write("9\t1\t2\tcut sho\nrt\tb\t1\n")
    assert len(read_glue("qqp", tmp_path).splits["train"].frame) == 20


@pytest.mark.parametrize(("name", "columns"), [(name, task.text) for name, task in GLUE_TASKS.items()])
def test_the_hubs_copy_gives_the_same_splits(monkeypatch, name, columns):
    task, asked = GLUE_TASKS[name], []
    classes = datasets.ClassLabel(names=list(task.classes)) if task.classes else datasets.Value("float32")
    features = datasets.Features({column: datasets.Value("string") for column in columns} | {"label": classes})

    def split(rows, unlabelled=False):
        labels = [-1 if unlabelled else row % 2 for row in range(rows)]
        texts = {column: [f"{column} {row}" for row in range(rows)] for column in columns}
        return datasets.Dataset.from_dict({**texts, "label": labels}, features=features)

    def load(path, configuration):
        asked.append((path, configuration))
        devs = {theirs: split(4) for _, theirs in task.tests}
        return datasets.DatasetDict({"train": split(40), **devs, "test": split(3, unlabelled=True)})

    monkeypatch.delenv("VXLAB_GLUE", raising=False)
    monkeypatch.setattr(datasets, "load_dataset", load)
    loaded = load_task(name)
    assert asked == [("nyu-mll/glue", name)]
    sizes = {split: len(rows) for split, rows in loaded.splits.items()}
    assert sizes == {"train": 36, "validation": 4, **{ours: 4 for ours, _ in task.tests}}


def test_a_folder_that_lacks_a_file_says_which(tmp_path):
    with pytest.raises(VxlabError, match=r"neither a folder RTE in it nor a train.tsv of RTE"):
        load_task("rte", folder=tmp_path)
    folder = _write(tmp_path, "rte")
    (folder / "dev.tsv").unlink()
    with pytest.raises(VxlabError, match=r"RTE: no dev.tsv; RTE needs train.tsv, dev.tsv"):
        load_task("rte", folder=tmp_path)
    with pytest.raises(VxlabError, match=r"RTE: neither a folder SST-2 in it"):
        load_task("sst2", folder=folder)
    with pytest.raises(VxlabError, match=r"folder=.*nowhere: no such folder \(VXLAB_GLUE"):
        load_task("sst2", folder=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        (
            "sst2",
            "odd \t2",
            r"SST-2/dev.tsv, line 4: label '2' is outside the 2 classes 0 \(negative\), 1 \(positive\)",
        ),
        ("sst2", "odd", r"SST-2/dev.tsv, line 4: 1 tab-separated fields where 2 are needed"),
        ("rte", "2\ta\tb\tneutral", r"RTE/dev.tsv, line 4: label 'neutral' is outside the 2 classes"),
        ("stsb", "2\tg\tf\ty\t1\tn\tn\ta\tb\t5.2", r"STS-B/dev.tsv, line 4: label '5.2' is not a number from 0 to 5"),
        ("stsb", "2\tg\tf\ty\t1\tn\tn\ta\tb\tnan", r"STS-B/dev.tsv, line 4: label 'nan' is not a number from 0 to 5"),
    ],
)
def test_a_bad_line_is_named(tmp_path, name, line, message):
    folder = _write(tmp_path, name)
    with (folder / "dev.tsv").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(VxlabError, match=message):
        load_task(name, folder=tmp_path)


def test_a_lacking_column_says_what_glue_needs(tmp_path):
    folder = _write(tmp_path, "sst2")
    (folder / "dev.tsv").write_text("text\tlabel\na\t0\n")
    with pytest.raises(
        VxlabError, match=r"SST-2/dev.tsv: no column 'sentence' among text, label. SST-2 needs sentence, label"
    ):
        load_task("sst2", folder=tmp_path)


@pytest.mark.skipif(not GLUE.is_dir(), reason="no real GLUE files in ../shared/data/glue")
@pytest.mark.parametrize(
    ("name", "train", "test", "first"),
    [
        ("SST-2", 67_349, 872, "it 's a charming and often affecting journey . "),
        ("STS-B", 5_749, 1_500, "A man with a hard hat is dancing."),
        ("RTE", 2_490, 277, "Dana Reeve, the widow of the actor Christopher Reeve, has died of lung cancer at age 44,"),
        ("MRPC", 4_076, 1_725, "PCCW's chief operating officer, Mike Butcher, and Alex Arena, the chief financial"),
    ],
)
def test_the_real_files_are_read_whole(name, train, test, first):
    task = load_task(name, folder=GLUE)
    assert len(task.splits["train"]) + len(task.splits["validation"]) == train
    assert abs(len(task.splits["validation"]) - min(round(train / 10), 2000)) <= 5  # no unit is parted
    assert len(task.splits["test"]) == test
    assert task.splits["test"][0]["text"].startswith(first)


@pytest.mark.skipif(not GLUE.is_dir(), reason="GLUE's own files are not here")
@pytest.mark.parametrize(
    ("name", "fingerprint", "overlap", "conflicts"),
    [
        ("sst2", "73562201881d", {"validation": {"train": 0}, "test": {"train": 0, "validation": 0}}, (5, 10)),
        ("stsb", "9628c427dd42", {"validation": {"train": 0}, "test": {"train": 6, "validation": 0}}, (5, 10)),
        ("rte", "b60a3142215a", {"validation": {"train": 0}, "test": {"train": 0, "validation": 0}}, (0, 0)),
        ("mrpc", "ef1683b1f03d", {"validation": {"train": 0}, "test": {"train": 0, "validation": 0}}, (0, 0)),
    ],
)
def test_glues_test_splits_stay_as_published_and_no_text_is_in_train_and_in_what_is_carved_from_it(
    name, fingerprint, overlap, conflicts
):
    task = load_task(name, folder=GLUE)
    assert task.fingerprint[:12] == fingerprint
    assert (task.overlap, task.conflicts, task.notes) == (overlap, conflicts, ())
    columns = [column for column in ("text", "text_pair") if column in task.splits["train"].column_names]
    train, validation = ({text.strip() for column in columns for text in task.splits[split][column]}
                         for split in ("train", "validation"))  # fmt: skip
    assert not train & validation
