"""Sentences computed from results, one test for each thing they can say."""

import itertools

import numpy as np
import pandas as pd
import pytest
import toy_records as toy
import toy_writers

import vxlab
from vxlab.studies.fine_tune import fine_tuning_conclusion, vera_norms_sentence
from vxlab.studies.scales import smoke_warning
from vxlab.words import write_number

LABELS = np.arange(1000) % 2
CAVEAT = (
    "- One seed and one learning rate: no interval here covers the luck of training, and this does not rank methods."
)

ONE_RUN = "This is of one run, whose blocks were trained together: another seed may order them otherwise."


def _record(folder, accuracy, method="vera", **changed):
    hits = np.arange(1000) % 100 < 100 * accuracy
    spec = {"method": {"name": method}, "learning_rate": 0.02, "epochs": 3}
    return toy.run_record(folder / f"{method}-{accuracy}", toy.logits_with(hits, LABELS), LABELS, spec=spec, **changed)


def _costs(backbone, lora=73_728, full=22_565_376):
    rows = [("this: it", backbone), ("LoRA r=8", lora), ("head only", 0), ("full fine-tuning", full)]
    return pd.DataFrame(rows, columns=["method", "backbone"]).assign(head=770)


def _lines(record, head, costs, probe=None):
    return fine_tuning_conclusion(record, head, probe or head, costs).splitlines()


@pytest.fixture
def head(tmp_path):
    return _record(tmp_path, 0.70, "head", bytes_stored=3_456)


@pytest.fixture
def probe(tmp_path):
    return _record(tmp_path, 0.76, "probe")


def test_a_run_that_gains_does_so_over_the_stronger_of_probe_and_head(tmp_path, head, probe):
    assert _lines(_record(tmp_path, 0.84), head, _costs(7_680), probe) == [
        "- `vera` scores **0.840** (accuracy; 95 % interval 0.816 to 0.861) on 1,000 test items, above the trivial "
        "answer's 0.500 (most frequent class).",
        "- It **gains** 0.080 over the floor, the probe (0.760; the head alone 0.700): 95 % interval of the difference "
        "+0.063 to +0.097.",
        "- The head alone, trained by these 60 steps at one rate, is no fair floor: on the same frozen model the "
        "probe, which also chooses how to pool, scores 0.060 more (95 % interval of the difference +0.045 to +0.075).",
        "- It trains 7,680 parameters in the backbone (10 % of LoRA r=8's, 1/2,938 of full fine-tuning's) and takes "
        "41.2 kB on disk, with its head and settings.",
        CAVEAT,
    ]
    weak = _lines(_record(tmp_path, 0.84), head, _costs(7_680), _record(tmp_path, 0.6, "probe"))
    assert weak[1].startswith("- It **gains** 0.140 over the floor, the head alone (0.700; the probe 0.600): ")
    assert not any("no fair floor" in line for line in weak)


def test_a_run_that_loses_and_scores_below_the_trivial_answer(tmp_path, head, probe):
    lines = _lines(_record(tmp_path, 0.40), head, _costs(7_680), probe)
    assert lines[0].endswith("on 1,000 test items, below the trivial answer's 0.500 (most frequent class).")
    assert lines[1].startswith("- It **loses** 0.360 against the floor, the probe (0.760; the head alone 0.700): 95 %")


def test_differences_inside_the_noise_are_not_called_gains(tmp_path, head, probe):
    lines = _lines(_record(tmp_path, 0.76), head, _costs(7_680), probe)
    assert lines[1] == (
        "- These test items show no difference from the floor, the probe (0.760; the head alone 0.700): +0.000, 95 % "
        "interval of the difference −0.003 to +0.003."
    )
    for accuracy in (0.48, 0.50, 0.52):
        chance = _lines(_record(tmp_path, accuracy), head, _costs(7_680))
        assert chance[0].endswith("on 1,000 test items, not shown to beat the trivial answer's 0.500 (most frequent "
                                  "class).")  # fmt: skip


