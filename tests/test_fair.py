"""The fair protocol: the same budget for every candidate, and clear words for what no sweep could be."""

from typing import Any

import pytest

import vxlab
from vxlab import Candidate, FairSweep, LoRA, LoRAXS, VeRA


def fair(*candidates: Any, **fields: Any) -> FairSweep:
    return FairSweep(candidates=candidates or (LoRA(rank=8), VeRA(rank=256)), **fields)


def test_every_candidate_has_the_same_number_of_rates_around_its_own_centre() -> None:
    sweep = fair(LoRA(rank=8), Candidate(VeRA(rank=256), learning_rate=1e-2), learning_rates=5, spacing=10.0)
    lora, vera = (sweep.rates(each) for each in sweep.names.values())
    assert lora == (2e-5, 2e-4, 2e-3, 2e-2, 2e-1)
    assert vera == (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def test_a_wider_range_keeps_the_rates_that_were_there() -> None:
    sweep = fair(learning_rates=3)
    candidate = sweep.names["LoRA r=8"]
    narrow, wide = sweep.rates(candidate), sweep.rates(candidate, below=1, above=1)
    assert wide[1:-1] == narrow
    assert list(wide) == sorted(wide)


def test_runs_are_counted_before_they_run() -> None:
    sweep = fair(learning_rates=5, head_learning_rates=(1e-3, 5e-3), tuning_seeds=3, finalists=2, report_seeds=5)
    assert sweep.runs() == {"tuning": 2 * (5 * 2 + 2 * 2), "report": 2 * 5, "widening": 2 * 2}
    assert fair(learning_rates=1).runs()["widening"] == 0


def test_the_head_alone_is_tuned_in_its_own_rate() -> None:
    sweep = fair(vxlab.Head(), LoRA(rank=2), head_learning_rates=(1e-3, 5e-3), report_seeds=1)
    spec = sweep.spec(sweep.names["head only"], 1e-2, 5e-3, 0)
    assert (spec.learning_rate, spec.head_learning_rate) == (1e-2, 1e-2)
    assert sweep.runs()["tuning"] == 3 + 3 * 2


def test_candidates_of_one_label_show_what_differs() -> None:
    names = fair(
        LoRAXS(rank=4), LoRAXS(rank=4, basis="bottom"), Candidate(LoRAXS(rank=4), "all-linear"), LoRA(rank=2)
    ).names
    assert list(names) == [
        "LoRA-XS r=4, query-value, basis=top",
        "LoRA-XS r=4, query-value, basis=bottom",
        "LoRA-XS r=4, all-linear, basis=top",
        "LoRA r=2",
    ]
    rates = fair(Candidate(LoRA(rank=2)), Candidate(LoRA(rank=2), learning_rate=2e-5)).names
    assert list(rates) == ["LoRA r=2, rates around 0.002", "LoRA r=2, rates around 2e-05"]


def test_settings_reach_every_run_and_a_candidates_targets_win() -> None:
    sweep = fair(
        LoRA(rank=8), Candidate(VeRA(rank=4), "all-linear"), settings={"task": "sst2", "targets": "mlp", "epochs": 7}
    )
    specs = [sweep.spec(each, 1e-3, 1e-3, 3) for each in sweep.names.values()]
    assert [(spec.task, spec.epochs, spec.targets, spec.seed) for spec in specs] == [
        ("sst2", 7, "mlp", 3),
        ("sst2", 7, "all-linear", 3),
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learning_rates": 0}, "learning_rates=0 is not a whole number of 1 or more"),
        ({"report_seeds": 2.5}, "report_seeds=2.5 is not a whole number"),
        ({"widen": -1}, "widen=-1 is not a whole number of 0 or more"),
        ({"spacing": 1.0}, r"spacing=1.0 is the factor between learning rates; choose 1.01 or more"),
        ({"head_learning_rates": ()}, "head_learning_rates is empty"),
        ({"spacing": "fast"}, "spacing='fast' is the factor between learning rates"),
        ({"settings": {"epoch": 3}}, "settings has no field 'epoch'; did you mean 'epochs'"),
        ({"settings": {"seed": 3}}, "settings has 'seed', which the protocol decides"),
        ({"settings": {"epochs": 0}}, "epochs=0 is not a positive whole number"),
    ],
)
def test_what_no_sweep_could_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=message):
        fair(**fields)


def test_a_method_without_a_usual_rate_needs_one() -> None:
    with pytest.raises(vxlab.VxlabError, match=r"FourierFT \(PEFT\) has no usual learning rate here; name the middle"):
        fair(vxlab.PEFT("fourierft"))
    with pytest.raises(vxlab.VxlabError, match="learning_rate=0 of LoRA r=2 is not a positive number"):
        Candidate(LoRA(rank=2), learning_rate=0)


def test_no_candidates_and_twice_the_same_are_refused() -> None:
    with pytest.raises(vxlab.VxlabError, match="candidates is empty"):
        FairSweep(candidates=[])
    with pytest.raises(vxlab.VxlabError, match="holds LoRA r=8 twice"):
        fair(LoRA(rank=8), LoRA(rank=8))
    with pytest.raises(vxlab.VxlabError, match="candidate 'lora' is not a method"):
        fair("lora")
