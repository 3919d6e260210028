"""The house: who imports whom, what the installation files agree on, and that the tools are satisfied."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from places import ROOT

PACKAGE = ROOT / "vxlab"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# What the modules of each room may import beside the standard library; of vxlab itself, by the start of the name.
MAY_IMPORT = {
    "adapters": {
        "torch",
        "safetensors",
        "vxlab.adapters",
        "vxlab.checks",
        "vxlab.errors",
        "vxlab.spectra",
        "vxlab._version",
    },
    "analysis": {"torch", "numpy", "scipy", "vxlab.analysis", "vxlab.errors", "vxlab.spectra", "vxlab.svd"},
}
MAY_NOT_IMPORT = {
    "experiments": {"vxlab.views", "plotly", "papermill", "nbformat", "nbconvert", "ipywidgets", "IPython"},
    "views": {"vxlab.adapters"},
}
# The one library that is held against ours, in the one module that knows it, imported when used.
OPTIONAL = {"adapters/peer_configs.py": "peft"}
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
)
# The bottom of the house: what every room may stand on, and what these modules need themselves.
BOTTOM = ("_version", "checks", "errors", "paths", "spectra", "spectra_cache", "svd", "told")


def imported(source: str) -> Iterator[str]:
    """Yield the dotted name of every import, wherever in the source it stands.

    ``from vxlab import x`` counts as ``vxlab.x``: it reaches whatever room x is from.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden(room: str, name: str) -> bool:
    """Say whether a module of a room may not import this name."""
    if room in MAY_IMPORT:
        return name.split(".")[0] not in sys.stdlib_module_names and not _under(name, MAY_IMPORT[room])
    whole_package = name == "vxlab" or (name.startswith("vxlab.") and not _is_module(name))
    return whole_package or _under(name, MAY_NOT_IMPORT[room])


def _optional(path: Path, name: str) -> bool:
    return name.split(".")[0] == OPTIONAL.get(path.relative_to(PACKAGE).as_posix())


def _under(name: str, allowed: set[str]) -> bool:
    return any(name == each or name.startswith(each + ".") for each in allowed)


def _is_module(name: str) -> bool:
    """Say whether the second part of ``vxlab.x.y`` is a room or a module, and no public name of vxlab's own."""
    place = PACKAGE / name.split(".")[1]
    return place.is_dir() or place.with_suffix(".py").is_file()


def _modules(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


@pytest.mark.parametrize("room", [*MAY_IMPORT, *MAY_NOT_IMPORT])
def test_imports_go_in_one_direction(room):
    assert len(_modules(room)) > 1
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in _modules(room)
        for name in imported(path.read_text(encoding="utf-8"))
        if forbidden(room, name) and not _optional(path, name)
    ]
    assert wrong == []


def test_every_room_has_its_rule():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == {*MAY_IMPORT, *MAY_NOT_IMPORT}


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("adapters", "import numpy"),
        ("adapters", "def f():\n    from transformers import Trainer"),
        ("adapters", "from vxlab import analysis"),
        ("analysis", "from vxlab.adapters.layer import AdaptedLinear"),
        ("experiments", "from vxlab.views import figures"),
        ("experiments", "from vxlab import views"),
        ("experiments", "from vxlab import VeRA"),
        ("views", "import vxlab.adapters.lora as lora"),
        ("views", "import vxlab"),
    ],
)
def test_the_rule_catches_what_it_should(room, source):
    assert any(forbidden(room, name) for name in imported(source))


def test_importing_vxlab_loads_nothing_heavy():
    program = "import sys, vxlab, vxlab.cli; print(*sorted(set(sys.argv[1:]) & set(sys.modules)))"
    names = [*HEAVY, "platformdirs"]
    loaded = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_the_adapters_alone_need_the_core_dependencies_only():
    paths = [*_modules("adapters"), *((PACKAGE / name).with_suffix(".py") for name in BOTTOM)]
    found = ((path, name) for path in paths for name in imported(path.read_text(encoding="utf-8")))
    names = {name.split(".")[0] for path, name in found if not _optional(path, name)}
    needed = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert names - set(sys.stdlib_module_names) - {"vxlab"} == needed


def test_the_bottom_of_the_house_stands_on_itself():
    allowed = {f"vxlab.{name}" for name in BOTTOM}
    paths = [(PACKAGE / name).with_suffix(".py") for name in BOTTOM]
    names = {name for path in paths for name in imported(path.read_text(encoding="utf-8"))}
    assert [name for name in names if name.startswith("vxlab") and not _under(name, allowed)] == []


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
