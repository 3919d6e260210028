"""Seeded bad inputs of every kind that users bring: each case is one call, made from a good input and a fault."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 8, 2**31, 2**40 + 1, 2**63, -(2**70), 0.0, 0.5, 1.5, -1e-3, 1e308, float("nan"),
    float("inf"), "", " ", "8", "1e-3", "false", "no", "None", "nan", "../..", "/", ".", "\0", "ß\u202e", "a" * 300,
    "<img src=x onerror=alert(1)>", "'; drop table runs; --", b"text", [], [1], ["a"], [None], ["a", 1], (), ("a", "b"),
    {}, {"rank": 8}, {1, 2}, np.int64(4), np.float32(0.5), np.float64("nan"), np.True_, np.array([1, 2]),
    np.array(["a"]), np.array(3), Path("a"), Path("/"), object, len, lambda: 1, range(3), 1 + 2j, ..., NotImplemented,
)  # fmt: skip
"""What a field of any kind might be given."""

_LABELS = ("1", "0", "1.0", "0.5", "", "nan", "-1", "maybe", "bad", "good", "[1, 0]", "1e400", "0x1", "٣")
_JSON_LABELS = ([1, 0, 0], {"a": 1}, None, 1.5, -1, "", "good", True, 1e400, [], 2**70, "0")


def rows(number: int = 24) -> list[tuple[str, str]]:
    """Return texts, all different, with their labels; none holds a quote, a comma or a line's end."""
    return [(f"the film number {row} was {'bad' if row % 2 else 'good'}", str(row % 2)) for row in range(number)]


def csv_files(count: int) -> Iterator[tuple[str, bytes]]:
    """Yield a name and the content of a table of texts and labels with a few faults."""
    for case in range(count):
        draw = random.Random(f"csv {case}")
        separator, suffix = draw.choice(((",", "csv"), ("\t", "tsv")))
        lines = [separator.join(("text", "label"))] + [separator.join(row) for row in rows()]
        content = _faulty_lines(lines, separator, draw)
        yield f"own.{suffix}", _faulty_bytes(content, draw)


def _faulty_lines(lines: list[str], separator: str, draw: random.Random) -> bytes:
    for _ in range(draw.randint(1, 2)):
        at = draw.randrange(len(lines))
        lines[at] = draw.choice(_LINE_FAULTS)(lines[at], separator, draw)
    end = draw.choice(("\n", "\n", "\r\n", "\r"))
    return (end.join(lines) + draw.choice(("", end, end * 3))).encode()


_LINE_FAULTS: tuple[Callable[[str, str, random.Random], str], ...] = (
    lambda line, sep, draw: '"' + line,
    lambda line, sep, draw: line.replace(
        "film", draw.choice(('"film', '"film"', 'fi"lm', "fi\0lm", "film\v", "fi\\m"))
    ),
    lambda line, sep, draw: line + sep + "more",
    lambda line, sep, draw: line.partition(sep)[0],
    lambda line, sep, draw: "",
    lambda line, sep, draw: line.partition(sep)[0] + sep + draw.choice(_LABELS),
    lambda line, sep, draw: sep + line.rpartition(sep)[2],
    lambda line, sep, draw: line + "\n" + line,
    lambda line, sep, draw: line.replace("label", draw.choice(("text", "Label", " label", "", "score"))),
    lambda line, sep, draw: line.replace(sep, draw.choice((";", " ", sep * 2, "|"))),
    lambda line, sep, draw: f'"{line.partition(sep)[0]}\nand on"{sep}0',
)


def _faulty_bytes(content: bytes, draw: random.Random) -> bytes:
    fault = draw.randrange(12)
    if fault == 0:
        return content[: draw.randrange(len(content))]
    if fault == 1:
        return b"\xef\xbb\xbf" + content
    if fault == 2:
        return content.decode().encode(draw.choice(("utf-16", "utf-32", "utf-16-le")))
    if fault == 3:
        return content.replace(b"number", "nümber".encode("latin-1"))
    if fault == 4:
        at = draw.randrange(len(content))
        return content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
    return content