def test_units_are_what_intervals_and_words_count(tmp_path, head, probe):
    """A hundred films of ten items each that go the same way: the interval is wider, and a gain may not be seen."""
    films = np.arange(1000) // 10
    hits = films % 100 < 55
    runs = [toy.run_record(tmp_path / str(i), toy.logits_with(hits, LABELS), LABELS, **more)
            for i, more in enumerate(({}, {"units": films}))]  # fmt: skip
    runs[1].task.update(unit="films")
    alone, by_film = (_lines(run, head, _costs(7_680), probe)[0] for run in runs)
    assert "on 1,000 test items, above the trivial answer's 0.500" in alone
    assert "on 1,000 test items in 100 films, not shown to beat the trivial answer's 0.500" in by_film


def test_what_is_not_known_of_an_older_run_is_said(tmp_path, head, monkeypatch):
    monkeypatch.setattr("vxlab.experiments.candidates.held_out.knows_units", lambda record: False)
    assert _lines(_record(tmp_path, 0.84), head, _costs(7_680))[-1] == (
        "- Test items were taken as independent: which of them belong together is not known of these runs."
    )


def test_the_head_alone_is_not_compared_with_itself(head):
    lines = _lines(head, head, _costs(0))
    assert len(lines) == 3
    assert lines[0].startswith("- `head` scores **0.700** (accuracy; ")
    assert lines[1] == "- It trains nothing in the backbone and takes 3.46 kB on disk, with its head and settings."
    assert lines[2] == CAVEAT


def test_full_fine_tuning_is_priced_in_megabytes(tmp_path, head):
    full = _record(tmp_path, 0.84, "full", bytes_stored=90_270_000)
    assert _lines(full, head, _costs(22_565_376))[2] == (
        "- It trains 22,565,376 parameters in the backbone (306 times LoRA r=8's) and takes 90.3 MB on disk, with its "
        "head and settings."
    )


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        (73_728, "73,728 parameters in the backbone (1/306 of full fine-tuning's)"),
        (73_000, "(about as many as LoRA r=8, 1/309 of full fine-tuning's)"),
        (147_456, "(2.0 times LoRA r=8's, 1/153 of full fine-tuning's)"),
        (36_864, "(50 % of LoRA r=8's, "),
        (1, "It trains 1 parameter in the backbone (1/73,728 of LoRA r=8's, "),
    ],
)
def test_prices_are_compared_in_words_that_fit_their_size(tmp_path, head, backbone, words):
    assert words in _lines(_record(tmp_path, 0.84), head, _costs(backbone))[2]


def test_a_price_without_others_to_compare_with_stands_alone(tmp_path, head):
    line = _lines(_record(tmp_path, 0.84), head, _costs(7_680).iloc[:1])[2]
    assert line == "- It trains 7,680 parameters in the backbone and takes 41.2 kB on disk, with its head and settings."


def test_a_regression_is_told_in_its_metrics_words(tmp_path, head):
    random = np.random.default_rng(0)
    targets = random.normal(size=200).astype(np.float32)
    good = toy.run_record(tmp_path / "a", (targets + random.normal(size=200))[:, None], targets)
    bad = toy.run_record(tmp_path / "b", random.normal(size=(200, 1)), targets)
    lines = _lines(good, bad, _costs(7_680))
    assert "(Pearson correlation; 95 % interval 0." in lines[0]
    assert lines[0].endswith(" on 200 test items, above the trivial answer's 0.000 (training mean).")
    assert lines[1].startswith("- It **gains** ")
    assert "class" not in " ".join(lines)


@pytest.mark.parametrize(("steps", "words"), [(30, "30 steps"), (1, "1 step")])
def test_a_diverged_run_says_so_and_what_to_try(head, tmp_path, steps, words):
    diverged = toy.diverged_record(tmp_path / "d", head, steps=steps)
    assert fine_tuning_conclusion(diverged, head, head, _costs(7_680)) == (
        f"The run **diverged** after {words} and has no test score; try a learning rate below 0.02."
    )


