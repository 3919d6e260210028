"""A sweep in a YAML file: readable, and refused with the nearest word where it cannot be meant."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import vxlab
from vxlab.experiments.sweeps.file import format_sweep, read_sweep, read_sweeps

FAIR = """
model: minilm
task: rotten_tomatoes
epochs: 1
learning_rates: 3
spacing: 3
head_learning_rates: [5e-3, 1e-2]
report_seeds: 4
candidates:
  - {method: lora, rank: [2, 8]}
  - {method: elora, rank: 256, learning_rate: 2e-2, targets: [query, value]}
  - {method: head}
"""
GRID = """
protocol: grid
task: sst2
learning_rates: [1e-3, 1e-2]
seeds: [0, 1, 2]
candidates:
  - {method: lora_xs, rank: [4, 8], basis: [top, bottom]}
"""


def read(text: str, folder: Path) -> "vxlab.FairSweep | list[vxlab.RunSpec]":
    path = folder / "sweep.yaml"
    path.write_text(text)
    return read_sweep(path)


def test_a_fair_sweep_is_read(tmp_path: Path) -> None:
    fair = read(FAIR, tmp_path)
    assert isinstance(fair, vxlab.FairSweep)
    assert list(fair.names) == ["LoRA r=2", "LoRA r=8", "VeRA r=256", "head only"]
    vera = fair.names["VeRA r=256"]
    assert (vera.targets, vera.learning_rate) == (("query", "value"), 2e-2)
    assert (fair.spacing, fair.head_learning_rates, fair.report_seeds) == (3, (5e-3, 1e-2), 4)
    assert fair.settings == {"model": "minilm", "task": "rotten_tomatoes", "epochs": 1}


def test_a_mapping_is_ranks_by_layer_and_a_list_may_hold_some(tmp_path: Path) -> None:
    own = "candidates:\n  - {method: lora, rank: {query: 4, value: 16}}\n"
    fair = read(f"model: minilm\ntask: sst2\n{own}  - {{method: vera, rank: [8, {{value: 16, query: 4}}]}}\n", tmp_path)
    assert isinstance(fair, vxlab.FairSweep)
    assert list(fair.names) == ["LoRA r=4 (query), 16 (value)", "VeRA r=8", "VeRA r=4 (query), 16 (value)"]
    assert fair.candidates[0].method == vxlab.LoRA(rank={"query": 4, "value": 16})
    with pytest.raises(vxlab.VxlabError, match=r"must be a whole number or a mapping of names to whole numbers"):
        read(own.replace("16", "many"), tmp_path)
    with pytest.raises(vxlab.VxlabError, match=r"must be a whole number or a mapping of names to whole numbers"):
        read(own.replace("16", "[8, 16]"), tmp_path)  # a list inside a rank is no candidates


def test_tuning_runs_may_end_early(tmp_path: Path) -> None:
    fair = read(FAIR + "tuning_share: 0.33\n", tmp_path)
    assert isinstance(fair, vxlab.FairSweep)
    assert fair.tuning_share == 0.33
    for protocol in (FAIR, GRID):
        with pytest.raises(vxlab.VxlabError, match="unknown key 'ends_after'"):
            read(protocol + "ends_after: 0.33\n", tmp_path)
    with pytest.raises(vxlab.VxlabError, match="unknown key 'tuning_share'"):
        read(GRID + "tuning_share: 0.33\n", tmp_path)


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    specs = read(GRID, tmp_path)
    assert isinstance(specs, list)
    assert len(set(specs)) == 4 * 2 * 3
    assert {spec.task for spec in specs} == {"sst2"}
    assert specs[0].learning_rate == 1e-3  # which YAML alone takes for a text


def test_the_kind_of_labels_is_a_setting_like_others(tmp_path: Path) -> None:
    specs = read(GRID + "label_kind: numbers\n", tmp_path)
    assert isinstance(specs, list)
    assert {spec.label_kind for spec in specs} == {"numbers"}


def test_draws_are_a_list_of_a_grid_and_pinned_in_a_fair_sweep(tmp_path: Path) -> None:
    candidates = "candidates:\n  - {method: lora, rank: 2}\n"
    grid = read(
        f"protocol: grid\nshots: 5\nlearning_rates: [1e-3]\ndraws: [0, 3]\nseeds: [1, 2]\n{candidates}", tmp_path
    )
    assert [(spec.shots, spec.draw, spec.seed) for spec in grid] == [(5, 0, 1), (5, 0, 2), (5, 3, 1), (5, 3, 2)]
    few, pinned = (read(f"shots: 5\n{draw}{candidates}", tmp_path) for draw in ("", "draw: 3\n"))
    assert (few.draws_vary, pinned.draws_vary) == (True, False)
    with pytest.raises(vxlab.VxlabError, match="unknown key 'draw'; did you mean 'draws'"):
        read(f"protocol: grid\nshots: 5\ndraw: 3\nlearning_rates: [1e-3]\n{candidates}", tmp_path)


def test_models_that_write_are_compared_with_their_base(tmp_path: Path) -> None:
    fields = {"prompt_template": r'"{question}\n"', "answer_column": "reply", "chat_template": "tokenizer",
              "max_new_tokens": "32", "num_beams": "4", "packing": "true", "schedule": "cosine"}  # fmt: skip
    text = "\n".join(f"{name}: {value}" for name, value in fields.items())
    found = read(f"model: smollm2\n{text}\ncandidates:\n  - {{method: lora}}\n  - {{method: base}}\n", tmp_path)
    assert isinstance(found, vxlab.FairSweep)
    assert list(found.names) == ["LoRA r=8", "untuned base"]
    spec = dict(found.untuned())["untuned base"]
    assert (spec.prompt_template, spec.answer_column, spec.max_new_tokens) == ("{question}\n", "reply", 32)
    lora = found.spec(found.names["LoRA r=8"], 1e-3, 5e-3, 0)
    assert (lora.num_beams, lora.packing, lora.schedule, lora.chat_template) == (4, True, "cosine", "tokenizer")


def test_peft_methods_are_named_with_their_settings(tmp_path: Path) -> None:
    fair = read('candidates: [{method: "peft:dora", r: [4, 8]}, {method: bitfit}]', tmp_path)
    assert isinstance(fair, vxlab.FairSweep)
    assert list(fair.names) == ["DoRA r=4 (PEFT)", "DoRA r=8 (PEFT)", "BitFit"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs: 1", "epoch: 1", r"unknown key 'epoch'; did you mean 'epochs'"),
        ("report_seeds", "report_seed", "unknown key 'report_seed'; did you mean 'report_seeds'"),
        ("epochs: 1", "protocol: fare", "protocol='fare' is unknown; choose fair or grid"),
        ("rank: [2, 8]", "rnk: 2", "method 'lora' has no setting 'rnk'; did you mean 'rank'"),
        ("rank: [2, 8]", "rank: 0", "rank=0 is not a positive integer"),
        ("method: lora,", "methd: lora,", "names no method; add method: lora"),
        ("method: lora,", "method: lorra,", "method='lorra' is unknown; did you mean 'lora'"),
        ("candidates:", "candidate:", "names no candidates"),
        ("epochs: 1", "epochs: [1", "is not YAML"),
        ("epochs: 1", "epochs: 0", "epochs=0 is not a positive whole number"),
        ("report_seeds: 4", "report_seeds: many", "report_seeds='many' is not a whole number of 1 or more"),
        ("  - {method: head}", "  - head", "is not a list of mappings"),
        ("  - {method: head}", "  - {method: 8}", "method=8 is not a name; write lora"),
        ("epochs: 1", "epochs: 1\nepochs: 2", "key 'epochs' stands twice"),
        ("epochs: 1", "epochs: '1'", "epochs='1' is a text; it must be a whole number: write epochs=1, without quotes"),
        ("epochs: 1", "epochs: 1:30", "epochs='1:30' is a text; it must be a whole number"),
        ("epochs: 1", "epochs: 010", "010 begins with a 0, which is octal to some; write 10"),
        ("epochs: 1", "epochs: 2024-01-01", "epochs='2024-01-01' is a text"),
        ("epochs: 1", "\tepochs: 1", "is not YAML: while scanning .* found character"),
        ("epochs: 1", "label_column: no", "label_column=False is a bool; it must be a text"),
        ("epochs: 1", "? [a, b]\n: 1", "is not YAML: .* found unhashable key"),
        ("epochs: 1", "epochs: !!int x", "is not YAML: invalid literal"),
        ("epochs: 1", "epochs: !!bool x", "is not YAML: 'x'"),
        ("epochs: 1", "epochs: !!timestamp x", "is not YAML: 'NoneType'"),
        ("epochs: 1", "label_column: !!binary aGVsbG8=", "label_column=b'hello' is a bytes; it must be a text"),
        ("epochs: 1", "epochs: " + "9" * 5000, "is not YAML: Exceeds the limit"),
        ("epochs: 1", "epochs: &a [*a]", "is not YAML: found unconstructable recursive node"),
        ("epochs: 1", "epochs: " + "[" * 3000 + "]" * 3000, "is not YAML: it is nested too deeply"),
        ("learning_rates: 3", "learning_rates: [1e-3]", r"learning_rates=\[0.001\] is not a whole number"),
        ("rank: [2, 8]", "rank: [[2]]", r"LoRA rank=\[2\] is a list; it must be a whole number"),
        ("rank: [2, 8]", "name: x", "method 'lora' has no setting 'name'"),
        ("method: lora,", "method: [lora, 8],", r"method=\['lora', 8\] is not a name"),
        ("[query, value]", "{query: 1}", "targets={'query': 1} is a dict; it must be a text or a list of texts"),
        ("learning_rate: 2e-2", "learning_rate: [2e-2]", r"learning_rate=\[0.02\] is a list; it must be a number"),
        ("{method: head}", "{method: head, method: full}", "key 'method' stands twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in FAIR
    with pytest.raises(vxlab.VxlabError, match=message):
        read(FAIR.replace(old, new), tmp_path)


def test_a_grid_needs_its_rates(tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match="protocol: grid needs learning_rates"):
        read(GRID.replace("learning_rates: [1e-3, 1e-2]", ""), tmp_path)
    with pytest.raises(vxlab.VxlabError, match="unknown key 'report_seeds'"):
        read(GRID + "report_seeds: 3\n", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "names no candidates"),
        (b"# nothing\n", "names no candidates"),
        (b"- a\n", "names no candidates"),
        (b"candidates:\n", "candidates=None is not a list of mappings"),
        (b"task: caf\xe9\n", "cannot be read: 'utf-8' codec"),
        (bytes(range(256)), "cannot be read: 'utf-8' codec"),
        (b"a\0b", "is not YAML: unacceptable character"),
        (b"a: 1\n---\nb: 1\n", "is not YAML: expected a single document"),
    ],
)
def test_what_is_no_sweep_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_bytes(content)
    with pytest.raises(vxlab.VxlabError, match=message) as refused:
        read_sweep(tmp_path / "sweep.yaml")
    assert len(str(refused.value).splitlines()) == 1


def test_what_stands_for_billions_is_refused_at_once(tmp_path: Path) -> None:
    """Nine aliases of nine aliases ...: a kilobyte that would fill every memory, if anything walked through it."""
    lines = ["x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]" for i in range(1, 10)]
    with pytest.raises(vxlab.VxlabError, match="holds more than 100,000 values"):
        read("\n".join([*lines, "candidates: *x9"]), tmp_path)


@pytest.mark.parametrize("rate", ["1e-3", "+1e-3", "1.e-3", "1E-3", "0.001", ".001"])
def test_a_number_is_read_as_it_is_written(rate: str, tmp_path: Path) -> None:
    fair = read(f"{{train_examples: 1_000, task: 2024-01-01, label_column: '1e3', candidates: [{{method: lora, "
                f"learning_rate: {rate}, rank_stabilised: on}}]}}", tmp_path)  # fmt: skip
    assert isinstance(fair, vxlab.FairSweep)
    (candidate,) = fair.names.values()
    assert (candidate.learning_rate, candidate.method.settings()["rank_stabilised"]) == (1e-3, True)
    assert fair.settings == {"train_examples": 1000, "task": "2024-01-01", "label_column": "1e3"}


def test_aliases_and_merged_mappings_are_read(tmp_path: Path) -> None:
    fair = read("candidates:\n- &one {method: lora, rank: 2, targets: &t [query]}\n- {<<: *one, rank: 4}\n"
                "- {method: vera, targets: *t}\ntext_columns: review\n", tmp_path)  # fmt: skip
    assert isinstance(fair, vxlab.FairSweep)
    assert {name: each.targets for name, each in fair.names.items()} == dict.fromkeys(
        ["LoRA r=2", "LoRA r=4", "VeRA r=256"], ("query",)
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere.yaml", "nowhere.yaml' cannot be read: No such file"), ("", "cannot be read: Is a directory"),
     ("a\0b", "cannot be read: embedded null byte"), (8, "path=8 is an int; it must be a text")],
)  # fmt: skip
def test_a_file_that_is_not_there_is_named(path: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match=message):
        read_sweep(tmp_path / path if isinstance(path, str) else path)


def test_objects_of_python_are_not_made(tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match="is not YAML"):
        read("candidates: !!python/object/apply:os.getcwd []", tmp_path)


ADVISED = """
task: sst2
epochs: 2
targets: all-linear
candidates:
  - {method: lora, rank: 4}
  - {method: lora, rank: advised, budget: [300, 200 kB], alpha: 16}
