"""The command that reckons what fits, of a config alone."""

import pytest
from architectures import ARCHITECTURES

from vxlab.cli.commands import main

SMALL = ["--batch-size", "2", "--tokens", "8"]


@pytest.fixture
def folder(tmp_path):
    ARCHITECTURES["llama-lm"]().config.save_pretrained(tmp_path)
    return str(tmp_path)


def test_each_method_is_a_row_with_what_it_holds_and_whether_it_fits(folder, capsys):
    methods = ["--method", "lora", "rank=2", "alpha=4", "--method", "full"]
    assert main(["plan", folder, "--labels", "0", *methods, "--memory", "200kB", "--device", "cpu", *SMALL]) == 0
    heading, lora, full = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["method", "trained", "weights"]
    assert heading.split()[-3:] == ["peak", "stored", "fits"]
    assert lora.startswith("LoRA r=2, alpha=4")
    assert f" {2 * 2 * (32 + 32 + 32 + 16):,} " in lora
    assert (lora.split()[-1], full.split()[-1]) == ("yes", "no")


def test_ranks_by_layer_are_given_as_json(folder, capsys):
    methods = ["--method", "lora", 'rank={"query": 2, "value": 3}', "--method", "lora", "rank={query:2}"]
    assert main(["plan", folder, "--labels", "0", *methods[:3], "--device", "cpu", *SMALL]) == 0
    (row,) = capsys.readouterr().out.splitlines()[1:]
    assert row.startswith("LoRA r=2 (query), 3 (value)  ")
    assert f" {2 * (2 * (32 + 32) + 3 * (32 + 16)):,} " in row
    assert main(["plan", folder, "--labels", "0", *methods, "--device", "cpu", *SMALL]) == 2
    assert "it must be a whole number or a mapping of names to whole numbers" in capsys.readouterr().err


def test_without_a_gpu_or_a_size_nothing_is_said_of_fitting(folder, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["plan", folder, "--labels", "0", "--targets", "query", "down", "--method", "lora", *SMALL]) == 0
    assert "fits" not in capsys.readouterr().out


def test_what_cannot_be_had_says_why_and_ends_in_1(folder, capsys):
    methods = ["--method", "lora_xs", "rank=33", "--method", "lora"]
    assert main(["plan", folder, "--labels", "0", *methods, *SMALL]) == 1
    assert "LoRA-XS r=33: LoRAXS rank=33 is more than min(in_features, out_features)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--method", "lorra"], "did you mean 'lora'"),
        (["--method", "lora", "rank"], "--method lora: 'rank' is a name without a value"),
        (["--method", "lora", "rank=eight"], "rank='eight' is a text"),
        (["--targets", "nothing"], "matches no layer"),
        (["--tokens", "4096"], "positions of this model"),
    ],
)
def test_bad_input_is_one_line_and_code_2(given, said, folder, capsys):
    assert main(["plan", folder, "--labels", "0", *SMALL, *given]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("size", ["much", "24gb", "-1", ""])
def test_a_size_without_sense_is_refused(size, folder, capsys):
    with pytest.raises(SystemExit):
        main(["plan", folder, "--labels", "0", "--memory", size])
    assert "is no size; write bytes, or a number and kB, MB, GB" in capsys.readouterr().err or size == "-1"
