"""The house: who imports whom, what the installation files agree on, and that the tools are satisfied."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from places import ROOT

PACKAGE = ROOT / "vxlab"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Every package, from the ground up. A module imports from its own package and from the levels below, and two packages
# of one level know nothing of each other. "vxlab" here is what lies beside the packages: errors, paths, words, ...
LEVELS = (
    ("vxlab",),
    ("spectra", "experiments/assets", "experiments/engines", "experiments/images"),
    ("adapters/core", "analysis"),
    ("adapters/placement",),
    ("adapters/families", "adapters/peft"),
    ("adapters/methods",),
    ("adapters/saving",),
    ("adapters/interop",),
    ("adapters",),
    ("adapters/stacked",),
    ("adapters/bank",),
    ("experiments/tasks/kinds", "experiments/tasks/rows"),
    ("experiments/tasks/sets",),
    ("experiments/tasks", "experiments/models", "experiments/scoring"),
    ("experiments",),
    ("experiments/provenance", "experiments/costs"),
    ("experiments/candidates", "experiments/store"),
    ("experiments/probes", "experiments/evaluations", "experiments/atlas"),
    ("experiments/runs",),
    ("experiments/judges", "experiments/exchange", "experiments/stacking"),
    ("experiments/imports",),
    ("experiments/sweeps",),
    ("studies",),
    tuple(f"studies/{name}" for name in (
        "advisor", "atlas", "cost", "expressivity", "forgetting", "generation", "images", "many", "quantised", "ranks",
        "reasoning", "start_and_parts", "subspaces", "updates", "weight_similarity",
    )),
    ("views/style",),
    ("views/figures", "views/export"),
    ("views/explorers",),
    tuple(f"views/explorers/{name}" for name in ("advisor", "live", "rank", "subspaces", "sweep", "updates")),
    ("views/reports",),
    ("cli",),
)  # fmt: skip
LEVEL = {package: level for level, packages in enumerate(LEVELS) for package in packages}

# What the small library may import beside the standard library.
MAY_IMPORT = {
    "vxlab": {"lazy_loader", "platformdirs"},
    "spectra": {"torch", "safetensors"},
    "adapters": {"torch", "safetensors"},
    "analysis": {"torch", "numpy", "scipy"},
}
MAY_NOT_IMPORT = {
    "experiments": {"plotly", "papermill", "nbformat", "nbconvert", "ipywidgets", "IPython"},
    "studies": {"plotly", "papermill", "nbformat", "nbconvert", "ipywidgets", "IPython"},
}
# The libraries of one choice each, in the modules that know them, imported when used.
OPTIONAL = {
    "adapters/core/quantisation.py": {"bitsandbytes", "torchao"},
    "adapters/peft/settings.py": {"peft"},
    "adapters/peft/state.py": {"peft"},
    "progress.py": {"tqdm", "IPython"},
}
HEAVY = (
    "transformers",
    "peft",
    "datasets",
    "pandas",
    "sklearn",
    "plotly",
    "papermill",
    "nbformat",
    "IPython",
    "accelerate",
    "lm_eval",
)
FLAT, FLAT_EXPERIMENTS = 21, 8
"""the most modules that lie in one folder, and beside the packages of ``experiments``"""
WHOLE_HOUSE = {
    "bad_inputs", "committed", "docs", "docs_examples", "full_size", "gpu", "gpu_check", "house", "notebooks",
    "notebooks_run", "own_methods_used", "rounds", "wrong_types",
}  # fmt: skip
"""the tests at the root that are of no one module of the package"""


def imported(source: str) -> Iterator[str]:
    """Yield the dotted name of every import, wherever in the source it stands, but for those of type checking alone."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _modules(room: str = "") -> list[Path]:
    inside = PACKAGE.glob("*.py") if room == "vxlab" else (PACKAGE / room).rglob("*.py")
    return sorted(path for path in inside if path.name not in ("__init__.py", "__main__.py"))


def _package(path: Path) -> str:
    folder = path.parent.relative_to(PACKAGE).as_posix()
    return "vxlab" if folder == "." else folder


def _offered(init: Path) -> dict[str, Path]:
    """Return what a package offers, by name, with the file that it comes from."""
    face = init.with_suffix(".pyi") if init.with_suffix(".pyi").is_file() else init
    package = ".".join(init.parent.relative_to(ROOT).parts)
    found: dict[str, Path] = {}
    for node in ast.walk(ast.parse(_source(face))):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = f"{package}.{node.module}" if node.level else node.module
            files = {each.asname or each.name: _file(f"{module}.{each.name}") for each in node.names}
            found |= {name: file for name, file in files.items() if file}
    return found