"""
LAYERS = {"a.query": 2, "a.value": 6}


class Advisor:
    """Advises these ranks, and remembers what it was asked."""

    def __init__(self, rank: Any, targets: Any) -> None:
        self.rank, self.targets = rank, targets
        self.asked: list[dict[str, Any]] = []

    def __call__(self, **asked: Any) -> "Advisor":
        self.asked.append(asked)
        return self

    def run_spec(self) -> vxlab.RunSpec:
        asked = dict(self.asked[-1])
        method = replace(asked.pop("method"), rank=self.rank)
        rates: dict[str, Any] = {"learning_rate": 1e-3, "head_learning_rate": 1e-3}
        del asked["budget"]
        return vxlab.RunSpec(method=method, **rates, **{**asked, "targets": self.targets})

    def sentence(self) -> str:
        return "So it is."


def read_advised(text: str, folder: Path, advisor: Any) -> "vxlab.FairSweep | list[vxlab.RunSpec]":
    (folder / "sweep.yaml").write_text(text)
    return read_sweep(folder / "sweep.yaml", advisor)


def test_advised_ranks_are_those_of_the_advice_on_its_layers(tmp_path: Path, capsys: Any) -> None:
    advisor = Advisor(LAYERS, tuple(LAYERS))
    text = ADVISED.replace("[300, 200 kB]", "200 kB").replace("alpha: 16", "learning_rate: 1e-2")
    fair = read_advised(text, tmp_path, advisor)
    assert isinstance(fair, vxlab.FairSweep)
    assert list(fair.names) == ["LoRA r=4", "LoRA r=2 (a.query), 6 (a.value)"]
    advised = list(fair.names.values())[1]
    assert (advised.method, advised.targets) == (vxlab.LoRA(rank=LAYERS), tuple(LAYERS))
    assert advised.learning_rate == 1e-2
    assert advisor.asked == [
        {"model": "minilm", "task": "sst2", "epochs": 2, "targets": "all-linear", "method": vxlab.LoRA(),
         "budget": "200 kB"}
    ]  # fmt: skip
    assert capsys.readouterr().out == "LoRA, rank: advised: So it is.\n"


def test_where_the_advice_abstains_there_is_one_rank_and_it_is_said(tmp_path: Path, capsys: Any) -> None:
    advisor = Advisor(9, "all-linear")
    fair = read_advised(ADVISED, tmp_path, advisor)
    assert isinstance(fair, vxlab.FairSweep)
    assert [each.method for each in fair.names.values()] == [vxlab.LoRA(rank=4), vxlab.LoRA(rank=9, alpha=16)]
    assert [asked["budget"] for asked in advisor.asked] == [300, "200 kB"]
    said = capsys.readouterr().out
    assert said.count("So it is.") == 2
    assert said.endswith("LoRA r=9 is a candidate already, so there is one of it.\n")


def test_advice_that_comes_to_a_candidate_of_the_file_adds_none(tmp_path: Path, capsys: Any) -> None:
    advised = "  - {method: lora, rank: advised}\n"
    text = ADVISED.replace("candidates:\n", f"candidates:\n{advised}").replace(
        "  - {method: lora, rank: advised, b", "#"
    )
    fair = read_advised(text, tmp_path, Advisor(4, ("all-linear",)))
    assert isinstance(fair, vxlab.FairSweep)
    assert list(fair.names) == ["LoRA r=4"]
    assert "LoRA r=4 is a candidate already" in capsys.readouterr().out
    other = read_advised(text.replace("advised}", "advised, targets: query}"), tmp_path, Advisor(4, "query"))
    assert isinstance(other, vxlab.FairSweep)
    assert [each.targets for each in other.names.values()] == ["query", "all-linear"]


def test_a_grid_takes_advised_ranks(tmp_path: Path) -> None:
    text = f"protocol: grid\nlearning_rates: [1e-3, 1e-2]{ADVISED}".replace("[300, 200 kB]", "300")
    specs = read_advised(text, tmp_path, Advisor(LAYERS, tuple(LAYERS)))
    assert isinstance(specs, list)
    assert [(spec.method.settings()["rank"], spec.targets) for spec in specs[::2]] == [
        (4, "all-linear"), (LAYERS, tuple(LAYERS))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ADVISED, r"sweep.yaml: rank: advised of LoRA asks for an advisor.*vxlab.read_sweep\(path, vxlab.advise\)"),
        (ADVISED.replace("rank: advised, ", ""), "method 'lora' has no setting 'budget'"),
        (ADVISED.replace("[300, 200 kB]", "1.5"), "budget=1.5 is a float"),
        (ADVISED.replace("lora, rank: advised", "head, rank: advised"), "method 'head' has no setting"),
        (ADVISED.replace("advised, budget: [300, 200 kB]", "advise"), "rank='advise' is a text"),
    ],
)
def test_what_cannot_be_advised_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match=message):
        read(text, tmp_path)


def test_a_sweep_is_written_as_it_is_read(tmp_path: Path) -> None:
    ranks = {"query": 4, "value": 16}
    candidates: list[Any] = [
        vxlab.LoRA(rank=ranks, rank_stabilised=True),
        vxlab.Candidate(vxlab.VeRA(rank=64), targets=("query", "a.b"), learning_rate=1e-5),
        vxlab.Candidate(vxlab.PEFT("dora", {"r": 4, "rank_pattern": {"query": 2}}), learning_rate=1e-3),
        vxlab.Head(),
    ]
    settings: dict[str, Any] = {
        "task": "1e3",
        "label_column": "no",
        "text_columns": ("a", "2024-01-01"),
        "model": "é: #",
        "shots": 5,
    }
    rates: dict[str, Any] = {
        "learning_rates": 3,
        "spacing": 3.0,
        "head_learning_rates": (1e-5, 2e-3),
        "tuning_share": 0.5,
    }
    fair = vxlab.FairSweep(candidates=candidates, settings=settings, **rates)
    text = format_sweep(fair)
    assert "rank: {query: 4, value: 16}" in text
    again = read(text, tmp_path)
    assert isinstance(again, vxlab.FairSweep)
    assert list(again.names.items()) == list(fair.names.items())
    every = [
        [one.spec(each, each.centre or 1.0, 1e-3, 1) for each in one.names.values()] for one in (fair, again)
    ]  # fmt: skip
    assert every[0] == every[1]
    assert {name: getattr(again, name) for name in rates} == rates


SEVERAL = """
learning_rates: 4
report_seeds: 3
candidates:
  - {method: lora, rank: [1, 4]}
  - {method: head}
