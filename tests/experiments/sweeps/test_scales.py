"""What scales choose: one table, for every scale, of names that are known."""

import pytest

import vxlab
from vxlab.experiments.sweeps.scales import SCALES, presets, scale_settings


@pytest.mark.parametrize("what", ["run", "sweep.settings", "sweep.budget", "sweep.ranks", "sweep.centres"])
def test_runs_and_sweeps_have_every_scale(what):
    assert {*SCALES} <= presets(what).keys()
    assert all(scale_settings(what, scale) for scale in SCALES)


def test_every_study_names_scales_and_nothing_else():
    for study, scales in presets("studies").items():
        assert scales.keys() <= {*SCALES}, study


def test_what_is_taken_is_a_copy_with_tuples():
    first = scale_settings("studies.cost", "small")
    assert first["lora_ranks"] == (1, 8, 16, 64, 256)
    first.clear()
    assert scale_settings("studies.cost", "small")
    assert scale_settings("studies.start", "paper") == {}


def test_an_unknown_scale_is_refused():
    with pytest.raises(vxlab.VxlabError, match="scale='large' is unknown; choose one of smoke, small, paper"):
        scale_settings("run", "large")
