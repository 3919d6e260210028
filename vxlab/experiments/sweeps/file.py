"""A sweep as a YAML file: the fair protocol, or a plain grid of runs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from vxlab.adapters import METHODS, method_from_name
from vxlab.adapters.methods import import_methods
from vxlab.checks import quote, require_known, settle
from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec, family_name, method_label, usual_settings
from vxlab.experiments.sweeps.grid import grid
from vxlab.experiments.sweeps.plain_yaml import read_yaml, write_yaml
from vxlab.experiments.sweeps.protocol import BUDGET, SHARED, Candidate, FairSweep
from vxlab.words import list_in_words

SWEEPS = "sweeps"
"""The key of a file of several sweeps."""
_OF_FAIR = ("candidates", *BUDGET, "draw")
_OF_GRID = ("candidates", "learning_rates", "head_learning_rates", "seeds", "draws")
_ADVISED, _TARGETS = "advised", str | tuple[str, ...]
_Advise = Callable[..., Any]
"""As :func:`vxlab.advise`, which lies above: what it returns has a ``run_spec()`` and a ``sentence()``."""


def read_sweep(path: str | Path, advise: _Advise | None = None) -> FairSweep | list[RunSpec]:
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
          - {method: lora, rank: advised, budget: 30000}

    With ``rank: advised`` the ranks are asked of the advisor, now, on the sweep's model and task: it takes the
    gradients of a few batches. They are by layer where it says that this is worth it, and else one for all layers; what
    it says is printed. ``budget`` is of parameters, or of bytes (``200 kB``); without one it is what the method's usual
    rank takes. Advice that comes to a candidate which the file names already adds none, and that is printed as well.

    Args:
        path: of the file.
        advise: whom to ask, such as ``vxlab.advise``; None, and ``rank: advised`` is refused.

    Raises:
        VxlabError: the file cannot be read, a key is unknown (the nearest is named), a value is out of its range, or
            ranks are to be advised and nobody is there to do it, or cannot.
    """
    content = _content(path)
    if SWEEPS in content:
        raise VxlabError(f"{path} holds several sweeps; read them with vxlab.read_sweeps(path)")
    return _read(path, content, advise)


def read_sweeps(
    path: str | Path, advise: _Advise | None = None, only: Collection[str] = ()
) -> dict[str, FairSweep | list[RunSpec]]:
    """Read the sweeps of a YAML file by name: those below ``sweeps``, or the file's one by the file's own name.

    Each is written as :func:`read_sweep` reads a file. What stands beside ``sweeps`` holds for all of them, unless one
    says otherwise::

        learning_rates: 4
        candidates:
          - {method: lora, rank: [1, 4, 16]}
          - {method: head}
        sweeps:
          reviews: {task: rotten_tomatoes}
          paraphrases: {task: mrpc, epochs: 2}

    Args:
        path: of the file.
        advise: as :func:`read_sweep` takes it.
        only: names of the sweeps that are wanted; all where there is none.

    Raises:
        VxlabError: as :func:`read_sweep`; or ``only`` names a sweep that the file does not have.
    """
    content = _content(path)
    named = content.pop(SWEEPS, None)
    several = {Path(path).stem: content} if named is None else _several(path, named, content)
    for name in only:
        if name not in several:
            raise VxlabError(f"{path} has no sweep {name!r}; choose among {list_in_words(list(several))}")
    return {name: _read(f"{path}: {name}" if named else path, own, advise, path)
            for name, own in several.items() if name in only or not only}  # fmt: skip


