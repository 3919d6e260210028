"""What made the numbers of a page: one value where runs agree, each with its count where not, and no guess."""

import dataclasses

import pytest
import toy_records as toy
import toy_writers

import vxlab
from vxlab.experiments.provenance.run_facts import run_facts, run_list
from vxlab.experiments.provenance.run_words import computed_sentence, training_sentence
from vxlab.views.reports.run_facts import what_made

TRAINING = {
    "optimizer": "AdamW", "betas": [0.9, 0.98], "eps": 1e-6, "weight_decay": {"matrices": [0.01], "vectors": [0.0]},
    "schedule": "linear", "warmup_steps": 6, "total_steps": 60, "clipping": 1.0, "batches": "group_by_length",
    "dropout": {"model": {"hidden_dropout_prob": 0.1}, "modules": [0.1], "adapter": [0.05]},
    "autocast": "bfloat16", "weights": ["float32"], "trained": ["float32"],
}  # fmt: skip
HARDWARE = {"device": "cpu", "processor": "a processor", "threads": 1, "system": "an OS", "memory": 24 * 2**30}
VERSIONS = {"vxlab": "1.0", "python": "3.13", "torch": "2.13.0", "commit": "0123456789ab+changes"}


@pytest.fixture
def run(tmp_path):
    fields = {"training": TRAINING, "hardware": HARDWARE, "versions": VERSIONS, "precision": "bfloat16"}
    return toy.stored_record(tmp_path, toy.key_of(0), **fields)


def _probe(run, folds=5):
    chosen = {"pooling": "mean", "strength": 0.001, "folds": folds, "edge": False}
    chosen["validation"] = {"mean": 0.744, "first": 0.708}
    spec = run.spec | {"method": {"name": "probe"}}
    return dataclasses.replace(run, key=toy.key_of(3), spec=spec, training={}, probe=chosen)


def _facts(*runs):
    table = run_facts(runs)
    return dict(zip(table["fact"], table["value"], strict=True))


def test_a_fact_on_which_runs_agree_is_one_value(run):
    told = _facts(run, dataclasses.replace(run, key=toy.key_of(1)), run)
    assert told["runs"] == "2: 2 finished"
    assert told["optimizer"] == "AdamW, β₁ = 0.9, β₂ = 0.98, ε = 1e-06, weight decay 0.01 on matrices, 0 on vectors"
    assert told["schedule"].startswith("linear: from 0 to the rate in the first 10 % of the steps (6 of 60)")
    assert told["gradient clipping"] == "to norm 1, over all trained parameters together"
    assert (told["dropout of the model"], told["dropout of the adapters"]) == (
        "hidden_dropout_prob 0.1 (as its config has it)", "0.05"
    )  # fmt: skip
    assert told["precision"] == "products in bfloat16 by autocast, weights in float32"
    assert (told["threads of a run"], told["memory of the machine"]) == ("1", "24 GiB")
    assert told["commit of vxlab"] == "0123456789ab+changes"
    assert told["model"] == "minilm, weights 0a1b"
    assert told["data"].startswith("toy, rows 2c3d (640 train")


def test_where_runs_differ_each_value_has_its_number_of_runs(run):
    others = [dataclasses.replace(run, key=toy.key_of(i), hardware=HARDWARE | {"threads": 2}) for i in (1, 2)]
    assert _facts(run, *others)["threads of a run"] == "2 (2 runs); 1 (1 run)"
    assert computed_sentence([run, *others]) == (
        "Precision of these runs: products in bfloat16 by autocast, weights in float32; device: CPU; "
        "threads of a run: 2 (2 runs); 1 (1 run)."
    )


def test_an_older_record_is_not_filled_in(run):
    older = dataclasses.replace(run, training={}, hardware={"processor": "a processor"}, versions={}, identity={})
    told = _facts(older)
    unknown = {name for name, value in told.items() if "not recorded" in value}
    assert unknown == {
        "optimizer", "schedule", "gradient clipping", "dropout of the model", "dropout of the adapters", "batches",
        "device", "threads of a run", "memory of the machine", "operating system", "versions", "commit of vxlab",
        "model", "data",
    }  # fmt: skip
    assert "weight decay" not in "".join(told.values())
    assert told["precision"] == "bfloat16 by autocast"


def test_what_was_chosen_where_is_said_of_the_runs_there_are(run):
    alone = _facts(run)
    assert alone["chosen on validation"] == "the epoch whose checkpoint is scored, by accuracy"
    assert alone["chosen on test"].startswith("nothing")
    assert alone["given, not chosen"] == "the learning rates"
    assert "chosen in train" not in alone
    probe = _probe(run)
    both = _facts(run, probe)
    assert both["chosen on validation"].endswith("by accuracy; the probe's pooling")
    assert both["chosen in train"] == "the probe's strength of regularisation, by cross-validation"
    assert both["the probe's choice"].startswith("mean over tokens (validation accuracy 0.744; first token 0.708), C")
    for of_the_other in ("optimizer", "precision"):
        assert both[of_the_other] == alone[of_the_other]
    small = _facts(_probe(run, folds=0))
    assert small["chosen on validation"] == "the probe's pooling and strength"
    assert "chosen in train" not in small
    assert "epoch" not in _facts(probe)["chosen on validation"]


