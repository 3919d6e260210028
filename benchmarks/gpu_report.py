"""gpu_check.py's table: what to read first, in lines that fit a terminal."""

from collections import Counter
from collections.abc import Iterator
from typing import Any


def table(found: dict[str, Any]) -> str:
    """Return every part in words: what it is, what it measured, and what went wrong."""
    lines = [f"gpu_check on {found['device']}{', tiny' if found['tiny'] else ''}: {found.get('seconds', 0):.0f} s"]
    for name, part in found["parts"].items():
        lines += ["", f"{name} ({part['seconds']} s) {part.get('error', '')}".rstrip()]
        lines += _ROWS.get(name, _plain)(part["cases"])
    return "\n".join(lines)


def _plain(cases: list[dict[str, Any]]) -> Iterator[str]:
    for case in cases:
        if (wrong := _wrong(case)) is not None:
            yield wrong
        else:
            row = {name: value for name, value in case["row"].items() if name != "ok"}
            yield f"  {'ok ' if case['row'].get('ok', True) else 'BAD'} {case['case']:44} {_flat(row)}"


def _steps(cases: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a line a model, with its time as a share of the frozen pass and of its peer."""
    rows = {case["case"]: case["row"] for case in cases if "row" in case}
    yield f"  {'':34} {'ms':>8} {'/frozen':>8} {'/peer':>7} {'peak GiB':>9} {'kernels':>8} {'GPU busy':>8}"
    for case in cases:
        shape, _, name = case["case"].partition(" | ")
        if name == "frozen":
            yield f"  {shape}"
        if (wrong := _wrong(case)) is not None:
            yield wrong
            continue
        row, frozen = case["row"], rows.get(f"{shape} | frozen")
        peer = next((rows[key] for key in rows if key.startswith(f"{shape} | {name}, ")), None)
        yield (
            f"    {name:32} {1000 * row['step_seconds']:8.2f} {_share(row, frozen):>8} {_share(row, peer):>7} "
            f"{row['peak_bytes'] / 2**30:9.2f} {row['kernels']:8} {row['kernel_seconds'] / row['step_seconds']:8.0%}"
        )


def _recipes(cases: list[dict[str, Any]]) -> Iterator[str]:
    for case in cases:
        if (wrong := _wrong(case)) is not None:
            yield wrong
        elif (row := case["row"]) and "step_seconds" in row:
            peak = row["peak_bytes_beyond_resident"] / 2**30
            batch = " x ".join(map(str, row["batch"]))
            sign = "ok " if row["ok"] else "BAD"
            yield f"  {sign} {case['case'][:56]:56} {batch:>9} {1000 * row['step_seconds']:8.1f} ms {peak:6.2f} GiB"
        else:
            yield f"  {'ok ' if row['ok'] else 'BAD'} {case['case'][:56]:56} {_flat(row)}"


def _tests(cases: list[dict[str, Any]]) -> Iterator[str]:
    for case in cases:
        if (wrong := _wrong(case)) is not None:
            yield wrong
            continue
        row = case["row"]
        yield f"  {row['passed']} passed, {row['failed']} failed, {row['skipped']} skipped, {row['warnings']} warnings"
        for name, outcome in row["outcomes"].items():
            if not outcome.startswith(("passed", "skipped")):
                yield f"  BAD {name.partition('::')[2]}: {' '.join(outcome.split())[:400]}"
        skipped = Counter(outcome for outcome in row["outcomes"].values() if outcome.startswith("skipped"))
        yield from (f"  -   {number} {reason}" for reason, number in skipped.items())
        if "said" in row:
            yield f"  {row['said'][-600:]}"


def _wrong(case: dict[str, Any]) -> str | None:
    if "row" in case:
        return None
    sign, told = ("-  ", case["skipped"]) if "skipped" in case else ("BAD", case["error"][:400])
    return f"  {sign} {case['case'][:60]}: {told}"


def _share(row: dict[str, Any], other: dict[str, Any] | None) -> str:
    return "-" if other is None else f"{row['step_seconds'] / other['step_seconds']:.3f}"


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_flat(each)}" for name, each in value.items() if each not in ({}, ""))
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(map(_flat, value)) if isinstance(value, list) else str(value)


_ROWS = {"steps": _steps, "recipes": _recipes, "tests": _tests}
