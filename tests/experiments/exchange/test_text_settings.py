"""A merged model writes as its base's files say, and ends as its runs do; its tokenizer has its run's template."""

import dataclasses
import json
from hashlib import sha256
from pathlib import Path

import pytest
import toy_writers
from transformers import GenerationConfig

from vxlab.errors import VxlabError
from vxlab.experiments.exchange.source import open_source
from vxlab.experiments.exchange.text_settings import served_generation, served_tokenizer
from vxlab.experiments.record import RunRecord

PLAIN = GenerationConfig(pad_token_id=0, eos_token_id=2, bos_token_id=1)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    toy_writers.write_model(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("told", "eos"),
    [
        ({"eos_token_id": 2}, 2),
        ({"eos_token_id": [5, 2]}, [5, 2]),
        ({"eos_token_id": 5}, [5, 2]),
        ({}, 2),
    ],
)
def test_answers_end_where_those_of_runs_do(told: dict[str, object], eos: object, base: Path) -> None:
    (base / "generation_config.json").write_text(json.dumps({"do_sample": True, "top_k": 7, **told}))
    found = served_generation(str(base), PLAIN)
    assert (found.eos_token_id, found.pad_token_id, found.top_k, found.do_sample) == (eos, 0, 7, True)


def test_settings_that_transformers_would_refuse_to_save_are_left_out(base: Path) -> None:
    (base / "generation_config.json").write_text(json.dumps({"do_sample": False, "temperature": 0.3}))
    assert served_generation(str(base), PLAIN) is PLAIN


def test_the_template_of_a_run_goes_with_it(writer: RunRecord, tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text(toy_writers.CHAT)
    source = open_source(writer)
    assert served_tokenizer(source).chat_template is None
    told = dataclasses.replace(
        writer,
        spec=writer.spec | {"chat_template": str(template)},
        identity=writer.identity | {"chat_template": sha256(toy_writers.CHAT.encode()).hexdigest()},
    )
    assert served_tokenizer(dataclasses.replace(source, record=told)).chat_template == toy_writers.CHAT
    template.write_text("{{ messages }}")
    with pytest.raises(VxlabError, match="is another than the run was trained with; put that file back"):
        served_tokenizer(dataclasses.replace(source, record=told))
    template.unlink()
    with pytest.raises(VxlabError, match="nor a template file that can be read"):
        served_tokenizer(dataclasses.replace(source, record=told))


def test_a_base_that_is_not_known_has_no_tokenizer(writer: RunRecord) -> None:
    with pytest.raises(VxlabError, match="its tokenizer is not known; name it with base="):
        served_tokenizer(dataclasses.replace(open_source(writer), base=""))
