"""What the page compares at each scale: bases that differ in nothing else."""

import pytest

import vxlab
from vxlab.studies.quantised import FLOAT, quantised_sweeps

pytest.importorskip("bitsandbytes")
METHODS = {"lora": None, "vera": None, "lora_xs": None}


@pytest.mark.parametrize("scale", ["smoke", "small"])
def test_the_sweeps_are_alike_but_for_the_base(scale: str) -> None:
    sweeps = quantised_sweeps(scale, [], METHODS, {"epochs": 3, "model": None})
    assert next(iter(sweeps)) == FLOAT
    assert "nf4" in sweeps
    for scheme, fair in sweeps.items():
        settings = dict(fair.settings)
        assert settings.pop("quantisation", None) == (None if scheme == FLOAT else scheme)
        assert settings == dict(sweeps[FLOAT].settings)
        assert fair.names == sweeps[FLOAT].names
        assert settings["epochs"] == 3


def test_the_float_sweep_has_the_runs_of_any_other_page() -> None:
    fair = quantised_sweeps("small", [], {"lora": 4}, {})[FLOAT]
    other = vxlab.fair_recipe("small", ranks={"lora": [4]})
    assert [fair.spec(each, 1e-3, 5e-3, 0) for each in fair.names.values()] == [
        other.spec(each, 1e-3, 5e-3, 0) for each in other.names.values()
    ]


def test_ranks_and_schemes_that_are_chosen_win_and_a_method_may_have_no_rank() -> None:
    sweeps = quantised_sweeps("small", ["torchao-int8", "torchao-int8"], {"vera": 32, "bitfit": None}, {})
    assert list(sweeps) == [FLOAT, "torchao-int8"]
    assert list(sweeps[FLOAT].names) == ["VeRA r=32", "BitFit"]


def test_what_is_unknown_is_refused() -> None:
    with pytest.raises(vxlab.VxlabError, match="schemes='nf5'"):
        quantised_sweeps("small", ["nf5"], METHODS, {})
    with pytest.raises(vxlab.VxlabError, match="methods is empty"):
        quantised_sweeps("small", [], {}, {})
    with pytest.raises(vxlab.VxlabError, match="method='lorra' is unknown"):
        quantised_sweeps("small", [], {"lorra": None}, {})