def _several(path: str | Path, named: Any, shared: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    if not isinstance(named, dict) or not named or not all(isinstance(own, dict) for own in named.values()):
        raise VxlabError(
            f"{path}: {SWEEPS}={quote(named)} is no mapping of names to sweeps; write {SWEEPS}: and below it "
            "reviews: {task: rotten_tomatoes}"
        )
    return {str(name): {**shared, **own} for name, own in named.items()}


def _content(path: str | Path) -> dict[str, Any]:
    name: str = settle("path", path, str)
    try:
        text = Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError) as error:  # no UTF-8, a NUL in the path, the home of nobody
        raise VxlabError(f"sweep file {name!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    content = read_yaml(text, name)
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def _read(
    told: str | Path, content: Mapping[str, Any], advise: _Advise | None, file: str | Path | None = None
) -> FairSweep | list[RunSpec]:
    """Return the sweep that a mapping describes.

    Args:
        told: where it stands, for errors.
        content: the mapping, which is left as it is.
        advise: as :func:`read_sweep` takes it.
        file: beside which modules are looked for; None where that is ``told``.
    """
    if "candidates" not in content:
        raise VxlabError(f"{told} names no candidates; write candidates: and below it - {{method: lora, rank: [2, 8]}}")
    try:
        own = dict(content)
        import_methods(_imports(own.pop("imports", [])), Path(file or told).expanduser().parent)
        return _sweep(own, advise)
    except VxlabError as error:
        raise VxlabError(f"{told}: {error}") from error


def format_sweep(fair: FairSweep) -> str:
    """Return a fair sweep as the YAML that :func:`read_sweep` reads as the same one.

    What is a default is left out. ``imports:`` of methods of your own are to be added.
    """
    usual = {each.name: each.default for each in fields(FairSweep)}
    budget = {name: getattr(fair, name) for name in BUDGET if getattr(fair, name) != usual[name]}
    candidates = [_entry(each) for each in fair.names.values()]
    return write_yaml({**fair.settings, **budget, "candidates": candidates})


def _entry(candidate: Candidate) -> dict[str, Any]:
    usual, own = usual_settings(candidate.method), candidate.method.settings()
    changed = {name: value for name, value in own.items() if name not in usual or value != usual[name]}
    # In an entry a list is its alternatives, so one that is a value is the only item of another.
    entry = {name: [value] if isinstance(value, list | tuple) else value for name, value in changed.items()}
    placed = {"targets": candidate.targets, "learning_rate": candidate.learning_rate}
    entry |= {name: value for name, value in placed.items() if value is not None}
    return {"method": candidate.method.name, **entry}


def _imports(names: Any) -> list[str]:
    listed = _listed(names)
    if not all(isinstance(name, str) for name in listed):
        raise VxlabError(f"imports={quote(names)} is no list of modules; write imports: [my_methods], or my_methods.py")
    return listed


def _sweep(content: dict[str, Any], advise: _Advise | None) -> FairSweep | list[RunSpec]:
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
    every = [each for entry in entries for each in _candidates(entry)]
    candidates = _with_advice(every, settings, advise)
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


class _Asked(NamedTuple):
    """A candidate whose ranks are to be advised: as it is at its method's usual rank, and the budget."""

    usual: Candidate
    budget: int | str | None


def _candidates(entry: dict[str, Any]) -> list[Candidate | _Asked]:
    """Return a candidate for every combination of the lists in an entry; a list of targets is one target set."""
    entry = {str(name): value for name, value in entry.items()}
    if "method" not in entry:
        raise VxlabError(f"candidate {quote(entry)} names no method; add method: {_known()}")
    if not all(isinstance(each, str) for each in _listed(entry["method"])):
        raise VxlabError(f"method={quote(entry['method'])} is not a name; write {_known()}")
    targets, rate = entry.pop("targets", None), entry.pop("learning_rate", None)
    names, lists = list(entry), [_listed(value) for value in entry.values()]
    each = (dict(zip(names, values, strict=True)) for values in product(*lists))
    return [_candidate(own, targets, rate) for own in each]


def _candidate(own: dict[str, Any], targets: Any, rate: Any) -> Candidate | _Asked:
    if own.get("rank") != _ADVISED:
        return Candidate(method_from_name(own.pop("method"), **own), targets, rate)
    del own["rank"]
    budget = settle("budget", own.pop("budget", None), int | str | None)
    return _Asked(Candidate(method_from_name(own.pop("method"), **own), targets, rate), budget)


def _with_advice(
    every: Sequence[Candidate | _Asked], settings: Mapping[str, Any], advise: _Advise | None
) -> list[Candidate]:
    """Return the candidates, with what the advice comes to in the place of those that ask, each once."""
    usual = settings.get("targets", RunSpec.targets)

    def identity(candidate: Candidate) -> tuple[Any, ...]:
        return candidate.method, settle("targets", candidate.targets or usual, _TARGETS), candidate.centre

    named = {identity(each) for each in every if isinstance(each, Candidate)}
    found: list[Candidate] = []
    for each in every:
        if isinstance(each, Candidate):
            found.append(each)
            continue
        advised = _ask(each, {**settings, "targets": each.usual.targets or usual}, advise)
        if identity(advised) in named:
            print(f"{method_label(advised.method)} is a candidate already, so there is one of it.")
            continue
        named.add(identity(advised))
        found.append(advised)
    return found


def _ask(asked: _Asked, settings: Mapping[str, Any], advise: _Advise | None) -> Candidate:
    label = family_name(asked.usual.method)
    if advise is None:
        raise VxlabError(
            f"rank: advised of {label} asks for an advisor, which takes gradients of the model: "
            "vxlab.read_sweep(path, vxlab.advise), or vxlab sweep FILE.yaml; or write a rank, such as rank: 8"
        )
    # What advises has no defaults for these two, and a run has.
    given = {"model": RunSpec.model, "task": RunSpec.task, **settings}
    advice = advise(**given, method=asked.usual.method, budget=asked.budget)
    print(f"{label}, rank: advised: {advice.sentence()}")
    spec: RunSpec = advice.run_spec()
    by_layer = isinstance(getattr(spec.method, "rank", None), Mapping)
    return replace(asked.usual, method=spec.method, targets=spec.targets if by_layer else asked.usual.targets)


def _known() -> str:
    return f"{', '.join(METHODS)} or peft:NAME"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
