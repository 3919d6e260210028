"""Published claims beside differences over tasks: verdicts, what is not counted, what did not run."""

import numpy as np
from toy_task_grid import across

from vxlab.studies import ABSENT, CONSISTENT, CONTRADICTS, NOISY
from vxlab.studies.atlas.claims import atlas_claims

BASE = np.array([80.0, 75.0, 70.0, 85.0, 78.0, 66.0])
PAR, ABOVE = "VeRA is on a par with LoRA", "LoRA scores above full fine-tuning"


def _judged(shifts, **more):
    found = across({name: list(BASE + shift) for name, shift in shifts.items()}, error=0.1, **more)
    return {each.claim: each for each in atlas_claims(found)}


def test_planted_differences_are_judged():
    found = _judged({"LoRA 4 qv": 3.0, "VeRA 256 qv": 3.1, "full": 0.0})
    assert (found[PAR].verdict, found[ABOVE].verdict) == (CONSISTENT, CONSISTENT)
    assert "VeRA 256 qv less LoRA 4 qv: 0.1 points" in found[PAR].here
    found = _judged({"LoRA 4 qv": 0.0, "VeRA 256 qv": 5.0, "full": 3.0})
    assert (found[PAR].verdict, found[ABOVE].verdict) == (CONTRADICTS, CONTRADICTS)


def test_what_did_not_run_is_not_measured_and_named():
    found = _judged({"LoRA 4 qv": 3.0, "full": 0.0})
    assert (found[PAR].verdict, found[PAR].here) == (ABSENT, "no run of VeRA")
    assert found["DoRA scores above LoRA"].here == "no run of DoRA (PEFT)"
    assert found["rank 1 of LoRA is on a par with its high ranks"].verdict == ABSENT


def test_tasks_with_lost_runs_or_a_rate_on_the_edge_do_not_count_whichever_way_they_point():
    edge = {"edge": lambda name, task: "high" if (name, task) == ("full", "t0") else ""}
    lost = {"diverged": lambda name, task: int((name, task) == ("LoRA 4 qv", "t1"))}
    found = _judged({"LoRA 4 qv": 3.0, "full": 0.0}, **edge, **lost)[ABOVE]
    assert "4 tasks); not counted, for lost runs or a rate on the edge: t0 and t1" in found.here
    every = _judged({"LoRA 4 qv": 3.0, "full": 0.0}, edge="high")[ABOVE]
    assert every.verdict == ABSENT
    assert every.here.startswith("LoRA 4 qv less full: no task to compare them on")


def test_one_task_decides_nothing_and_other_units_measure_nothing():
    found = across({"LoRA 4 qv": [80.0], "full": [70.0]})
    here = {each.claim: each for each in atlas_claims(found)}[ABOVE]
    assert here.verdict == ABSENT
    assert "on 1 task, which gives no interval" in here.here
    assert {each.verdict for each in atlas_claims(found._replace(unit="nats"))} == {ABSENT}


def test_what_was_recalled_or_quoted_says_so():
    sources = {each.claim: each.source for each in atlas_claims(across({"full": [1.0, 2.0]}))}
    assert "[recalled, not verified]" in sources["LoRA-XS scores above VeRA"]
    assert "[quoted by later work]" in sources["DoRA scores above LoRA"]


def test_noise_is_no_verdict():
    random = np.random.default_rng(0)
    found = across({"LoRA 4 qv": list(BASE + random.normal(0, 3, 6)), "full": list(BASE)}, error=3.0)
    assert {each.claim: each for each in atlas_claims(found)}[ABOVE].verdict == NOISY
