"""What each scale measures, and that what is chosen wins."""

import pytest

import vxlab
from vxlab.experiments.sweeps.scales import SCALES
from vxlab.studies.cost.settings import cost_settings
from vxlab.studies.published import published_table


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_measures_every_method(scale):
    families = cost_settings(scale).families()
    assert {type(family) for family in families} == {vxlab.LoRA, vxlab.VeRA, vxlab.LoRAXS}
    assert len(set(families)) == len(families)


def test_the_default_measures_what_everybody_knows_and_the_claims_that_fit_it():
    small = cost_settings()
    assert (small.model, small.targets) == ("minilm", "all-linear")
    assert {vxlab.LoRA(rank=8), vxlab.VeRA(rank=256), vxlab.LoRAXS(rank=16)} <= set(small.families())
    assert 64 in small.lora_ranks
    assert 64 in small.vera_ranks
    assert small.tokens <= 512


def test_the_papers_scale_has_every_rank_of_their_cost_tables():
    paper, published = cost_settings("paper"), published_table("costs").dropna(subset=["rank"])
    ranks = {"lora": paper.lora_ranks, "vera": paper.vera_ranks, "lora_xs": paper.lora_xs_ranks}
    for method, rank in published[["method", "rank"]].itertuples(index=False):
        assert rank in ranks[method]


def test_what_is_chosen_wins_and_what_is_not_stays():
    chosen = cost_settings("small", vera_ranks=[64, 4, 4], lora_ranks=[], tokens=None, batch_size=2)
    assert chosen.vera_ranks == (4, 64)
    assert chosen.lora_ranks == cost_settings("small").lora_ranks
    assert (chosen.tokens, chosen.batch_size) == (cost_settings("small").tokens, 2)
    assert ("vera_ranks", "4, 64") in chosen.rows()
    assert ("batch_size", "2") in chosen.rows()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"scale": "large"}, "scale='large' is unknown; choose one of smoke, small, paper"),
        ({"rounds": 0}, "rounds=0 measures nothing; choose 1 or more"),
        ({"tokens": -1}, "tokens=-1 measures nothing"),
        ({"batch_size": 0}, "batch_size=0 measures nothing"),
    ],
)
def test_settings_that_measure_nothing_are_refused(chosen, message):
    with pytest.raises(vxlab.VxlabError, match=message):
        cost_settings(**chosen)


def test_a_rank_below_one_is_refused_by_its_method():
    with pytest.raises(vxlab.VxlabError, match="VeRA rank=0 is not a positive integer"):
        cost_settings("small", vera_ranks=[0]).families()
