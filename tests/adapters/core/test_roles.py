"""A layer's role follows from the end of its name, and only where that end means one thing."""

import pytest
from architectures import LAYERS

from vxlab.adapters.core.roles import ROLES, TARGET_SETS, role_of


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_a_block_have_their_roles(name):
    blocks, layers = LAYERS[name]
    assert {role: role_of(f"{blocks}.11.{end}") for role, end in layers.items()} == {role: role for role in layers}


def test_target_sets_are_made_of_roles():
    assert {role for roles in TARGET_SETS.values() for role in roles} == set(ROLES)


def test_roles_of_older_names():
    """Transformers 5.0 to 5.22 named these layers otherwise."""
    older = {
        "vit.encoder.layer.0.attention.attention.query": "query",
        "vit.encoder.layer.0.attention.output.dense": "attention-output",
        "vit.encoder.layer.0.intermediate.dense": "up",
        "vit.encoder.layer.0.output.dense": "down",
        "dinov2.encoder.layer.0.mlp.weights_in": "fused-gate-up",
        "dinov2.encoder.layer.0.mlp.weights_out": "down",
    }
    assert {name: role_of(name) for name in older} == older


@pytest.mark.parametrize(
    "name",
    ["classifier.out_proj", "classifier.dense", "bert.pooler.dense", "score", "lm_head", "mixer.in_proj", "query.0"]
    + [f"attention.self.{end}" for end in ("pos_proj", "pos_q_proj", "pos_key_proj", "pos_query_proj")],
)
def test_other_layers_have_no_role(name):
    assert role_of(name) is None
