"""What the study of costs measures at each scale, and that what is chosen in its notebook wins."""

import pytest
from notebook_cells import run_cell

import vxlab
from vxlab.experiments.sweeps.scales import SCALES
from vxlab.studies.published import published_table
from vxlab.studies.scales import study_settings


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_measures_every_methods_cost(scale):
    settings = study_settings("cost", scale)
    for name in ("lora_ranks", "vera_ranks", "lora_xs_ranks"):
        assert settings[name]
        assert list(settings[name]) == sorted(set(settings[name]))


def test_the_default_measures_what_everybody_knows_and_the_claims_that_fit_it():
    small = study_settings("cost", "small")
    assert (small["model"], small["targets"]) == ("minilm", "all-linear")
    assert {8, 64} <= set(small["lora_ranks"])
    assert {64, 256} <= set(small["vera_ranks"])
    assert 16 in small["lora_xs_ranks"]
    assert small["tokens"] <= 512


def test_the_papers_scale_has_every_rank_of_their_cost_tables():
    paper, published = study_settings("cost", "paper"), published_table("costs").dropna(subset=["rank"])
    for method, rank in published[["method", "rank"]].itertuples(index=False):
        assert rank in paper[f"{method}_ranks"]


def test_an_unknown_scale_is_refused():
    with pytest.raises(vxlab.VxlabError, match="scale='large' is unknown; choose one of smoke, small, paper"):
        study_settings("cost", "large")


def test_what_is_chosen_in_the_notebook_of_costs_wins_and_what_is_not_stays():
    given = {
        "model": None,
        "targets": None,
        "batch_size": 2,
        "tokens": None,
        "rounds": None,
        "quantisation": None,
        "resolution": None,
    }
    ranks = {"lora_ranks": [], "vera_ranks": [64, 4, 4], "lora_xs_ranks": []}
    made = run_cell("07_cost", "kinds = {", scale="small", device="cpu", precision="float32", **given, **ranks)
    small = study_settings("cost", "small")
    assert made["settings"] == small | {"batch_size": 2, "vera_ranks": [64, 4, 4]}
    assert [each.rank for each in made["methods"] if isinstance(each, vxlab.LoRA)] == list(small["lora_ranks"])
    assert [each for each in made["methods"] if isinstance(each, vxlab.VeRA)] == [vxlab.VeRA(4), vxlab.VeRA(64)]
    assert made["given"]["lora_ranks"] == ", ".join(map(str, small["lora_ranks"]))
