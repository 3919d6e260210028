import pytest
import torch

import vxlab
from vxlab.adapters.core.chain import chain_of

FAMILIES = (
    vxlab.LoRA(rank=3, alpha=6), vxlab.LoRA(rank=3, trains="B", rank_stabilised=True), vxlab.VeRA(rank=9),
    vxlab.VeRA(rank=9, vectors="d"), vxlab.VeRA(rank=9, vectors="b"), vxlab.LoRAXS(rank=3, alpha=6, sigma="split"),
    vxlab.LiDB(rank=2, aux_out=6, aux_in=5),
)  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_a_chains_product_is_that_of_the_factors(family):
    torch.manual_seed(0)
    model = vxlab.attach(torch.nn.Sequential(torch.nn.Linear(7, 6).double()), family, ["0"])
    (layer,) = vxlab.adapted_layers(model).values()
    for tensor in layer.trained_tensors().values():
        torch.nn.init.normal_(tensor)
    tensors = {**dict(layer.shared.named_buffers()), **layer.frozen_tensors(), **layer.trained_tensors()}
    chain, y = family.chain(), torch.eye(7, dtype=torch.float64)
    for tensor in (tensors[name] for name in chain.tensors):
        y = y * tensor if tensor.dim() == 1 else y @ tensor.T
    torch.testing.assert_close(chain.scale * y.T, layer.delta_weight())


def test_a_chain_that_is_inherited_beside_factors_of_ones_own_is_none():
    class Own(vxlab.LoRA):
        def factors(self, tensors, shape):
            return 2 * tensors["B"], tensors["A"]

    class Scaled(vxlab.LoRA):
        scaling = 3.0

    assert chain_of(Own(rank=2)) is None
    assert chain_of(Scaled(rank=2)) == (("A", "B"), 3.0)
