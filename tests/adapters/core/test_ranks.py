"""Which rank a layer has: by its name, the end of it, or its role; and names that are no layer's."""

import pytest

from vxlab.adapters.core.ranks import rank_at, require_all_met
from vxlab.errors import VxlabError

QUERY, VALUE = "bert.encoder.layer.1.attention.self.query", "bert.encoder.layer.1.attention.self.value"


def test_a_whole_name_counts_before_a_longer_end_before_a_shorter_one_before_the_role() -> None:
    ranks = {"up": 1, "intermediate.dense": 2, "layer.1.intermediate.dense": 3}
    layers = {number: f"bert.encoder.layer.{number}.intermediate.dense" for number in (0, 1, 11)}
    assert {number: rank_at(ranks, layer, "LoRA") for number, layer in layers.items()} == {0: 2, 1: 3, 11: 2}
    assert rank_at(ranks | {layers[1]: 9}, layers[1], "LoRA") == 9
    assert rank_at({"up": 1}, layers[0], "LoRA") == 1
    reverse = dict(reversed((ranks | {layers[1]: 9}).items()))
    assert rank_at(reverse, layers[1], "LoRA") == 9  # the order in which they are said means nothing


def test_an_end_begins_at_a_dot() -> None:
    with pytest.raises(VxlabError, match=r"has none for `encoder\.xquery`"):
        rank_at({"query": 4}, "encoder.xquery", "LoRA")


def test_a_layer_without_a_rank_is_refused_with_the_names_it_could_have() -> None:
    message = r"VeRA rank=\{'query': 4\} has none for `bert.*value`, a target layer; add it by its role 'value'"
    with pytest.raises(VxlabError, match=message):
        rank_at({"query": 4}, VALUE, "VeRA")
    with pytest.raises(VxlabError, match="`odd`, a target layer; add it by its name or the end of it"):
        rank_at({"query": 4}, "odd", "VeRA")


def test_a_rank_that_meets_no_layer_is_refused_with_the_nearest_name() -> None:
    require_all_met({"query": 4, "value": 2}, [QUERY, VALUE], "LoRA")
    with pytest.raises(VxlabError, match=r"'querry' is of no target layer; did you mean 'query'\?"):
        require_all_met({"query": 4, "querry": 4}, [QUERY], "LoRA")
    with pytest.raises(VxlabError, match="'value' is of no target layer"):
        require_all_met({"query": 4, "value": 4}, [QUERY], "LoRA")
    with pytest.raises(VxlabError, match="'query' is of no target layer"):  # all that it would meet have a closer name
        require_all_met({"query": 4, QUERY: 4}, [QUERY], "LoRA")


def test_an_error_names_a_few_of_many_names() -> None:
    with pytest.raises(VxlabError) as caught:
        require_all_met({f"encoder.layer.{number}.query": 4 for number in range(40)}, [QUERY], "LoRA")
    assert "and 37 others are of no target layer" in str(caught.value)
    assert len(str(caught.value)) < 500