def test_a_head_alone_has_no_rate_of_the_backbone(run):
    head = dataclasses.replace(run, key=toy.key_of(4), parameters={"backbone": 0, "head": 770, "total": 1000})
    head = dataclasses.replace(head, spec=run.spec | {"learning_rate": 0.5, "head_learning_rate": 0.5})
    told = _facts(run, head)
    assert (told["learning rates"], told["learning rates of the head"]) == ("0.001", "0.005, 0.5")


def test_every_run_is_listed_by_the_first_digits_of_its_key(run):
    assert run_list([_probe(run)])["epoch kept"].isna().all()
    table = run_list([run, run])
    assert table[["run", "method", "seed", "status"]].to_numpy().tolist() == [
        [toy.key_of(0)[:12], "LoRA r=8", 0, "finished"]
    ]


def test_the_page_shows_texts_of_records_as_texts_and_no_paths(run):
    odd = dataclasses.replace(run, key=toy.key_of(5), hardware=HARDWARE | {"processor": "<b>"})
    odd = dataclasses.replace(odd, spec=run.spec | {"model": "/home/me/<i>models"}, task=run.task | {"name": "/a/mine"})
    page = what_made([odd, run]).data
    assert "<b>" not in page.replace("<b></b>", "")
    assert "<i>" not in page
    assert "/home/me" not in page
    assert "/a/mine" not in page
    assert "processor &lt;b&gt; (1 run)" in page  # among what the runs differ in, too
    assert toy.key_of(5)[:12] in page


def test_a_runs_training_is_told_with_its_threads_and_the_kind_of_its_memory(run):
    assert training_sentence(run) == (
        "**lora**: 60 steps in 8 s, validation included (100 ms a step in the median), products in bfloat16 by "
        "autocast, weights in float32, on a processor, threads: 1; peak memory 1.00 GiB (resident beyond what the "
        "process held before); best on validation after epoch 2 of 2, and that one is tested."
    )


def test_the_time_of_a_run_that_was_taken_up_again_is_of_its_last_steps(run):
    again = dataclasses.replace(run, training=TRAINING | {"timed_steps": 20})
    assert "60 steps in 8 s for the last 20, since it was taken up again, validation included" in (
        training_sentence(again)
    )
    assert "60 steps, products" in training_sentence(dataclasses.replace(run, step_seconds=float("nan")))


def test_a_run_that_diverged_or_took_no_step_is_not_told_an_epoch(run):
    lost = dataclasses.replace(run, status="diverged", best_epoch=None)
    assert training_sentence(lost).endswith("; diverged before a checkpoint was chosen.")
    assert training_sentence(_probe(run)).startswith(
        "**probe**: features read and fitted in 8 s, without epochs; mean over tokens"
    )


def test_of_a_run_that_writes_it_is_told_how(run, tiny_writer, toy_prompts, tmp_path):
    changes = {"num_beams": 2, "length_penalty": 0.9, "no_repeat_ngram_size": 4, "schedule": "constant",
               "packing": True, "gradient_accumulation": 2, "label_smoothing": 0.1, "epochs": 1}  # fmt: skip
    (tmp_path / "chat.jinja").write_text(toy_writers.CHAT, encoding="utf-8")
    changes |= {"chat_template": str(tmp_path / "chat.jinja")}
    spec = toy_writers.spec(tiny_writer, toy_prompts, **changes)
    record = vxlab.run(spec, store=tmp_path / "runs.db", progress=False)
    told = _facts(record)
    assert told["writing"] == "by 2 beams, length penalty 0.9, at most 12 tokens, no 4 tokens in a row twice"
    assert told["schedule"].endswith("then constant")
    assert told["batches"].endswith("of at most 64 tokens, in 2 parts, one after the other in one row")
    assert told["label smoothing"] == "0.1"
    assert told["chat template"].startswith("chat.jinja, ")
    assert "versions of single methods" not in told
    assert "learning rates of the head" not in told
    usual = dataclasses.replace(record, spec={**record.spec, "num_beams": 1, "max_new_tokens": 64})
    assert _facts(usual)["writing"] == "greedily, at most 64 tokens, no 4 tokens in a row twice"
    assert not {"writing", "chat template", "label smoothing"} & _facts(run).keys()
    chooses = dataclasses.replace(record, task={**record.task, "kind": "multiple_choice"})
    assert "writing" not in _facts(chooses)
