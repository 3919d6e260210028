"""Targets find exactly the layers that each architecture has for a role, and say so when they find none."""

import pytest
import torch
import transformers
from architectures import ARCHITECTURES, CLIP, GPT2, HEADS, LAYERS, TEXT, inputs
from torch import nn

from vxlab.adapters.core.plain_linear import is_linear
from vxlab.adapters.core.roles import ROLES, TARGET_SETS
from vxlab.adapters.placement.targets import backbones, head_parameters, resolve_targets
from vxlab.errors import VxlabError

# Layers per block: query-value, attention, mlp, all-linear, lora-xs-paper, lora-xs-released.
COUNTS = {
    **dict.fromkeys(LAYERS, (2, 4, 2, 6, 4, 4)),
    **dict.fromkeys(
        ("llama", "llama-lm", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3"), (2, 4, 3, 7, 4, 4)
    ),
    "dinov2-swiglu": (2, 4, 3, 7, 4, 4),
    "gpt2": (1, 2, 2, 4, 3, 3),
    "gpt2-lm": (1, 2, 2, 4, 3, 3),
    "deberta": (1, 2, 2, 6, 3, 3),  # all-linear has the two projections of relative positions as well
    "deberta-v2": (2, 4, 2, 8, 4, 4),
    "phi3": (1, 2, 2, 4, 2, 3),  # its up is fused with its gate
}


def test_every_architecture_is_expected():
    assert set(ARCHITECTURES) == set(LAYERS) == set(HEADS)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture_is_deterministic_and_runs(name):
    model, again = ARCHITECTURES[name](), ARCHITECTURES[name]()
    with torch.no_grad():
        first, second = model(**inputs(name)).logits, again(**inputs(name)).logits
    assert torch.equal(first, second)
    assert first.isfinite().all()
    assert first.shape[0] == 2
    assert first.std() > 0


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_role_is_exactly_these_layers(name):
    model, (blocks, roles) = ARCHITECTURES[name](), LAYERS[name]
    for role in ROLES:
        if role in roles:
            expected = [f"{blocks}.{index}.{roles[role]}" for index in (0, 1)]
            found = resolve_targets(model, role)
            assert list(found) == expected
            assert all(found[each] is model.get_submodule(each) for each in expected)
        else:
            with pytest.raises(VxlabError, match=f"targets='{role}': {type(model).__name__} has no such layers"):
                resolve_targets(model, role)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_set_is_the_union_of_its_roles(name):
    model, (blocks, roles) = ARCHITECTURES[name](), LAYERS[name]
    sets = ("query-value", "attention", "mlp", "all-linear", "lora-xs-paper", "lora-xs-released")
    assert set(sets) == set(TARGET_SETS)
    order = list(dict(model.named_modules()))
    for target_set, per_block in zip(sets, COUNTS[name], strict=True):
        found = list(resolve_targets(model, target_set))
        assert len(found) == 2 * per_block
        assert found == sorted(found, key=order.index)
        if target_set != "all-linear":
            wanted = [end for role, end in roles.items() if role in TARGET_SETS[target_set]]
            assert set(found) == {f"{blocks}.{index}.{end}" for index in (0, 1) for end in wanted}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_linear_is_every_linear_layer_of_the_blocks(name):
    model, blocks = ARCHITECTURES[name](), LAYERS[name][0]
    linear = (nn.Linear, transformers.pytorch_utils.Conv1D)
    expected = [n for n, m in model.named_modules() if n.startswith(blocks + ".") and isinstance(m, linear)]
    assert list(resolve_targets(model, "all-linear")) == expected


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_head_is_the_parameters_outside_the_backbone(name):
    model = ARCHITECTURES[name]()
    (backbone,), head = backbones(model), head_parameters(model)
    expected = [n for n, _ in model.named_parameters() if n.startswith(tuple(f"{layer}." for layer in HEADS[name]))]
    assert list(head) == expected
    assert bool(head) == bool(HEADS[name])
    assert all(head[each] is model.get_parameter(each) for each in expected)
    assert not {id(p) for p in head.values()} & {id(p) for p in backbone.parameters()}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_target_reaches_the_head(name):
    model = ARCHITECTURES[name]()
    for targets in ("all-linear", "attention", "mlp", r".*layers?\..*|.*\.h\..*|classifier.*|score|pooler.*"):
        layers = resolve_targets(model, targets).values()
        adapted = {id(p) for layer in layers for p in layer.parameters()}
        assert not adapted & {id(p) for p in head_parameters(model).values()}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_forward_pass_calls_every_target(name):
    """A model that reads a weight without calling its layer would leave the adapter out."""
    model, called = ARCHITECTURES[name](), set()
    targets = resolve_targets(model, "all-linear")
    for layer in targets.values():
        layer.register_forward_hook(lambda module, *_: called.add(module))
    with torch.no_grad():
        model(**inputs(name))
    assert called == set(targets.values())


@pytest.mark.parametrize(("number", "layers"), [(6, 36), (12, 72)])
def test_all_linear_is_six_layers_a_bert_block(number, layers):
    settings = transformers.BertConfig(**(TEXT | {"num_hidden_layers": number}))
    assert len(resolve_targets(transformers.BertForSequenceClassification(settings), "all-linear")) == layers


def test_models_without_a_task_head_are_all_backbone():
    config = transformers.CLIPConfig(**CLIP)
    text = transformers.CLIPTextModel(config.text_config)
    both = transformers.CLIPModel(config)
    for model in (text, both, nn.Sequential(nn.Linear(4, 4)), transformers.BertModel(transformers.BertConfig(**TEXT))):
        assert backbones(model) == [model]
        assert head_parameters(model) == {}
    assert list(resolve_targets(text, "up")) == [f"encoder.layers.{index}.mlp.fc1" for index in (0, 1)]
    assert len(resolve_targets(both, "query-value")) == 8


def test_masked_language_model_head_is_not_trained():
    model = transformers.BertForMaskedLM(transformers.BertConfig(**TEXT))
    assert backbones(model) == [model.bert]
    assert head_parameters(model) == {}
    assert len(resolve_targets(model, "all-linear")) == 12
    assert list(resolve_targets(model, "transform.dense")) == ["cls.predictions.transform.dense"]


def test_sets_and_roles_stay_in_a_language_models_backbone():
    class TwoHeaded(nn.Module):
        base_model_prefix = "body"

        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.ModuleDict({"query": nn.Linear(4, 4)}))
            self.heads = nn.ModuleList([nn.ModuleDict({"query": nn.Linear(4, 9)})])

        def get_output_embeddings(self):
            return self.heads[0]["query"]

    for targets in ("query", "query-value", "all-linear"):
        assert list(resolve_targets(TwoHeaded(), targets)) == ["body.0.query"]
    assert list(resolve_targets(TwoHeaded(), "heads.0.query")) == ["heads.0.query"]


