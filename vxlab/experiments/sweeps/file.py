"""A sweep as a YAML file: the fair protocol, or a plain grid of runs."""

from itertools import product
from pathlib import Path
from typing import Any

from vxlab.adapters import METHODS, method_from_name
from vxlab.adapters.methods import import_methods
from vxlab.checks import quote, require_known, settle
from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec
from vxlab.experiments.sweeps.grid import grid
from vxlab.experiments.sweeps.plain_yaml import read_yaml
from vxlab.experiments.sweeps.protocol import BUDGET, SHARED, Candidate, FairSweep

_OF_FAIR = ("candidates", *BUDGET, "draw")
_OF_GRID = ("candidates", "learning_rates", "head_learning_rates", "seeds", "draws")


def read_sweep(path: str | Path) -> FairSweep | list[RunSpec]:
    """Read a sweep from a YAML file.

    ``protocol: fair`` (the default) takes the fields of :class:`FairSweep`, ``protocol: grid`` the lists
    ``learning_rates``, ``head_learning_rates``, ``draws`` and ``seeds``; both take the fields of :class:`RunSpec` that
    all runs share. A candidate names a method and its settings; a list means one candidate for each of its items.
    ``imports`` names modules, or .py files, that register methods of your own, looked for beside the file first::

        model: minilm
        task: rotten_tomatoes
        epochs: 1
        learning_rates: 3
        tuning_share: 0.33
        report_seeds: 5
        imports: my_methods.py
        candidates:
          - {method: lora, rank: [2, 8, 32]}
          - {method: vera, rank: [16, 256], learning_rate: 2e-2}
          - {method: "peft:dora", r: 8}
          - {method: my_method, learning_rate: 2e-3}

    Raises:
        VxlabError: the file cannot be read, a key is unknown (the nearest is named), or a value is out of its range.
    """
    name: str = settle("path", path, str)
    try:
        text = Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError) as error:  # no UTF-8, a NUL in the path, the home of nobody
        raise VxlabError(f"sweep file {name!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    content = read_yaml(text, name)
    if not isinstance(content, dict) or "candidates" not in content:
        raise VxlabError(f"{path} names no candidates; write candidates: and below it - {{method: lora, rank: [2, 8]}}")
    try:
        import_methods(_imports(content.pop("imports", [])), Path(path).expanduser().parent)
        return _sweep({str(key): value for key, value in content.items()})
    except VxlabError as error:
        raise VxlabError(f"{path}: {error}") from error


def _imports(names: Any) -> list[str]:
    listed = _listed(names)
    if not all(isinstance(name, str) for name in listed):
        raise VxlabError(f"imports={quote(names)} is no list of modules; write imports: [my_methods], or my_methods.py")
    return listed


def _sweep(content: dict[str, Any]) -> FairSweep | list[RunSpec]:
    protocol = content.pop("protocol", "fair")
    if protocol not in ("fair", "grid"):
        raise VxlabError(f"protocol={protocol!r} is unknown; choose fair or grid")
    known = _OF_FAIR if protocol == "fair" else _OF_GRID
    require_known(content, (*known, *SHARED, "protocol"), "unknown key")
    of_all = (*SHARED, "draw") if protocol == "fair" else SHARED
    settings = {name: content.pop(name) for name in of_all if name in content}
    entries = content.pop("candidates")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        given = f"candidates={quote(entries)}"
        raise VxlabError(f"{given} is not a list of mappings such as - {{method: lora, rank: [2, 8]}}")
    candidates = [each for entry in entries for each in _candidates(entry)]
    if protocol == "fair":
        return FairSweep(candidates=candidates, settings=settings, **content)
    return _grid(candidates, settings, content)


def _grid(candidates: list[Candidate], settings: dict[str, Any], content: dict[str, Any]) -> list[RunSpec]:
    if "learning_rates" not in content:
        raise VxlabError("protocol: grid needs learning_rates, a list such as [1e-3, 1e-2]")
    lists = {name: _listed(value) for name, value in content.items()}
    specs: list[RunSpec] = []
    for each in candidates:
        if each.learning_rate is not None:
            raise VxlabError(
                "a candidate's learning_rate is the middle of its range in protocol: fair; a grid has learning_rates"
            )
        chosen = settings | ({} if each.targets is None else {"targets": each.targets})
        targets = [chosen.pop("targets", "query-value")]
        specs += grid([each.method], targets=targets, **lists, **chosen)
    return specs


def _candidates(entry: dict[str, Any]) -> list[Candidate]:
    """Return a candidate for every combination of the lists in an entry; a list of targets is one target set."""
    entry = {str(name): value for name, value in entry.items()}
    if "method" not in entry:
        raise VxlabError(f"candidate {quote(entry)} names no method; add method: {_known()}")
    if not all(isinstance(each, str) for each in _listed(entry["method"])):
        raise VxlabError(f"method={quote(entry['method'])} is not a name; write {_known()}")
    targets, rate = entry.pop("targets", None), entry.pop("learning_rate", None)
    names, lists = list(entry), [_listed(value) for value in entry.values()]
    each = (dict(zip(names, values, strict=True)) for values in product(*lists))
    return [Candidate(method_from_name(own.pop("method"), **own), targets, rate) for own in each]


def _known() -> str:
    return f"{', '.join(METHODS)} or peft:NAME"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
