"""``vxlab judge``: runs and their base rated by a stub, and keys that are not for the command line."""

from pathlib import Path

import pytest
import toy_bench
import toy_writers
from stub_judge import Answer, stub_judge

import vxlab
from vxlab.cli import commands as cli

KEY = "sk-test-" + 6 * "a1B2c3"


def test_a_run_is_rated_beside_its_base(
    tiny_writer: str, toy_prompts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = toy_writers.spec(tiny_writer, toy_prompts, max_new_tokens=0, epochs=1)
    record = vxlab.run(spec, store=tmp_path, progress=False)
    template = tmp_path / "chat.jinja"
    template.write_text(toy_writers.CHAT)
    folder = toy_bench.write_bench(tmp_path / "bench")
    common = ["--model", "stub", "--folder", folder, "--chat-template", str(template), "--max-new-tokens", "4",
              "--questions", "1", "3", "--store", str(tmp_path), "--device", "cpu"]  # fmt: skip
    with stub_judge(lambda number, asked: Answer("[[6]]")) as stub:
        assert cli.main(["judge", record.key[:10], "--url", stub.url, "--repeats", "2", *common]) == 0
        printed = capsys.readouterr().out
        asked = len(stub.asked)
        assert cli.main(["judge", tiny_writer, "--url", stub.url, *common]) == 0
        assert len(stub.asked) == asked
    assert "untuned base     1    6.00" in printed
    assert "LoRA r=4 cannot be told apart from the untuned base" in printed


@pytest.mark.parametrize(
    "given",
    [["--api-key", KEY], ["--model", KEY], ["--key-variable", KEY], ["--url", f"https://{KEY}@host/v1"], [KEY]],
    ids=["option", "model", "variable", "url", "run"],
)
def test_a_key_on_the_command_line_is_refused_and_not_shown(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    usual = ["judge", "smollm2", "--url", "http://127.0.0.1:9/v1", "--model", "stub"]
    assert cli.main([*usual, *given]) == 2
    told = capsys.readouterr()
    assert "holds a password or a token" in told.err
    assert KEY[:12] not in told.out + told.err