sweeps:
  reviews: {task: rotten_tomatoes}
  similarity:
    task: stsb
    report_seeds: 5
    candidates: [{method: vera, rank: 16}]
"""


def test_several_sweeps_share_what_stands_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "atlas.yaml"
    path.write_text(SEVERAL)
    found = read_sweeps(path)
    reviews, similarity = found["reviews"], found["similarity"]
    assert isinstance(reviews, vxlab.FairSweep)
    assert isinstance(similarity, vxlab.FairSweep)
    assert list(reviews.names) == ["LoRA r=1", "LoRA r=4", "head only"]
    assert (reviews.learning_rates, reviews.report_seeds, reviews.settings) == (4, 3, {"task": "rotten_tomatoes"})
    assert (list(similarity.names), similarity.learning_rates, similarity.report_seeds) == (["VeRA r=16"], 4, 5)
    assert list(read_sweeps(path, only=["similarity"])) == ["similarity"]
    with pytest.raises(vxlab.VxlabError, match=r"has no sweep 'sst2'; choose among reviews and similarity"):
        read_sweeps(path, only=["reviews", "sst2"])
    with pytest.raises(vxlab.VxlabError, match=r"several sweeps; read them with vxlab.read_sweeps"):
        read_sweep(path)


def test_a_file_of_one_sweep_has_its_own_name(tmp_path: Path) -> None:
    assert read(FAIR, tmp_path) == read_sweeps(tmp_path / "sweep.yaml")["sweep"]


@pytest.mark.parametrize(
    ("sweeps", "message"),
    [
        ("[sst2]", r"sweeps=\['sst2'\] is no mapping of names to sweeps; write sweeps:"),
        ("{}", r"sweeps=\{\} is no mapping"),
        ("{sst2: }", r"is no mapping"),
        ("{sst2: {ranks: 4}}", r"atlas.yaml: sst2: unknown key 'ranks'"),
    ],
)
def test_what_is_no_sweep_is_refused_with_its_name(sweeps: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "atlas.yaml"
    path.write_text(f"candidates: [{{method: lora}}]\nsweeps: {sweeps}\n")
    with pytest.raises(vxlab.VxlabError, match=message):
        read_sweeps(path)