def test_suffix_matches_whole_components():
    model = ARCHITECTURES["bert"]()
    assert len(resolve_targets(model, "attention.output.dense")) == 2
    assert len(resolve_targets(model, "output.dense")) == 4
    assert len(resolve_targets(model, "dense")) == 7  # with the pooler, which a suffix may name
    with pytest.raises(VxlabError, match="matches no layer"):
        resolve_targets(model, "ense")


def test_suffix_does_not_reach_the_head():
    assert len(resolve_targets(ARCHITECTURES["roberta"](), "dense")) == 6  # without classifier.dense


def test_regular_expression_matches_the_whole_name():
    model = ARCHITECTURES["bert"]()
    expected = ["bert.encoder.layer.1.attention.self.query", "bert.encoder.layer.1.attention.self.value"]
    assert list(resolve_targets(model, r".*\.1\..*\.(query|value)")) == expected
    with pytest.raises(VxlabError, match="matches no layer"):
        resolve_targets(model, r"layer\.1\..*\.(query|value)")


def test_regular_expression_takes_the_linear_layers_of_a_block():
    found = resolve_targets(ARCHITECTURES["bert"](), r".*layer\.0.*")
    assert len(found) == 6
    assert all(is_linear(layer) for layer in found.values())


def test_sequence_is_a_union_in_model_order():
    model = ARCHITECTURES["bert"]()
    expected = list(resolve_targets(model, r".*(query|value|intermediate\.dense)"))
    assert list(resolve_targets(model, ["up", "intermediate.dense", "query-value"])) == expected
    assert list(resolve_targets(model, ("value", "query", "up"))) == expected