def json_files(count: int) -> Iterator[tuple[str, bytes]]:
    """Yield a name and the content of JSON lines or of a JSON array with a few faults."""
    for case in range(count):
        draw = random.Random(f"json {case}")
        records: list[Any] = [{"text": text, "label": int(label)} for text, label in rows()]
        for _ in range(draw.randint(1, 2)):
            at = draw.randrange(len(records))
            records[at] = draw.choice(_RECORD_FAULTS)(dict(rows_record(at)), draw)
        if draw.random() < 0.5:
            yield "own.json", _faulty_bytes(json.dumps(records).encode(), draw)
            continue
        lines = [json.dumps(record) for record in records]
        if draw.random() < 0.3:
            at = draw.randrange(len(lines))
            lines[at] = draw.choice((lines[at][:-3], lines[at] + ",", "", "null", lines[at] * 2, "NaN", "// no"))
        yield "own.jsonl", _faulty_bytes("\n".join(lines).encode(), draw)


def rows_record(at: int) -> dict[str, Any]:
    """Return a row as JSON has it."""
    text, label = rows()[at]
    return {"text": text, "label": int(label)}


_RECORD_FAULTS: tuple[Callable[[dict[str, Any], random.Random], Any], ...] = (
    lambda record, draw: record | {"label": draw.choice(_JSON_LABELS)},
    lambda record, draw: record | {"text": draw.choice((None, 3, ["a"], {"a": "b"}, "", True, "\ud800"))},
    lambda record, draw: {"text": record["text"]},
    lambda record, draw: {"label": record["label"]},
    lambda record, draw: record | {"more": [1, {"deep": record}]},
    lambda record, draw: draw.choice((None, 3, "text", [], [record])),
    lambda record, draw: record | {"": 1, "text ": "x"},
)

GOOD_SWEEP = {
    "model": "minilm", "task": "rte", "epochs": 1, "learning_rates": 3, "report_seeds": 2,
    "candidates": [{"method": "lora", "rank": [2, 8]}, {"method": "vera", "rank": 64, "learning_rate": 0.02}],
}  # fmt: skip


def yaml_files(count: int) -> Iterator[str]:
    """Yield the text of a sweep's file with a fault in its values, its keys or its text."""
    import yaml

    for case in range(count):
        draw = random.Random(f"yaml {case}")
        content: dict[Any, Any] = json.loads(json.dumps(GOOD_SWEEP))
        where = draw.choice((content, content["candidates"][0], content["candidates"][1]))
        key = draw.choice(
            [*where, "rank", "targets", "seeds", "precision", "seed", "rnk", "alpha", "protocol", 3, None]
        )
        where[key] = draw.choice([value for value in VALUES if type(value) in _YAML])
        text = yaml.safe_dump(content, allow_unicode=True)
        yield draw.choice(_TEXT_FAULTS)(text, draw) if draw.random() < 0.4 else text


_YAML = (type(None), bool, int, float, str, bytes, list, dict, set)
_TEXT_FAULTS: tuple[Callable[[str, random.Random], str], ...] = (
    lambda text, draw: text[: draw.randrange(len(text))],
    lambda text, draw: text.replace("candidates:", "candidates: &all"),
    lambda text, draw: text.replace("epochs: 1", "epochs: &e [*e]"),
    lambda text, draw: "candidates: &c\n- *c\n",
    lambda text, draw: text.replace("  ", "\t"),
    lambda text, draw: text + text,
    lambda text, draw: text + "<<: *nobody\n",
    lambda text, draw: text.replace("minilm", draw.choice(("!!python/object:os.system x", "2026-01-01", "on", "08"))),
    lambda text, draw: "[" * 2000 + text,
    lambda text, draw: text.replace("rank", draw.choice(("? rank\n: 3\n?", "[1, 2]", "{a: b}", "'"))),
    lambda text, draw: "a: &a " + "[x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(9)) + text,
    lambda text, draw: "--- 1\n--- 2\n",
    lambda text, draw: "\0" + text,
)


def settings_of_adapters(saved: dict[str, Any], count: int) -> Iterator[tuple[str, str]]:
    """Yield what was done to an adapter's settings, and the file's text."""
    for case in range(count):
        draw = random.Random(f"adapter {case}")
        changed = json.loads(json.dumps(saved))
        told, text = draw.choice(_SETTINGS_FAULTS)(changed, draw)
        yield told, text


def _changed_value(saved: dict[str, Any], draw: random.Random) -> tuple[str, str]:
    inner = draw.choice((saved, saved, saved["settings"], saved["base"]))
    key = draw.choice(sorted(inner))
    inner[key] = draw.choice(
        [value for value in VALUES if type(value) in (type(None), bool, int, float, str, list, dict)]
    )
    return f"{key}={inner[key]!r:.40}", json.dumps(saved)


