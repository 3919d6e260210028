"""What of the peft library may be named, and what is refused with the nearest name or a reason."""

import sys
from typing import Any

import numpy as np
import pytest

import vxlab
from vxlab.adapters.peft.settings import rank_setting

pytest.importorskip("peft")


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        ("doora", {}, r"config='doora' is unknown; did you mean 'dora'\?.*adalora.*vera"),
        ("lora", {"rnk": 4}, r"PEFT\('lora'\) has no setting 'rnk'.*use_rslora"),
        ("lora", {"lora_alfa": 4}, r"no setting 'lora_alfa'; did you mean 'lora_alpha'\?"),
        ("vera", {"projection_key": 1}, r"no setting 'projection_key'; did you mean 'projection_prng_key'\?"),
        ("adalora", {"r": 4}, r"PEFT\('adalora'\) has no setting 'r'.*target_r"),
        ("dora", {"use_dora": False}, r"PEFT\('dora'\) has no setting 'use_dora'"),
        ("lora", {"target_modules": ["query"]}, "takes no setting 'target_modules': the run's targets decide"),
        ("lora", {"modules_to_save": ["classifier"]}, "'modules_to_save': the task head trains with every method"),
        ("lora", {"use_qalora": True}, "takes no setting 'use_qalora': only peft's GPTQ layers heed it"),
        ("adalora", {"total_step": 100}, "takes no setting 'total_step': it is the run's number of steps"),
        ("adalora", {"target_r": 12}, "target_r=12 is not below init_r=12.*choose init_r above it"),
        ("lora", {"init_lora_weights": "pissa"}, "init_lora_weights='pissa' rewrites the base's weights"),
        ("lora", {"r": object()}, "r=<object.* is an object; it must be a whole number"),
        ("lora", {"rank_pattern": object()}, "rank_pattern=<object.* is no plain value; give a number"),
        ("lora", {"lora_alpha": float("nan")}, "lora_alpha=nan is not finite; it must be a number"),
        ("lora", {"r": "8"}, r"PEFT\('lora'\) r='8' is a text; it must be a whole number: write r=8, without quotes"),
        ("lora", {"r": 8.0}, "r=8.0 is a float; it must be a whole number"),
        ("lora", {"r": 0}, "r=0 is not a positive whole number; choose 1 or more"),
        ("lora", {"r": None}, "r=None is a NoneType; it must be a whole number"),
        ("lora", {"use_rslora": "no"}, "use_rslora='no' is a text; it must be True or False: write use_rslora=False"),
        ("lora", {"lora_dropout": [0.1]}, r"lora_dropout=\[0.1\] is a list; it must be a number"),
        ("lora", {1: 2}, r"PEFT\('lora'\) has no setting 1; known: r, lora_alpha"),
        ("lora", [("r", 8)], r"PEFT\('lora'\) settings=\[\('r', 8\)\] is not a mapping; write {'r': 8}"),
        (3, {}, "PEFT config=3 is unknown"),
        ("boft", {"boft_block_size": 0}, r"peft refuses 'boft' with \{'boft_block_size': 0\}: .*"),
        ("prefix_tuning", {}, "peft's 'prefix_tuning' changes the model's input, so no target layers carry it; choose"),
        ("prompt_tuning", {}, "peft's 'prompt_tuning' changes the model's input"),
        ("ln_tuning", {}, "peft's 'ln_tuning' trains layer norms"),
        ("poly", {}, "peft's 'poly' needs the number of a task"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_built(config: Any, settings: Any, message: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=message):
        vxlab.PEFT(config, settings)


def test_numpy_numbers_are_plain_and_the_rank_is_written_out() -> None:
    method = vxlab.PEFT("lora", {"r": np.int64(4), "lora_dropout": np.float32(0.5), "rank_pattern": {"query": 2}})
    assert method.settings() == {"lora_dropout": 0.5, "r": 4, "rank_pattern": {"query": 2}}
    assert vxlab.PEFT("vera").settings() == {"r": 256}
    assert vxlab.PEFT("fourierft").settings() == {}
    # Its annotation says int: peft checks nothing, and any number does. A float32 is the decimal it stands for.
    assert vxlab.PEFT("lora", {"lora_alpha": np.float32(0.1)}).settings() == {"lora_alpha": 0.1, "r": 8}


@pytest.mark.parametrize(
    ("config", "settings", "rank"),
    [("dora", {}, 8), ("adalora", {"target_r": 3}, 3), ("oft", {"oft_block_size": 8}, None), ("ia3", {}, None)],
)
def test_the_rank_is_the_setting_that_is_one(config: str, settings: dict[str, Any], rank: int | None) -> None:
    assert vxlab.PEFT(config, settings).rank == rank
    assert vxlab.PEFT(config, settings).settings().get(rank_setting(config)) == rank


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft.mapping", None)
    with pytest.raises(vxlab.VxlabError, match=r"'peft:dora' needs the peft library; pip install 'vxlab\[peft\]'"):
        vxlab.PEFT("dora")