def _file(dotted: str) -> Path | None:
    """Return the file that a dotted name means: a module, or where a package has a name from."""
    if dotted.partition(".")[0] != "vxlab":
        return None
    place = ROOT.joinpath(*dotted.split("."))
    if place.with_suffix(".py").is_file():
        return place.with_suffix(".py")
    if place.with_suffix("").is_dir() and (place / "__init__.py").is_file():
        return place / "__init__.py"
    package, _, name = dotted.rpartition(".")
    owner = _file(package)
    if owner is None or owner.name != "__init__.py":
        return owner
    return _offered(owner).get(name, owner)


def _graph() -> dict[Path, set[Path]]:
    """Return which modules of vxlab each imports, by file, a name that a package offers counted to where it is from."""
    edges: dict[Path, set[Path]] = {}
    for path in _modules():
        files = {_file(name) for name in imported(_source(path))}
        edges[path] = {file for file in files if file and file != path and file.name != "__init__.py"}
    return edges


GRAPH = _graph()


def _circle(edges: Mapping[object, set[object]]) -> list[str]:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return [str(node) for node in error.args[1]]
    return []


def upward(edges: Mapping[Path, set[Path]]) -> list[str]:
    """Return the imports that do not go down a level, or stay in their package."""
    pairs = [(path, file) for path, files in edges.items() for file in files if _package(path) != _package(file)]
    return [
        f"{path.relative_to(PACKAGE)} imports {file.relative_to(PACKAGE)}"
        for path, file in pairs
        if LEVEL[_package(file)] >= LEVEL[_package(path)]
    ]


def test_every_package_has_its_level():
    assert {_package(path) for path in _modules()} == set(LEVEL)


def test_imports_go_down():
    assert upward(GRAPH) == []


def test_no_file_imports_itself_by_way_of_others():
    assert len(GRAPH) > 200
    assert _circle(GRAPH) == []


def test_a_circle_and_a_step_up_are_found():
    spec, run = PACKAGE / "experiments" / "spec.py", PACKAGE / "experiments" / "runs" / "one_run.py"
    assert upward({spec: {run}}) == ["experiments/spec.py imports experiments/runs/one_run.py"]
    assert _circle(GRAPH | {spec: {run}}) != []
    assert _file("vxlab.adapters.LoRA") == PACKAGE / "adapters" / "families" / "lora.py"
    assert list(imported("def f():\n    from a import b\nif TYPE_CHECKING:\n    import c\nelse:\n    import d")) == [
        "d",
        "a.b",
    ]


def _sources() -> Iterator[tuple[str, str, str]]:
    """Yield the name, the package and the code of all that is held to faces: the house, and what is built on it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), _package(path), _source(path)
    for path in (*ROOT.glob("benchmarks/*.py"), *ROOT.glob("figures/*.py"), *ROOT.glob("docs/*/*.py")):
        yield path.relative_to(ROOT).as_posix(), "", _source(path)
    for path in ROOT.glob("notebooks/*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code" and not cell.source.startswith("%"))
        yield path.name, "", code


def inner_imports(package: str, source: str) -> list[str]:
    """Return the modules inside other packages that a source imports from, past what those packages offer."""
    modules = {node.module or "" for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
    inner = {module for module in modules if ROOT.joinpath(*module.split(".")).with_suffix(".py").is_file()}
    owners = {module: module.rpartition(".")[0].removeprefix("vxlab").replace(".", "/").strip("/") for module in inner}
    return sorted(module for module, owner in owners.items() if owner not in ("", package))


def test_packages_meet_at_their_faces():
    wrong = {name: inner for name, package, source in _sources() if (inner := inner_imports(package, source))}
    assert wrong == {}
    assert inner_imports("cli", "from vxlab.experiments.store.store import Store") == ["vxlab.experiments.store.store"]
    assert inner_imports("cli", "from vxlab.errors import VxlabError\nfrom vxlab.cli.shared import opened") == []


@pytest.mark.parametrize("package", sorted(PACKAGE.rglob("__init__.py")), ids=_package)
def test_a_package_has_what_it_offers(package):
    face = importlib.import_module(".".join(package.parent.relative_to(ROOT).parts))
    assert face.__all__
    assert [name for name in face.__all__ if not hasattr(face, name)] == []
    assert set(face.__all__) <= set(dir(face))


def test_no_public_name_has_two_meanings():
    places: dict[str, set[str]] = {}
    for path in _modules():
        for node in ast.parse(_source(path)).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, set()).add(path.relative_to(ROOT).as_posix())
    twice = {name: files for name, files in places.items() if len(files) > 1}
    assert set(twice) <= {"main"}, twice  # of programs, which nobody imports from one another


def test_packages_load_when_a_name_of_theirs_is_used():
    program = """
