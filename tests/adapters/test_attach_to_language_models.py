"""Adapters on causal language models: what they generate, what trains, and that the words' embeddings stay."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from architectures import ARCHITECTURES, LAYERS, VOCABULARY, inputs
from torch import Tensor, nn

import vxlab
from vxlab.adapters.core.family import Family, Method
from vxlab.adapters.placement.targets import head_parameters

NAMES = ["llama-lm", "gpt2-lm", "qwen2", "gemma"]
FAMILIES = [
    vxlab.LoRA(rank=4),
    vxlab.VeRA(rank=12, seed=3),
    vxlab.LoRAXS(rank=4),
    vxlab.LiDB(rank=2, aux_out=12, aux_in=10),
]
PEFTS = [
    vxlab.PEFT("lora", {"r": 4}),
    vxlab.PEFT("dora", {"r": 4}),
    vxlab.PEFT("vera", {"r": 12, "projection_prng_key": 3}),
    vxlab.PEFT("ia3"),
]
NOT_ON_CONV1D = [vxlab.PEFT("oft", {"oft_block_size": 8}), vxlab.PEFT("loha", {"r": 4}), vxlab.PEFT("lokr", {"r": 4})]
PROMPTS = [[5, 9, 33], [7, 8, 9, 10, 11, 12], [40], [21, 22, 23, 24]]
every_name = pytest.mark.parametrize("name", NAMES)


def talkative(name: str) -> Any:
    """Return a language model that says more than its last word again and again, as tied embeddings make it do."""
    model = ARCHITECTURES[name]()
    with torch.no_grad():
        for layer in vxlab.resolve_targets(model, "all-linear").values():
            layer.get_parameter("weight").mul_(12)
    return model


def adapted(name: str, method: Method, size: float = 0.3) -> Any:
    """Return a talkative model whose adapters change what it says."""
    model = vxlab.attach(talkative(name), method, targets="all-linear")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=size)
    return model.eval()


def generate_together(model: Any) -> list[list[int]]:
    """Return what a model adds to all prompts in one batch, padded on the left."""
    longest = max(map(len, PROMPTS))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in PROMPTS])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in PROMPTS])
    return _generate(model, ids, mask)


def generate_alone(model: Any) -> list[list[int]]:
    """Return what a model adds to each prompt by itself."""
    return [_generate(model, ids, torch.ones_like(ids))[0] for ids in (torch.tensor([each]) for each in PROMPTS)]


def _generate(model: Any, ids: Tensor, mask: Tensor) -> list[list[int]]:
    # With an end that no token is, every text is as long.
    settings = transformers.GenerationConfig(
        do_sample=False, max_new_tokens=12, pad_token_id=0, eos_token_id=VOCABULARY, bos_token_id=1
    )
    out: list[list[int]] = model.generate(ids, attention_mask=mask, generation_config=settings)[
        :, ids.shape[1] :
    ].tolist()
    return out


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@every_name
def test_generation_is_the_same_merged_or_not_together_or_alone(name: str, family: Family) -> None:
    model = adapted(name, family)
    base = generate_alone(talkative(name))
    alone = generate_alone(model)
    assert alone != base
    assert generate_together(model) == alone
    vxlab.merge(model)
    assert generate_together(model) == generate_alone(model) == alone
    vxlab.unmerge(model)
    assert generate_together(model) == alone
    assert generate_alone(vxlab.detach(vxlab.merge(model))) == alone


@pytest.mark.parametrize(
    ("name", "method"),
    [(name, each) for name in NAMES for each in PEFTS + NOT_ON_CONV1D * (name != "gpt2-lm")],
    ids=str,
)
def test_pefts_methods_generate_the_same_together_or_alone(name: str, method: Method) -> None:
    model = adapted(name, method)
    alone = generate_alone(model)
    assert alone != generate_alone(talkative(name))
    assert generate_together(model) == alone


@pytest.mark.parametrize("method", [*FAMILIES, *PEFTS, vxlab.Full()], ids=str)
def test_a_saved_adapter_generates_the_same_on_another_base(method: Method, tmp_path: Path) -> None:
    model = adapted("llama-lm", method)
    loaded = vxlab.load_adapter(talkative("llama-lm"), vxlab.save_adapter(model, tmp_path / "a"))
    assert generate_together(loaded.eval()) == generate_together(model)


@pytest.mark.parametrize("method", [*FAMILIES, *PEFTS, vxlab.Full()], ids=str)
@every_name
def test_a_language_model_has_no_head_to_train(name: str, method: Method) -> None:
    model = ARCHITECTURES[name]()
    total = sum(parameter.numel() for parameter in model.parameters())
    assert head_parameters(model) == {}
    counts = vxlab.trainable_parameters(vxlab.attach(model, method, targets="all-linear"))
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert (counts.backbone, counts.head, counts.total) == (trained, 0, total)
    assert head_parameters(model) == {}


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@every_name
def test_all_linear_leaves_the_output_layer_and_the_words_alone(name: str, family: Family) -> None:
    model = adapted(name, family)
    ends = {
        layer for end in LAYERS[name][1].values() for block in (0, 1) for layer in [f"{LAYERS[name][0]}.{block}.{end}"]
    }
    assert vxlab.adapted_layers(model).keys() == ends
    words, output = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert (words is output) == model.config.tie_word_embeddings
    before = words.clone(), output.clone()
    loss = model.train()(**inputs(name)).logits.square().mean()
    loss.backward()
    assert words.grad is None
    assert output.grad is None
    torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    vxlab.merge(model.eval())
    assert torch.equal(words, before[0])
    assert torch.equal(output, before[1])


@pytest.mark.parametrize("method", [*FAMILIES, PEFTS[0]], ids=str)
@pytest.mark.parametrize("name", ["llama-lm", "gpt2-lm", "gemma"])
@pytest.mark.parametrize("targets", ["lm_head", ["all-linear", "lm_head"], "lm_.*"], ids=str)
def test_a_tied_output_layer_is_refused_and_nothing_changes(name: str, method: Method, targets: Any) -> None:
    model = ARCHITECTURES[name]()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trained = [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(vxlab.VxlabError, match=r"`lm_head`, whose weight `[\w.]+` shares; merging would change both"):
        vxlab.attach(model, method, targets)
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert trained == [parameter.requires_grad for parameter in model.parameters()]


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_an_untied_output_layer_is_a_target_by_its_name_and_leaves_the_words_alone(family: Family) -> None:
    model = vxlab.attach(talkative("qwen2"), family, targets=["query-value", "lm_head"])
    assert "lm_head" in vxlab.adapted_layers(model)
    assert vxlab.trainable_parameters(model).head == 0
    torch.manual_seed(1)
    with torch.no_grad():
        for tensor in vxlab.adapted_layers(model)["lm_head"].trained_tensors().values():
            tensor.add_(torch.randn_like(tensor), alpha=0.3)
    words = model.get_input_embeddings().weight.clone()
    unmerged = generate_alone(model.eval())
    assert unmerged != generate_alone(talkative("qwen2"))
    vxlab.merge(model)
    assert generate_together(model) == unmerged
    assert torch.equal(model.get_input_embeddings().weight, words)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_a_weight_that_was_tied_after_attaching_is_not_merged(family: Family) -> None:
    model = vxlab.attach(ARCHITECTURES["qwen2"](), family, targets=["query-value", "lm_head"])
    model.config.tie_word_embeddings = True
    model.tie_weights()
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with pytest.raises(vxlab.VxlabError, match=r"`lm_head` has been tied to `model\.embed_tokens\.weight` since"):
        vxlab.merge(model)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    assert not any(layer.merged for layer in vxlab.adapted_layers(model).values())


@pytest.mark.parametrize("reentrant", [None, False, True])
@pytest.mark.parametrize("method", [*FAMILIES, PEFTS[0]], ids=str)
@every_name
def test_gradient_checkpointing_gives_the_same_gradients(name: str, method: Method, reentrant: bool | None) -> None:
    model = adapted(name, method, size=0.1).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    expected = gradients(model, name)
    if reentrant:
        model.enable_input_require_grads()
    model.activation_checkpointing_enable(None if reentrant is None else {"use_reentrant": reentrant})
    found = gradients(model, name)
    assert found.keys() == expected.keys()
    for key in expected:
        assert expected[key].norm() > 0
        torch.testing.assert_close(found[key], expected[key], rtol=1e-5, atol=1e-7)


def gradients(model: Any, name: str) -> dict[str, Tensor]:
    model.zero_grad()
    given = inputs(name)
    model(**given, labels=given["input_ids"].masked_fill(given["attention_mask"] == 0, -100)).loss.backward()
    return {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
