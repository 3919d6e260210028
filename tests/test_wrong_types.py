"""What users hand over that is no run, no sweep, no list, no number: refused by its name before anything is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import vxlab
from vxlab import LoRA
from vxlab.experiments.engines import make_engine
from vxlab.experiments.sweeps.fair_recipes import fair_recipe, fair_study, study_run
from vxlab.experiments.sweeps.fair_stages import announce
from vxlab.experiments.sweeps.grid import grid
from vxlab.experiments.sweeps.recipes import recipe

METHOD: Any = LoRA(rank=2)
SPEC: Any = vxlab.RunSpec(method=METHOD, learning_rate=1e-3, head_learning_rate=1e-3, model="no/such")
FAIR: Any = vxlab.FairSweep(candidates=[METHOD], settings={"model": "no/such"})
MODEL = nn.Linear(2, 2)
ATTACHED = vxlab.attach(nn.Sequential(nn.Linear(2, 2, device="meta")), METHOD, targets="0")

REFUSED: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = [
    (vxlab.run, (None,), {}, r"spec=None is no vxlab.RunSpec"),
    (vxlab.run, ([SPEC],), {}, r"spec=\[RunSpec.* is no vxlab.RunSpec; many runs are for vxlab.sweep or compare"),
    (vxlab.run, (SPEC,), {"fresh": "no"}, "fresh='no' is a text; it must be True or False: write fresh=False"),
    (vxlab.run, (SPEC,), {"progress": 1}, "progress=1 is an int; it must be True or False"),
    (vxlab.run, (SPEC,), {"listener": 3}, "listener=3 lacks stop_asked, on_wait, on_begin"),
    (vxlab.sweep, (FAIR,), {}, r"specs=FairSweep.* is no list; give runs, .* a FairSweep is for vxlab.compare"),
    (vxlab.sweep, ("sweep.yaml",), {}, "specs='sweep.yaml' is no list"),
    (vxlab.sweep, ({"a": SPEC},), {}, "specs={'a': RunSpec.* is no list"),
    (vxlab.sweep, ([SPEC, 3],), {}, "specs holds 3; give runs"),
    (vxlab.sweep, (iter([]),), {}, "specs is empty; give one RunSpec or more"),
    (vxlab.sweep, (SPEC,), {"train": "no"}, "train='no' is a text; it must be True or False: write train=False"),
    (vxlab.sweep, (SPEC,), {"store": 3.5}, "store=3.5 is a float; it must be a text or None"),
    (vxlab.sweep, (SPEC,), {"engine": None}, "engine=None is neither a name nor an engine; choose one of inline"),
    (vxlab.sweep, (SPEC,), {"engine": dict}, "engine=<class 'dict'> is neither a name nor an engine"),
    (vxlab.compare, ([METHOD],), {}, r"fair=\[LoRA.* is no vxlab.FairSweep; for a list of runs call vxlab.sweep"),
    (announce, (3,), {}, "specs=3 is no list"),
    (make_engine, ("processes",), {"workers": "2"}, "workers='2' is a text; .*: write workers=2, without quotes"),
    (make_engine, ("processes",), {"workers": 10**9}, "workers=1000000000 is not a number of workers"),
    (make_engine, ("inline",), {"workers": True}, "workers=True is a bool; it must be a whole number or None"),
    (make_engine, ("inline",), {"workers": 0}, "workers=0 is not a number of workers; choose 1 or more"),
    (grid, ("lora",), {"learning_rates": 1e-3}, "methods='lora' is no list; give methods"),
    (grid, (None,), {"learning_rates": 1e-3}, "methods=None is no list"),
    (grid, (METHOD,), {"learning_rates": "1e-3"}, "learning_rates='1e-3' is a text; it must be a number or a list"),
    (grid, (METHOD,), {"learning_rates": 1e-3, "seeds": 0.5}, "seeds=0.5 is a float; it must be a whole number or"),
    (grid, (METHOD,), {"learning_rates": 1e-3, "targets": 3}, "targets=3 is an int; it must be a text or a list of te"),
    (grid, (METHOD,), {"learning_rates": 1e-3, "epoch": 3}, "grid has no field 'epoch'; did you mean 'epochs'?"),
    (recipe, (3,), {}, "method=3 is an int; it must be a text"),
    (recipe, ("vera",), {"epoch": 3}, "a recipe has no field 'epoch'; did you mean 'epochs'?"),
    (
        recipe,
        ("vera",),
        {"rank": "8"},
        "VeRA rank='8' is a text; it must be a whole number or a mapping of names",
    ),
    (recipe, ("vera",), {"scale": "paper", "model": ["a"]}, r"model=\['a'\] is a list; it must be a text"),
    (fair_recipe, (["small"],), {}, r"scale=\['small'\] is unknown"),
    (fair_recipe, (), {"ranks": [8]}, r"ranks=\[8\] is not a mapping; write ranks={'lora': \[2, 8\]"),
    (fair_recipe, (), {"ranks": {"lora": "8"}}, "ranks of lora='8' is a text; it must be a whole number or a list"),
    (fair_recipe, (), {"others": [METHOD]}, r"others=\[LoRA.* is a list; it must be a text or a list of texts"),
    (fair_study, ("lora",), {}, "candidates='lora' is no list; give methods, such as"),
    (fair_study, ([3],), {}, "candidates holds 3; give methods, such as"),
    (study_run, (None,), {}, "candidates holds None; give methods"),
    (vxlab.attach, ("minilm", METHOD), {}, "model='minilm' is no torch.nn.Module; load it first"),
    (vxlab.attach, (METHOD, MODEL), {}, r"model=LoRA\(rank=2, .* is no torch.nn.Module"),
    (vxlab.attach, (MODEL, "lora"), {}, r"method='lora' is not a method; pass vxlab.LoRA\(rank=8\)"),
    (vxlab.attach, (MODEL, LoRA), {}, "method=<class 'vxlab.adapters.families.lora.LoRA'> is not a method; pass"),
    (vxlab.resolve_targets, (None, "mlp"), {}, "model=None is no torch.nn.Module"),
    (vxlab.trainable_parameters, (None,), {}, "model=None is no torch.nn.Module"),
    (vxlab.detach, ([MODEL],), {}, r"model=\[Linear\(.* is no torch.nn.Module"),
    (vxlab.merge, ("a",), {}, "model='a' is no torch.nn.Module"),
    (vxlab.save_adapter, (ATTACHED, None), {}, "folder=None is a NoneType; it must be a text"),
    (vxlab.save_adapter, (ATTACHED, "a"), {}, "`0.bias` is on the meta device, without values"),
    (vxlab.load_adapter, (MODEL, 3), {}, "folder=3 is an int; it must be a text"),
    (vxlab.method_from_name, (None,), {}, "method=None is a NoneType; it must be a text"),
    (vxlab.method_from_name, ("lora",), {"rank": "8"}, "LoRA rank='8' is a text; it must be a whole number"),
    (vxlab.method_from_name, ("lora",), {"name": "x"}, "method 'lora' has no setting 'name'"),
]


@pytest.mark.parametrize(("called", "given", "named", "message"), REFUSED)
def test_what_is_no_such_thing_is_refused_by_its_name(
    called: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any], message: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("VXLAB_REPORTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(vxlab.VxlabError, match=f"^{message}") as refused:
        called(*given, **named)
    assert len(str(refused.value).splitlines()) == 1
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cpus_per_run": "2"}, "cpus_per_run='2' is a text; it must be a whole number or None"),
        ({"cpus_per_run": 1.5}, "cpus_per_run=1.5 is a float; it must be a whole number or None"),
        ({"gpus_per_run": True}, "gpus_per_run=True is a bool; it must be a number or None"),
        ({"gpus_per_run": 1.5}, "gpus_per_run=1.5 is not what a run can occupy; .* above 1 a whole number"),
        ({"gpus_per_run": float("nan")}, "gpus_per_run=nan is not finite"),
        ({"shared_files": "no"}, "shared_files='no' is a text; it must be True or False or None: write shared_files=F"),
    ],
)
def test_options_of_ray_are_checked(options: dict[str, Any], message: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(vxlab.VxlabError, match=message):
        make_engine("ray", **options)


def test_a_grid_takes_one_value_for_a_list_and_whatever_can_be_gone_through() -> None:
    alone = grid(METHOD, learning_rates=1e-3, head_learning_rates=5e-3, targets="mlp", seeds=7)  # type: ignore[arg-type]
    assert [(spec.method, spec.targets, spec.learning_rate, spec.seed) for spec in alone] == [(METHOD, "mlp", 1e-3, 7)]
    many = grid(
        (LoRA(rank=rank) for rank in (2, 4)), learning_rates=np.logspace(-3, -1, 3), seeds=np.arange(2),
        head_learning_rates=(rate for rate in (1e-3, 2e-3)), targets=["mlp", ["query", "key"]],
    )  # fmt: skip
    assert len(set(many)) == 2 * 3 * 2 * 2 * 2
    assert {spec.targets for spec in many} == {"mlp", ("query", "key")}


def test_recipes_take_what_means_the_same() -> None:
    assert list(fair_recipe(ranks={"lora": 8, "vera": np.array([16])}, others="head").names) == [  # type: ignore[dict-item]
        "LoRA r=8", "VeRA r=16", "head only"
    ]  # fmt: skip
    assert list(fair_study(METHOD).names) == ["LoRA r=2"]
    assert recipe("vera", scale="paper", task=Path("sst2")) == recipe("vera", scale="paper", task="sst2")
