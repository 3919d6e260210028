"""What a run is reckoned to take before it starts, where the model writes."""

from pathlib import Path

import pytest
import toy_writers

import vxlab
from vxlab.experiments.runs import answering, shared_materials
from vxlab.experiments.sweeps.plan import measure


@pytest.mark.parametrize("tokens", [0, 12])
@pytest.mark.parametrize("method", [vxlab.LoRA(rank=4), vxlab.Base()])
def test_a_run_that_writes_keeps_about_what_was_reckoned(method, tokens, tiny_writer, toy_prompts, tmp_path: Path):
    spec = toy_writers.spec(tiny_writer, toy_prompts, method=method, epochs=1, max_new_tokens=tokens)
    reckoned = measure(shared_materials().job(spec))
    record = vxlab.run(spec, store=tmp_path, progress=False)
    files = [path for path in record.folder.rglob("*") if path.is_file()]
    kept = sum(path.stat().st_size for path in files) + (record.folder / "predictions.safetensors").stat().st_size
    assert 0 < reckoned.stored - kept < 25_000  # most of it room for a longer record
    assert 0.5 < reckoned.seconds < 10


def test_what_is_written_takes_time(tiny_writer, toy_prompts, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answering, "seconds_to_write", lambda *_: 1.0)
    base = toy_writers.spec(tiny_writer, toy_prompts, method=vxlab.Base())
    silent = toy_writers.spec(tiny_writer, toy_prompts, method=vxlab.Base(), max_new_tokens=0)
    took, without = (measure(shared_materials().job(spec)).seconds for spec in (base, silent))
    assert took > toy_writers.ROWS["test"] > without
