"""Answers made up for the rules that extract them, with what is right worked out by hand."""

import json
from typing import Any

from places import ROOT

_FILE = ROOT / "tests" / "experiments" / "scoring" / "made_up_answers.jsonl"
MADE_UP: list[dict[str, Any]] = [json.loads(line) for line in _FILE.read_text(encoding="utf-8").splitlines()]
"""``metric``, ``text``, ``reference``, ``hit`` (1 where it is right), and a ``note`` where a published rule is odd"""