import sys, vxlab
assert "torch" not in sys.modules and "analysis" in dir(vxlab)
assert vxlab.analysis.Update.__module__ == "vxlab.analysis.update"
assert "vxlab.analysis.fitting" not in sys.modules
import vxlab.experiments.sweeps.grid  # a module with the name of what its package offers
assert callable(vxlab.experiments.sweeps.grid) and vxlab.grid is vxlab.experiments.sweeps.grid
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_no_folder_is_a_heap():
    counts = Counter(_package(path) for path in _modules())
    assert max(counts.values()) <= FLAT
    assert counts["experiments"] <= FLAT_EXPERIMENTS


def find_subject(test: Path) -> Path | None:
    """Return the module or package that a file of tests is named after, perhaps with more words after its name."""
    words = test.stem.removeprefix("test_").split("_")
    names = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    places = [PACKAGE / test.parent.relative_to(ROOT / "tests") / name for name in names]
    return next((each for place in places for each in (place.with_suffix(".py"), place) if each.exists()), None)


def test_tests_lie_where_what_they_test_does():
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    assert len(tests) > 140
    lost = {path.relative_to(ROOT / "tests").as_posix() for path in tests if find_subject(path) is None}
    assert lost == {f"test_{name}.py" for name in WHOLE_HOUSE}


def test_a_test_of_nothing_is_found():
    tests, package = ROOT / "tests" / "experiments", PACKAGE / "experiments"
    assert find_subject(tests / "store" / "test_database_on_postgres.py") == package / "store" / "database.py"
    assert find_subject(tests / "test_engines.py") == package / "engines"
    assert find_subject(tests / "test_database.py") is None


@pytest.mark.parametrize("room", [*MAY_IMPORT, *MAY_NOT_IMPORT])
def test_a_room_needs_the_libraries_that_are_its_own(room):
    assert _modules(room)
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in _modules(room)
        for name in {name.partition(".")[0] for name in imported(_source(path))}
        - OPTIONAL.get(path.relative_to(PACKAGE).as_posix(), set())
        if forbidden(room, name)
    ]
    assert wrong == []


def forbidden(room: str, library: str) -> bool:
    """Say whether the modules of a room may not import this library."""
    if room in MAY_NOT_IMPORT:
        return library in MAY_NOT_IMPORT[room]
    return library not in {*sys.stdlib_module_names, "vxlab", *MAY_IMPORT[room]}


def test_every_package_says_what_it_is_for():
    silent = [path for path in PACKAGE.rglob("__init__.py") if not ast.get_docstring(ast.parse(_source(path)))]
    assert silent == []


def test_importing_vxlab_loads_nothing_heavy():
    program = "import sys, vxlab, vxlab.cli; print(*sorted(set(sys.argv[1:]) & set(sys.modules)))"
    names = [*HEAVY, "platformdirs"]
    loaded = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_the_small_library_needs_the_core_dependencies_only():
    names = set().union(*(MAY_IMPORT[room] for room in ("vxlab", "spectra", "adapters")))
    assert {canonicalize_name(name) for name in names} == {Requirement(text).name for text in PROJECT["dependencies"]}


def _requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    texts = [*PROJECT["dependencies"], *(text for extra in extras.values() for text in extra)]
    # pip is what installs, before any constraint is read, so nothing pins it.
    return [each for each in map(Requirement, texts) if each.name not in ("vxlab", "pip")]


def _pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    assert all(re.fullmatch(r"==[^*,]+", str(each.specifier)) for each in pinned)
    return {canonicalize_name(each.name): Version(str(each.specifier)[2:]) for each in pinned}


@pytest.mark.parametrize("requirement", _requirements(), ids=str)
def test_every_requirement_is_pinned_to_a_version_it_allows(requirement):
    pins = _pins()
    assert canonicalize_name(requirement.name) in pins
    assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def _environment() -> tuple[dict[str, str], list[str]]:
    """Return what environment.yml asks of conda, name to specifier, and the lines it gives to pip."""
    read = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert read["name"] == "vxlab"
    assert read["channels"] == ["conda-forge"]
    plain = [Requirement(each) for each in read["dependencies"] if isinstance(each, str)]
    (for_pip,) = [each["pip"] for each in read["dependencies"] if isinstance(each, dict)]
    return {each.name: str(each.specifier) for each in plain}, for_pip


def test_conda_asks_for_the_same_python_as_the_package():
    conda, _ = _environment()
    assert SpecifierSet(conda["python"]) == SpecifierSet(PROJECT["requires-python"])
    assert "pip" in conda


def test_conda_and_make_install_the_same_extras_under_the_same_constraints():
    _, for_pip = _environment()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (install,) = re.findall(r"pip install (?:--no-compile )?(.*--editable.*)", makefile)
    assert " ".join(for_pip).split() == install.replace("'", "").split()
    (extras,) = re.findall(r"\.\[([\w,]+)\]", install)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize(
    "command", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]], ids=["lint", "format", "types"]
)
def test_the_tools_find_nothing(command):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
