"""A plan for a quantised base against a step on the real one."""

import pytest
import torch

import vxlab
from vxlab.experiments.costs import plan_memory, random_batch, step_memory

pytest.importorskip("bitsandbytes")

METHODS = {"lora": vxlab.LoRA(rank=4), "vera": vxlab.VeRA(rank=8), "xs": vxlab.LoRAXS(rank=4)}


@pytest.mark.parametrize("scheme", ["nf4", "int8", "torchao-int8"])
def test_a_plan_tells_what_a_step_on_the_quantised_model_holds(scheme: str, tiny_writer: str) -> None:
    plan = plan_memory(
        tiny_writer, 0, METHODS | {"full": vxlab.Full()}, "all-linear",
        batch_size=4, tokens=24, quantisation=scheme, device="cpu",
    ).set_index("method")  # fmt: skip
    assert plan.loc["full", "error"] == "Full() trains every weight, and quantised ones cannot train"
    for name, method in METHODS.items():
        model = vxlab.attach(vxlab.load_model(tiny_writer, 0, scheme), method, "all-linear").train()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], foreach=False)
        measured, row = step_memory(model, random_batch(model, 4, 24), optimizer), plan.loc[name]
        for part in ("weights", "adapter", "gradients", "optimizer"):
            assert row[part] == getattr(measured, part), (name, part)
        # The library's kernels take some memory for themselves, and another moment may be the highest.
        assert row["peak"] == pytest.approx(measured.peak, rel=0.15), name


def test_a_plan_says_which_schemes_there_are(tiny_writer: str) -> None:
    with pytest.raises(vxlab.VxlabError, match="quantisation='nf5' is unknown"):
        plan_memory(tiny_writer, 0, METHODS, quantisation="nf5")


def test_a_quantised_plan_is_smaller_by_the_packed_weights(tiny_writer: str) -> None:
    plain, packed = (
        plan_memory(tiny_writer, 0, {"lora": METHODS["lora"]}, "all-linear", batch_size=1, tokens=4, device="cpu",
                    quantisation=scheme).iloc[0]
        for scheme in (None, "nf4")
    )  # fmt: skip
    assert packed["weights"] < plain["weights"]
    assert packed["peak"] < plain["peak"]
    assert packed["stored"] == plain["stored"]
