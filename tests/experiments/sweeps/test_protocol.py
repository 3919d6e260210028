"""The fair protocol: the same budget for every candidate, and clear words for what no sweep could be."""

import math
import re
from itertools import cycle
from typing import Any

import numpy as np
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


def test_a_probe_has_no_rates_to_tune_and_one_run() -> None:
    alone, beside = fair(LoRA(rank=2), tuning_seeds=2), fair(LoRA(rank=2), vxlab.Probe(), tuning_seeds=2)
    assert beside.runs() == alone.runs() | {"report": alone.runs()["report"] + 1}
    assert beside.rates(beside.names["probe"], 1, 1) == ()
    assert beside.tuned == ["LoRA r=2"]
    assert [spec.method for _, spec in beside.untuned()] == [vxlab.Probe()]
    with pytest.raises(vxlab.VxlabError, match=r"learning_rate=0\.001 of probe, which has none; leave it out"):
        Candidate(vxlab.Probe(), learning_rate=1e-3)
    with pytest.raises(
        vxlab.VxlabError, match=r"none that has a learning rate to tune; a probe alone is for vxlab\.run"
    ):
        fair(vxlab.Probe())


def test_with_shots_every_seed_is_a_draw_unless_one_is_pinned() -> None:
    few = {"shots": 5}
    sweep = fair(LoRA(rank=2), vxlab.Probe(), settings=few, tuning_seeds=2, report_seeds=3)
    lora = sweep.names["LoRA r=2"]
    assert [sweep.spec(lora, 1e-3, 5e-3, seed).draw for seed in (0, 4)] == [0, 4]
    assert [(spec.draw, spec.seed) for _, spec in sweep.untuned()] == [(2, 0), (3, 0), (4, 0)]
    assert sweep.runs() == fair(LoRA(rank=2), tuning_seeds=2, report_seeds=3).runs() | {"report": 6}
    pinned = fair(LoRA(rank=2), vxlab.Probe(), settings=few | {"draw": 7}, report_seeds=3)
    assert {pinned.spec(lora, 1e-3, 5e-3, seed).draw for seed in range(3)} == {7}
    assert [spec.draw for _, spec in pinned.untuned()] == [7]
    with pytest.raises(vxlab.VxlabError, match="draw=3 is the seed by which shots are drawn, and shots is None"):
        fair(settings={"draw": 3})


def test_without_shots_no_run_has_a_draw() -> None:
    sweep = fair(LoRA(rank=2), vxlab.Probe())
    specs = [sweep.spec(sweep.names["LoRA r=2"], 1e-3, 5e-3, 3), *(spec for _, spec in sweep.untuned())]
    assert all({"shots", "draw"}.isdisjoint(spec.settings()) for spec in specs)


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


def test_two_allocations_of_the_same_ranks_are_two_candidates_of_short_names() -> None:
    names = [f"encoder.layer.{block}.query" for block in range(6)]
    one, other = (dict(zip(names, ranks, strict=True)) for ranks in ((1, 2, 4, 8, 8, 1), (8, 8, 4, 2, 1, 1)))
    found = list(fair(LoRA(rank=one), LoRA(rank=other), LoRA(rank=other, alpha=16), LoRA(rank=4)).names)
    assert len(set(found)) == 4
    assert all(name.startswith("LoRA r=1–8 by layer (") and len(name) < 50 for name in found[:3])


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
        ({"spacing": "fast"}, "spacing='fast' is a text; it must be a number"),
        ({"learning_rates": [1e-3]}, r"learning_rates=\[0.001\] is not a whole number of 1 or more \(how many are"),
        ({"learning_rates": 1e-3}, r"their middle is named by Candidate\(method, learning_rate=1e-3\)"),
        ({"report_seeds": range(3)}, r"report_seeds=range\(0, 3\) is not a whole number of 1 or more \(how many there"),
        ({"report_seeds": "5"}, "report_seeds='5' is not a whole number"),
        ({"head_learning_rates": "5e-3"}, "head_learning_rates='5e-3' is a text; it must be a number or a list"),
        ({"head_learning_rates": (5e-3, -1)}, r"head_learning_rates=\(0.005, -1\) holds -1; a rate is above 0"),
        ({"head_learning_rates": (5e-3, 5e-3)}, "holds a rate twice; name each once"),
        ({"learning_rates": 640, "spacing": 10, "widen": 0}, "ask for rates that no float holds"),
        ({"learning_rates": 4000, "spacing": 1000}, "ask for rates that no float holds"),
        ({"settings": None}, "settings=None is not a mapping; write settings={'epochs': 1}"),
        ({"settings": [("epochs", 1)]}, "is not a mapping"),
        ({"settings": {1: 2}}, r"settings has no field 1; known: "),
        ({"settings": {"epochs": "3"}}, "epochs='3' is a text; it must be a whole number: write epochs=3, without quo"),
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
    with pytest.raises(vxlab.VxlabError, match="candidates holds 'lora'; give methods, such as"):
        fair("lora")