def _lost_key(saved: dict[str, Any], draw: random.Random) -> tuple[str, str]:
    inner = draw.choice((saved, saved["settings"], saved["base"]))
    key = draw.choice(sorted(inner))
    del inner[key]
    return f"no {key}", json.dumps(saved)


def _other_layers(saved: dict[str, Any], draw: random.Random) -> tuple[str, str]:
    layers = saved["layers"]
    saved["layers"] = draw.choice(
        (layers[::-1], layers[1:], layers[:1] * len(layers), [*layers, "pooler.dense"], [[layers]], [3], [*layers, ""])
    )
    return "other layers", json.dumps(saved)


def _cut(saved: dict[str, Any], draw: random.Random) -> tuple[str, str]:
    text = json.dumps(saved)
    at = draw.randrange(len(text))
    return f"cut at {at}", text[:at] + draw.choice(("", "\0", "}", "]", "é"))


def _other_whole(saved: dict[str, Any], draw: random.Random) -> tuple[str, str]:
    return "something else", draw.choice(("", "[]", "null", "3", '"text"', "{}", "[" * 3000, '{"format": 1}'))


def _same_but_for_order(saved: dict[str, Any], draw: random.Random) -> tuple[str, str]:
    keys = sorted(saved, key=lambda _: draw.random())
    return "keys in another order", json.dumps({key: saved[key] for key in keys}, indent=draw.choice((None, 2)))


_SETTINGS_FAULTS = (_changed_value, _changed_value, _lost_key, _other_layers, _cut, _other_whole, _same_but_for_order)

_WORDS = (
    "report", "sweep", "assets", "runs", "lab", "--plan", "--list", "--parameters", "-p", "-o", "rank", "-3", "-1e-3",
    "-1,2", "01_fine_tune", "02_rank_sweep", "none.ipynb", "all", "task", "rte", "--store", "--engine", "rya", "ray",
    "--workers", "0", "two", "--export", "x.txt", "x.csv", ".", "..", "/", "", "\0", "ß", "a" * 300, "--", "-",
    "--verify", "minilm2", "method", "lora", "scale", "huge", "ranks", "[1]", "1,a", "show", "rm", "zz", "sweep.yaml",
    "sqlite:///", "mysql://x", "postgresql://", "--help-me", "--version=3",
)  # fmt: skip


def command_lines(count: int) -> Iterator[list[str]]:
    """Yield command lines that cannot come to anything: the sweep file is bad, and reports are given what none has."""
    for case in range(count):
        draw = random.Random(f"command {case}")
        first = draw.choice(("report", "sweep", "assets", "runs", *_WORDS))
        words = [first, *draw.choices(_WORDS, k=draw.randint(0, 5))]
        yield words


_GOOD_TEXTS: dict[str, dict[str, Any]] = {
    "rank": {"8": 8, "-3": -3, "+4": 4, "٣": 3, "1000000000001": 1000000000001},
    "method": {"-": "-", "007": "007", "lo ra": "lo ra", "ß": "ß", "": ""},
    "learning_rate": {"-1e-3": -1e-3, "1e-4": 1e-4, "5": 5.0, "-.5": -0.5},
    "seed": {"none": None, "None": None, "-7": -7},
    "kinds": {"-q,v": ["-q", "v"], "query": ["query"], "": []},
    "sizes": {"-1,2": [-1, 2], "8": [8], "-1": [-1]},
    "merged": {"true": True, "FALSE": False},
}
"""What a toy notebook's parameters take on the command line, and what it means. An option's name is none of these."""
_BAD_TEXTS = {
    "rank": ("8.0", "", "none", "nan", "0x8", "8,16", "eight", "True"),
    "method": ("--rank", "-p"),
    "learning_rate": ("nan", "inf", "", "none", "1e-3x", "[1]", "-", "--", "1,5"),
    "seed": ("nil", "1.5", "", "-", "--seed"),
    "kinds": ("[a]", "['q']"),
    "sizes": ("[8]", "8,x", "1.5", "-1,-", "8;16"),
    "merged": ("1", "yes", "", "-", "-t"),
}


def parameters(count: int) -> Iterator[tuple[str, str, Any]]:
    """Yield a parameter's name, a text on the command line, and what it means; ``...`` where it means nothing."""
    for case in range(count):
        draw = random.Random(f"parameter {case}")
        name = draw.choice(sorted(_GOOD_TEXTS))
        if bad := draw.random() < 0.5 and _BAD_TEXTS[name]:
            yield name, draw.choice(bad), ...
        else:
            text, meant = draw.choice(sorted(_GOOD_TEXTS[name].items()))
            yield name, text, meant