def test_a_diverged_head_leaves_the_probe_as_the_floor(tmp_path, head, probe):
    lines = _lines(_record(tmp_path, 0.84), toy.diverged_record(tmp_path / "d", head), _costs(7_680), probe)
    assert lines[1].startswith("- It **gains** 0.080 over the floor, the probe (0.760): ")
    assert lines[2] == "- The head alone diverged: it is no floor."
    assert len(lines) == 5


def test_a_smoke_run_draws_no_conclusion(tmp_path, head):
    said = fine_tuning_conclusion(_record(tmp_path, 0.84), head, head, _costs(7_680), scale="smoke")
    assert said == smoke_warning("smoke")
    assert said.startswith("> ⚠ **Smoke run.**")
    assert "mean nothing" in said
    assert smoke_warning("small") == smoke_warning("paper") == ""


def test_vera_norms_are_told_by_role_and_depth():
    blocks = [0, 1, 2, 0, 1, 2]
    roles = ["query"] * 3 + ["value"] * 3
    updates = pd.DataFrame({"block": blocks, "role": roles, "d_norm": [1.0, 2.0, 3.0, 2.0, 1.0, 0.5]})
    assert vera_norms_sentence(updates) == (
        "‖d‖₂ is larger for query than for value in 2 of 3 blocks (sign test, p = 1). Its rank correlation with depth "
        "(+1: larger in every later block): query +1.00 (3 blocks, p = 0.33), value −1.00 (3 blocks, p = 0.33). "
        f"{ONE_RUN}"
    )
    assert vera_norms_sentence(updates[updates["block"] == 0]) == (
        f"‖d‖₂ is larger for query than for value in 0 of 1 block (sign test, p = 1). {ONE_RUN}"
    )


def test_a_rank_correlation_over_few_blocks_has_the_exact_p_of_all_orders():
    """Of six blocks 74 of the 720 orders correlate by 0.77 or more either way."""
    norms = [6.12, 6.48, 7.34, 9.32, 9.04, 8.57]
    depth = np.arange(6)
    orders = [abs(np.corrcoef(order, depth)[0, 1]) for order in itertools.permutations(range(6))]
    exact = np.mean(np.array(orders) > 0.77)
    updates = pd.DataFrame({"block": depth, "role": "query", "d_norm": norms})
    assert f"query +0.77 (6 blocks, p = {exact:.2g})" in vera_norms_sentence(updates)
    assert exact > 0.1


def test_a_run_that_writes_is_held_against_the_untuned_base(tiny_writer, toy_prompts, tmp_path):
    lora, base = (
        vxlab.run(toy_writers.spec(tiny_writer, toy_prompts, method=method), store=tmp_path, progress=False)
        for method in (vxlab.LoRA(rank=4), vxlab.Base())
    )
    trivial = base.task["majority"]["test"]["log_likelihood"]
    first, gain, price, caveat = fine_tuning_conclusion(lora, None, base, _costs(4_096)).splitlines()
    assert first.startswith("- `lora` scores **−")
    assert "(log-likelihood per token; 95 % interval −" in first
    assert f" on {toy_writers.ROWS['test']} test items, " in first
    assert first.endswith(f" the trivial answer's {write_number(trivial, '.3f')} (token frequencies).")
    assert gain.startswith("- It **gains** ")
    assert (
        f"over the floor, the untuned base ({write_number(base.score(), '.3f')}): 95 % interval of the difference +"
        in gain
    )
    assert price.endswith("on disk, with its settings.")
    assert caveat == CAVEAT
    alone = fine_tuning_conclusion(base, None, base, _costs(0)).splitlines()
    assert not any("floor" in line for line in alone)