def test_only_plain_linear_layers_are_linear():
    conv1d = transformers.pytorch_utils.Conv1D(6, 4)
    assert is_linear(nn.Linear(4, 6, bias=False))
    assert is_linear(nn.Linear(4, 6, dtype=torch.bfloat16))
    assert is_linear(conv1d)
    assert not is_linear(nn.Conv1d(4, 6, 1))
    assert not is_linear(nn.Bilinear(2, 2, 2))
    assert not is_linear(nn.MultiheadAttention(4, 2).out_proj)
    assert not is_linear(nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)))
    assert not is_linear(nn.Linear(4, 6).to(torch.float8_e4m3fn))


# What was asked, and what the message must say.
BAD = [
    ("qurey-value", r"'qurey-value' matches no layer of BertForSeq.*nearest: 'query-value'"),
    ("atention.output.dense", r"nearest: 'attention.output.dense'"),
    (
        "zzz",
        r"'zzz' matches no layer of BertForSeq.*sets: 'query-value'.*\nits linear layers: 'attention.output.dense'",
    ),
    ("fused-qkv", r"'fused-qkv': BertForSeq\w+ has no such layers; its roles: 'query', 'key', 'value', 'attention-out"),
    (["query", "gate"], r"'gate': BertForSeq"),
    (["query", ".*value"], r"'\.\*value' matches no layer"),
    ("word_embeddings", r"`bert.embeddings.word_embeddings` \(Embedding\): an adapter needs a plain torch.nn.Linear"),
    ("attention.output", r"output` \(BertSelfOutput\): .*; it holds 'attention.output.dense'"),
    (r".*LayerNorm", r"LayerNorm` \(LayerNorm\): an adapter needs"),
    ("classifier", r"'classifier' is in the task head of BertForSeq\w+, which is trained in full"),
    ("layer.[0", r"'layer.\[0' is no target set.* no valid regular expression: unterminated character set"),
    ([], r"targets=\[\] is empty; targets must be one string or a list"),
    ("", r"targets='' holds ''"),
    (["query", 3], r"holds 3; targets must be one string"),
    (None, r"targets=None is a NoneType; targets must be one string"),
    ({"query"}, r"is a set; targets must"),
]


@pytest.mark.parametrize(("targets", "message"), BAD)
def test_bad_targets_are_told(targets, message):
    with pytest.raises(VxlabError, match=f"(?s){message}") as caught:
        resolve_targets(ARCHITECTURES["bert"](), targets)
    assert str(caught.value).count("\n") <= 1


def test_layer_inside_a_head_is_told():
    with pytest.raises(VxlabError, match=r"'out_proj' is in the task head of RobertaForSeq"):
        resolve_targets(ARCHITECTURES["roberta"](), "out_proj")


def test_tied_output_layer_is_refused():
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2))
    with pytest.raises(VxlabError, match=r"`lm_head`, whose weight `transformer\.wte` shares"):
        resolve_targets(model, "lm_head")
    untied = transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2, tie_word_embeddings=False))
    assert list(resolve_targets(untied, "lm_head")) == ["lm_head"]


@pytest.mark.parametrize("targets", ["linear1", "self_attn.out_proj", "all-linear", "attention-output"])
def test_layers_that_torch_bypasses_are_refused(targets):
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    with pytest.raises(VxlabError, match=r"inside torch\.nn\.\w+, which reads the weight without calling the layer"):
        resolve_targets(model, targets)


def test_torch_encoder_layer_does_bypass_its_children():
    """The reason for refusing them: in evaluation its layers' forward is never called."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    called = []

    class Spy(nn.Linear):
        def forward(self, input):
            called.append(self)
            return super().forward(input)

    layer.linear1, layer.self_attn.out_proj = Spy(8, 16), Spy(8, 8)
    with torch.no_grad():
        layer(torch.zeros(1, 3, 8))
    assert called == []


class SubclassedLinear(nn.Linear):
    pass


class QuantLinear(nn.Module):
    pass


@pytest.mark.parametrize("layer", [SubclassedLinear(4, 4), QuantLinear()], ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("targets", ["query-value", "all-linear", r"0\..*"])
def test_other_kinds_of_linear_are_refused_not_left_out(layer, targets):
    model = nn.Sequential(nn.ModuleDict({"q_proj": nn.Linear(4, 4), "v_proj": layer}))
    with pytest.raises(VxlabError, match=rf"`0\.v_proj` \({type(layer).__name__}\): an adapter needs"):
        resolve_targets(model, targets)


def test_model_without_linear_layers_is_told():
    with pytest.raises(VxlabError, match="Conv2d holds no linear layer"):
        resolve_targets(nn.Conv2d(1, 1, 1), "query-value")
