"""Layers whose weight is read without a call are no targets, or raise where it happens; others are left in peace."""

import copy
import pickle
import warnings

import pytest
import torch
import transformers
from architectures import ARCHITECTURES, GROUPED, TEXT, inputs
from torch import nn

import vxlab
from vxlab.adapters.placement.bypass import readers

SSM = {**TEXT, "state_size": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
TOKENS = torch.tensor([[3, 4, 5, 6]])


def mamba() -> nn.Module:
    return transformers.MambaForCausalLM(transformers.MambaConfig(**SSM)).eval()


def falcon_mamba() -> nn.Module:
    return transformers.FalconMambaForCausalLM(transformers.FalconMambaConfig(**SSM)).eval()


def mamba2() -> nn.Module:
    sizes = {"num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 4}
    return transformers.Mamba2ForCausalLM(transformers.Mamba2Config(**SSM, **sizes)).eval()


def jamba() -> nn.Module:
    layers = {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1}
    own = {"num_experts": 2, "mamba_d_state": 4, "use_mamba_kernels": False}
    return transformers.JambaForCausalLM(transformers.JambaConfig(**GROUPED, **layers, **own)).eval()


def test_mambas_dt_proj_is_refused() -> None:
    with pytest.raises(vxlab.VxlabError, match=r"dt_proj` inside MambaMixer, which reads the weight without calling"):
        vxlab.attach(mamba(), vxlab.LoRA(rank=2), targets="all-linear")


def test_wavlms_attention_is_refused() -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
    ears = {"conv_dim": (16,), "conv_kernel": (10,), "conv_stride": (5,), "num_feat_extract_layers": 1}
    model = transformers.WavLMModel(transformers.WavLMConfig(**sizes, **ears, num_conv_pos_embedding_groups=2))
    with pytest.raises(
        vxlab.VxlabError, match=r"`encoder.layers.0.attention.\w_proj` inside WavLMAttention, which reads"
    ):
        vxlab.attach(model, vxlab.LoRA(rank=2))


@pytest.mark.parametrize("method", [vxlab.LoRA(rank=2), vxlab.PEFT("lora", {"r": 2})], ids=str)
@pytest.mark.parametrize("build", [falcon_mamba, jamba])
def test_a_layer_that_is_called_elsewhere_raises_where_it_was_not(build, method) -> None:
    model = build()
    with torch.no_grad():
        before = model(TOKENS).logits
    vxlab.attach(model, method, targets="dt_proj")
    for each in (model, pickle.loads(pickle.dumps(copy.deepcopy(model)))):
        with pytest.raises(
            vxlab.VxlabError, match=r"\w+Mixer read the weight of `.*dt_proj` without calling the layer"
        ):
            each(TOKENS)
    vxlab.detach(model)
    with torch.no_grad():
        assert torch.equal(model(TOKENS).logits, before)


@pytest.mark.parametrize(
    ("build", "targets"),
    [
        (mamba, ["in_proj", "x_proj", "out_proj"]),
        (falcon_mamba, ["in_proj", "x_proj", "out_proj"]),
        (mamba2, ["in_proj", "out_proj"]),
        (jamba, ["in_proj", "x_proj", "out_proj", "q_proj", "v_proj"]),
    ],
)
def test_layers_that_are_called_here_train(build, targets) -> None:
    model = vxlab.attach(build(), vxlab.LoRA(rank=2), targets=targets)
    model(TOKENS, labels=TOKENS).loss.backward()
    layers = vxlab.adapted_layers(model)
    assert layers
    assert all(bool(layer.B.grad.any()) for layer in layers.values())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_layer_of_the_known_architectures_is_suspected_but_debertas(name: str) -> None:
    model = ARCHITECTURES[name]()
    layers = vxlab.resolve_targets(model, "all-linear")
    suspected = {layer.rpartition(".")[2] for layer in layers if list(readers(model, layer))}
    assert suspected == ({"in_proj"} if name == "deberta" else set())


def test_debertas_fused_projection_trains_under_guard_and_compiles() -> None:
    torch._dynamo.reset()
    model = vxlab.attach(ARCHITECTURES["deberta"](), vxlab.LoRA(rank=2), targets="fused-qkv")
    model(**inputs("deberta")).logits.sum().backward()
    assert any(hook for layer in vxlab.adapted_layers(model).values() for hook in layer._forward_pre_hooks.values())
    expected = model(**inputs("deberta")).logits
    with warnings.catch_warnings():  # torch's own, while it traces
        warnings.simplefilter("ignore", DeprecationWarning)
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(**inputs("deberta")).logits, expected)
    vxlab.detach(model)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


class Product(nn.Module):
    """Reads its layers' weights in several ways."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.ModuleDict({"deep": nn.Linear(4, 4)})])
        self.asked, self.aliased, self.product = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(self.asked.weight, nn.Parameter):
            x = self.asked(x.to(self.asked.weight.dtype))
        for block in self.blocks:
            x = torch.nn.functional.linear(x, self.blocks[0].deep.weight) + block["deep"].bias
        weight = self.aliased.weight
        return x @ weight.T @ self.product.weight


def test_every_way_of_reading_is_found_and_asking_for_a_dtype_is_none() -> None:
    model = nn.Sequential(Product())
    assert list(vxlab.resolve_targets(model, "asked")) == ["0.asked"]
    for layer in ("aliased", "product"):
        with pytest.raises(vxlab.VxlabError, match=rf"{layer}` inside Product, which reads the weight without calling"):
            vxlab.resolve_targets(model, layer)
    vxlab.attach(model, vxlab.LoRA(rank=1), targets="deep")  # whose block might call it
    with pytest.raises(vxlab.VxlabError, match=r"Product read the weight of `0\.blocks\.0\.deep` without calling"):
        model(torch.ones(1, 4))


class Looks(nn.Module):
    """Has a penalty on weights of layers that it calls through what holds them, as users' own modules do."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.inner = nn.Sequential(nn.Linear(4, 4)), nn.ModuleDict({"block": nn.Sequential(nn.Linear(4, 4))})
        self.many, self.alone = nn.ModuleList([nn.Linear(4, 4)]), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in (*self.many, self.alone):
            x = layer(x)
        return self.body(x) + self.inner["block"](x)

    def penalty(self) -> torch.Tensor:
        weights = (self.body[0].weight, self.inner["block"][0].weight, self.many[0].weight, self.alone.weight)
        return sum(weight.norm() for weight in weights)


def test_a_module_that_looks_at_weights_and_may_call_the_layers_is_watched_and_not_refused() -> None:
    model = vxlab.attach(Looks(), vxlab.LoRA(rank=1), targets=["body.0", "block.0", "many.0", "alone"])
    (model(torch.ones(1, 4)).sum() + model.penalty()).backward()
    assert all(bool(layer.B.grad.any()) for layer in vxlab.adapted_layers(model).values())


def test_a_weight_that_the_forward_pass_rescales_is_refused() -> None:
    sizes = {"vocab_size": 64, "hidden_size": 8, "num_hidden_layers": 2, "attention_hidden_size": 8}
    model = transformers.RwkvForCausalLM(transformers.RwkvConfig(**sizes, intermediate_size=16))
    with pytest.raises(vxlab.VxlabError, match=r"`rwkv\.blocks\.0\.attention\.output` inside RwkvModel, which reads"):
        vxlab.attach(model, vxlab.LoRA(rank=1), targets="attention.output")


def test_layers_in_torchs_own_attention_stay_refused() -> None:
    with pytest.raises(vxlab.VxlabError, match=r"`out_proj` inside torch\.nn\.MultiheadAttention, which reads"):
        vxlab.resolve_targets(nn.MultiheadAttention(4, 2), "out_proj")
