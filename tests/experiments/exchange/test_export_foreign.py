"""What was trained elsewhere, exported in another form: LoRA-XS's released folders, peft's methods, and imports."""

from pathlib import Path
from typing import Any

import exported
import pytest
import torch
import transformers
from foreign_folders import as_peft_warns
from released_lora_xs import released_model, write_released

import vxlab


def bare(name: str) -> Any:
    with torch.random.fork_rng(devices=[]):
        return transformers.AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)


@pytest.mark.parametrize("form", ["newer", "older"])
@pytest.mark.filterwarnings("ignore:the bases in .* are not the exact singular vectors")
def test_a_released_lora_xs_folder_becomes_a_lora_that_peft_loads(form: str, tiny_writer: str, tmp_path: Path) -> None:
    import peft

    with as_peft_warns():
        theirs = released_model(bare(tiny_writer), ["q_proj", "v_proj"])
        folder = write_released(theirs, tmp_path / "run" / "ft", form)
    expected = exported.answers(theirs)
    assert vxlab.inspect_folder(folder).layers["norm"].notna().all()
    for format in ("lora", "merged", "vxlab"):
        vxlab.export_adapter(folder, tmp_path / format, format=format, base=tiny_writer)
    with as_peft_warns():
        as_lora = peft.PeftModel.from_pretrained(bare(tiny_writer), tmp_path / "lora")
    torch.testing.assert_close(exported.answers(as_lora), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(exported.answers(bare(str(tmp_path / "merged"))), expected, rtol=0, atol=1e-5)
    ours = vxlab.load_adapter(vxlab.load_model(tiny_writer, 0), tmp_path / "vxlab")
    torch.testing.assert_close(exported.answers(ours), expected, rtol=0, atol=1e-5)


METHODS = [
    vxlab.PEFT("lora", r=4, rank_pattern={"v_proj": 2}, alpha_pattern={"v_proj": 3}), vxlab.PEFT("dora", r=4),
    vxlab.PEFT("loha", r=2),
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_method_of_pefts_is_written_by_peft_itself(method: Any, tiny_writer: str, tmp_path: Path) -> None:
    import peft

    model = exported.attach_stirred(tiny_writer, 0, method)
    folder = vxlab.export_adapter(model, tmp_path / "peft", format="peft")
    with as_peft_warns():
        theirs = peft.PeftModel.from_pretrained(bare(tiny_writer), folder)
    torch.testing.assert_close(exported.answers(theirs), exported.answers(model), rtol=0, atol=1e-5)
    again = vxlab.export_adapter(folder, tmp_path / "merged", format="merged", base=tiny_writer)
    torch.testing.assert_close(exported.answers(bare(str(again))), exported.answers(model), rtol=0, atol=1e-5)


def test_an_imported_adapter_is_exported_without_scores(tiny_writer: str, tmp_path: Path) -> None:
    model = exported.attach_stirred(tiny_writer, 0, vxlab.VeRA(rank=8))
    folder = vxlab.export_adapter(model, tmp_path / "theirs", format="peft")
    record = vxlab.import_adapter(folder, tiny_writer, store=tmp_path / "store")
    merged = vxlab.export_adapter(record, tmp_path / "merged", format="merged")
    torch.testing.assert_close(exported.answers(bare(str(merged))), exported.answers(model), rtol=0, atol=1e-5)
    card = (merged / "README.md").read_text()
    assert "Not recorded here: it was exported without its run." in card
    assert record.key not in card


def test_an_adapter_without_a_head_is_exported_of_a_model_alone(tiny_model: str, tmp_path: Path) -> None:
    import peft

    config = peft.LoraConfig(r=2, target_modules=["query"])
    base = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_model)
    with as_peft_warns():
        peft.get_peft_model(base, config).save_pretrained(tmp_path / "theirs")
    with pytest.raises(vxlab.VxlabError, match=r"holds no head, and .+ is no model that writes, so with which head"):
        vxlab.export_adapter(tmp_path / "theirs", tmp_path / "lora", format="lora", base=tiny_model)
    (tmp_path / "nowhere").mkdir()
    with pytest.raises(vxlab.VxlabError, match=r"model='.*nowhere' is a folder without config"):
        vxlab.export_adapter(tmp_path / "theirs", tmp_path / "lora", format="lora", base=str(tmp_path / "nowhere"))