@pytest.mark.parametrize("candidates", ["lora", {"LoRA": LoRA(rank=8)}, None, 8])
def test_what_is_no_list_of_candidates_is_refused(candidates: Any) -> None:
    with pytest.raises(vxlab.VxlabError, match=r"^candidates=.* is no list; give methods, such as \[vxlab.LoRA"):
        FairSweep(candidates=candidates)


def test_one_candidate_a_generator_and_a_list_are_candidates() -> None:
    alone = (FairSweep(candidates=LoRA(rank=8)), FairSweep(candidates=Candidate(LoRA(rank=8))))
    drawn = FairSweep(candidates=(LoRA(rank=rank) for rank in (8, 16)))  # type: ignore[arg-type]
    assert [list(each.names) for each in (*alone, drawn)] == [["LoRA r=8"], ["LoRA r=8"], ["LoRA r=8", "LoRA r=16"]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((1e-3,), r"targets=0.001 of LoRA r=2 is a number; a rate goes by its name: Candidate\(LoRA\(rank=2, "),
        (((),), r"targets=\(\) of LoRA r=2 names no layer; None takes the sweep's"),
        ((None, "1e-3"), "LoRA r=2: learning_rate='1e-3' is a text; it must be a number or None: write learning_rate"),
        (({"query": 1},), "LoRA r=2: targets={'query': 1} is a dict"),
    ],
)
def test_what_is_no_candidate_is_refused(fields: tuple[Any, ...], message: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=message):
        Candidate(LoRA(rank=2), *fields)


def test_numpys_numbers_and_lists_are_taken() -> None:
    sweep = fair(
        Candidate(LoRA(rank=np.int64(8)), ["query"], np.float32(1e-3)),  # type: ignore[arg-type]
        learning_rates=np.int64(1), head_learning_rates=np.array([1e-3]), settings={"text_columns": "review"},
    )  # fmt: skip
    (candidate,) = sweep.names.values()
    assert (candidate.targets, candidate.learning_rate, sweep.learning_rates) == (("query",), 1e-3, 1)
    assert sweep.spec(candidate, 1e-3, 1e-3, 0).text_columns == ("review",)
    assert hash(candidate) == hash(Candidate(LoRA(rank=8), ("query",), 1e-3))


def test_a_sweep_keeps_its_own_settings() -> None:
    settings = {"epochs": 1}
    sweep = fair(settings=settings)
    settings["epochs"] = 7
    assert sweep.spec(sweep.names["LoRA r=8"], 1e-3, 1e-3, 0).epochs == 1


def test_a_method_that_goes_on_no_layers_shows_no_targets() -> None:
    other = Candidate(vxlab.BitFit(), "all-linear")
    assert list(fair(other, LoRA(rank=2), Candidate(LoRA(rank=2), "mlp")).names) == [
        "BitFit", "LoRA r=2, query-value", "LoRA r=2, mlp"
    ]  # fmt: skip
    with pytest.raises(vxlab.VxlabError, match="holds BitFit twice"):
        fair(other, vxlab.BitFit())


def test_runs_that_choose_may_end_early_and_those_reported_never_do() -> None:
    early = fair(LoRA(rank=8), tuning_share=0.25)
    (candidate,) = early.names.values()
    assert early.spec(candidate, 1e-3, 5e-3, 0, tuning=True).ends_after == 0.25
    assert early.spec(candidate, 1e-3, 5e-3, 1).ends_after == 1
    usual = fair(LoRA(rank=8))
    assert usual.spec(candidate, 1e-3, 5e-3, 0, tuning=True) == usual.spec(candidate, 1e-3, 5e-3, 0)
    assert early.runs() == usual.runs()


@pytest.mark.parametrize("share", [0, -1, 1.01, math.nan])
def test_what_is_no_share_of_the_steps_is_refused(share: float) -> None:
    with pytest.raises(vxlab.VxlabError, match="tuning_share="):
        fair(tuning_share=share)


def test_a_share_is_not_a_setting_of_all_runs() -> None:
    with pytest.raises(vxlab.VxlabError, match="settings has 'ends_after', which the protocol decides"):
        fair(settings={"ends_after": 0.5})


def test_ranks_of_many_layers_are_told_apart_in_few_words():
    def by_layer(layers: int, *ranks: int) -> Candidate:
        named = {f"encoder.layer.{place}.query": rank for place, rank in zip(range(layers), cycle(ranks), strict=False)}
        return Candidate(LoRA(rank=named), targets=tuple(named))

    names = list(FairSweep(candidates=[by_layer(10, 1, 2), by_layer(8, 1, 2), LoRA(rank=8)]).names)
    swapped = list(FairSweep(candidates=[by_layer(8, 1, 2), by_layer(8, 2, 1)]).names)
    assert len({*names, *swapped}) == 4  # 8 layers of 1, 2, 1, ... are the same in both
    assert all(re.fullmatch(r"LoRA r=1–2 by layer \([0-9a-f]{6}\)", name) for name in (*names[:2], *swapped))
