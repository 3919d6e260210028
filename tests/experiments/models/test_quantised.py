import json
import shutil
from pathlib import Path

import pytest
import torch

import vxlab
from vxlab.adapters.core import LayerWeights, quantisation_of
from vxlab.experiments.models.files import model_fingerprint
from vxlab.experiments.models.quantised import QUANTISATIONS

pytest.importorskip("bitsandbytes")


@pytest.mark.parametrize("scheme", QUANTISATIONS)
def test_the_backbone_is_quantised_and_the_head_is_not(scheme: str, tiny_model: str) -> None:
    model = vxlab.load_model(tiny_model, 3, scheme)
    kinds = {name: quantisation_of(module) for name, module in model.named_modules()}
    assert {name for name, kind in kinds.items() if kind} == {
        *vxlab.resolve_targets(model, "all-linear"),
        "bert.pooler.dense",
    }
    assert {kind.scheme for kind in kinds.values() if kind} == {scheme}
    assert {
        tuple(p.shape) for n, p in model.named_parameters() if "classifier" in n and n.endswith("out_proj.weight")
    } <= {(3, model.config.hidden_size)}
    ids = torch.tensor([[5, 6, 7]])
    assert model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.shape == (1, 3)


def test_what_cannot_be_quantised_is_refused(tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(vxlab.VxlabError, match="quantisation='nf5' is unknown"):
        vxlab.load_model(tiny_model, 2, "nf5")
    from vxlab.experiments.models import quantised

    monkeypatch.setattr(quantised, "_LIBRARIES", {"nf4": "no-such-library"})
    with pytest.raises(vxlab.VxlabError, match="no-such-library, which is not installed"):
        vxlab.load_model(tiny_model, 2, "nf4")


def test_a_quantised_base_is_another_base(tiny_model: str) -> None:
    assert (
        model_fingerprint(tiny_model, "nf4") != model_fingerprint(tiny_model, "int8") != model_fingerprint(tiny_model)
    )
    spec = vxlab.RunSpec(method=vxlab.LoRA(), learning_rate=1e-3, model=tiny_model)
    assert "quantisation" not in spec.settings()
    assert (
        spec.key() != vxlab.RunSpec(method=vxlab.LoRA(), learning_rate=1e-3, model=tiny_model, quantisation="nf4").key()
    )


def test_a_model_that_was_saved_in_a_way_not_read_here_is_refused(tiny_model: str, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "gptq")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq"}}))
    with pytest.raises(vxlab.VxlabError, match="was saved quantised by gptq, which is not read here"):
        vxlab.load_model(str(folder), 2)


@pytest.mark.parametrize("scheme", ["nf4", "int8"])
def test_a_model_that_was_saved_quantised_is_loaded_as_it_was(scheme: str, tiny_model: str, tmp_path: Path) -> None:
    model = vxlab.load_model(tiny_model, 3, scheme)
    model.save_pretrained(tmp_path)
    for path in Path(tiny_model).glob("*token*"):
        shutil.copy(path, tmp_path)
    again = vxlab.load_model(str(tmp_path), 3)
    weights, names = (LayerWeights(vxlab.resolve_targets(each, "all-linear")) for each in (model, again)), []
    first, second = weights
    for name in first:
        assert torch.equal(first[name], second[name])
        names.append(name)
    assert names
    with pytest.raises(vxlab.VxlabError, match="was saved quantised already; leave quantisation='int8' out"):
        vxlab.load_model(str(tmp_path), 3, "int8")
