"""The command that advises on ranks, and the sweep that it writes."""

import pytest
import yaml

import vxlab
from vxlab.cli.commands import main

SHORT = ["--targets", "query", "value"]
SHORT += ["-s", "max_length", "16", "-s", "batch_size", "8", "-s", "epochs", "6", "-s", "device", "cpu"]


def test_it_says_tables_and_writes_the_sweep_that_tests_it(tiny_model, toy_task, tmp_path, capsys):
    store, file = str(tmp_path / "runs.db"), tmp_path / "new" / "sweep.yaml"
    asked = ["advise", tiny_model, toy_task, "--method", "lora", "rank=2", *SHORT, "--store", store]
    assert main([*asked, "--write", str(file)]) == 0
    before, _, table = capsys.readouterr().out.rpartition("\n\nlayer ")
    assert before.startswith("advice on ranks: gradients of")
    assert before.splitlines()[-1][-1] == "."  # the advice's sentence
    heading, *rows, _, told = f"layer {table}".splitlines()
    assert heading.split() == ["layer", "rank", "allocated", "uniform", "parameters", "stability"]
    assert {row.split()[3] for row in rows} == {"2"}
    fair = vxlab.read_sweep(file)
    assert told == f"{'Test' if len(fair.names) > 1 else 'Train'} it: vxlab sweep {file}"
    assert isinstance(fair, vxlab.FairSweep)
    assert next(iter(fair.names)) == "LoRA r=2"
    assert fair.settings == {
        "model": tiny_model, "task": toy_task, "max_length": 16, "batch_size": 8, "epochs": 6, "device": "cpu"
    }  # fmt: skip
    assert main([*asked, "--write", str(file)]) == 2
    assert "it is there already" in capsys.readouterr().err
    assert main([*asked, "--budget", "2kB"]) == 0  # float32, so as many as rank 2 has
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed[printed.index("\nmodel:") :])["candidates"][0]["method"] == "lora"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--method", "head"], "method=Head() has no ranks that can be advised"),
        (["--method", "lora", "rank=x"], "rank='x' is a text"),
        (["--budget", "1 stone"], "budget='1 stone'"),
        (["--budget", "1"], "budget=1"),
        (["-s", "epoch", "3"], "-s: a run has no field 'epoch'; did you mean 'epochs'"),
        (["-s", "targets", "query"], "-s: a run has no field 'targets'"),
        (["--batches", "2"], "batches=2 is too few"),
        (["--write", "."], "it is there already"),
    ],
)
def test_bad_input_is_one_line_and_code_2(given, said, tiny_model, toy_task, tmp_path, capsys):
    assert main(["advise", tiny_model, toy_task, *SHORT, *given, "--store", str(tmp_path / "runs.db")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("vxlab: ")
    assert said in error


def test_a_sweep_may_ask_for_advised_ranks(tiny_model, toy_task, tmp_path, capsys):
    file = tmp_path / "sweep.yaml"
    settings = (
        f"model: {tiny_model}\ntask: {toy_task}\nmax_length: 16\nbatch_size: 8\nepochs: 6\ntargets: [query, value]\n"
    )
    file.write_text(f"{settings}device: cpu\ncandidates: [{{method: lora, rank: advised, budget: 600}}]\n")
    assert main(["sweep", str(file), "--plan", "--store", str(tmp_path / "runs.db")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("advice on ranks: gradients of")
    assert "LoRA, rank: advised: " in said
    assert " to report. " in said
