"""Methods of a user's own: registered, saved, loaded, pickled, and known by their code."""

import dataclasses
import importlib
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

import pytest
import torch
from architectures import ARCHITECTURES
from places import SUPPORT
from toy_methods import FrozenA, Unregistered

import vxlab
from vxlab.adapters import METHODS, Family, Method
from vxlab.adapters.core.own_code import code_version
from vxlab.adapters.methods.imports import import_methods

del METHODS["frozen_a"]  # which other tests need not see
SOURCE = (SUPPORT / "toy_methods.py").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what a test registers and imports."""
    methods, modules = dict(METHODS), set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    vxlab.register(FrozenA)
    yield
    METHODS.clear()
    METHODS.update(methods)
    for name in sys.modules.keys() - modules:
        if "mine" in name:
            del sys.modules[name]


def module(folder: Path, source: str, name: str = "mine") -> ModuleType:
    """Write a module and import it anew."""
    (folder / f"{name}.py").write_text(textwrap.dedent(source))
    sys.modules.pop(name, None)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


def bert() -> Any:
    return ARCHITECTURES["bert"]()


def logits(model: Any) -> torch.Tensor:
    return model(input_ids=torch.arange(1, 9)[None]).logits.detach()


def trained(method: Method) -> Any:
    model = vxlab.attach(bert(), method)
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def test_a_registered_family_is_saved_and_loaded_by_its_name(tmp_path: Path) -> None:
    model = trained(FrozenA(rank=4))
    vxlab.save_adapter(model, tmp_path / "a")
    loaded = vxlab.load_adapter(bert(), tmp_path / "a")
    assert torch.equal(logits(loaded), logits(model))
    assert loaded.vxlab_attachment.method == vxlab.method_from_name("frozen_a", rank=4) == FrozenA(rank=4)


def test_a_family_that_could_not_be_loaded_again_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match=r"Unregistered is not registered.*write @vxlab.register above"):
        vxlab.save_adapter(trained(Unregistered(rank=4)), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_loading_an_unknown_family_says_to_import_it(tmp_path: Path) -> None:
    vxlab.save_adapter(trained(FrozenA(rank=4)), tmp_path / "a")
    del METHODS["frozen_a"]
    with pytest.raises(vxlab.VxlabError, match=r"'frozen_a' is unknown.*vxlab.register, by --import or imports: in"):
        vxlab.load_adapter(bert(), tmp_path / "a")


def test_an_adapter_of_other_code_is_loaded_with_a_warning(tmp_path: Path) -> None:
    mine = module(tmp_path, SOURCE.replace('"frozen_a"', '"mine_a"'))
    vxlab.save_adapter(trained(mine.FrozenA(rank=4)), tmp_path / "a")
    vxlab.load_adapter(bert(), tmp_path / "a")
    module(
        tmp_path, SOURCE.replace('"frozen_a"', '"mine_a"').replace('return tensors["B"],', 'return 2 * tensors["B"],')
    )
    with pytest.warns(UserWarning, match="saved by other code of FrozenA than is loaded here"):
        vxlab.load_adapter(bert(), tmp_path / "a")


@dataclass(frozen=True)
class _WithTwoOfItsOwn(FrozenA):
    """Frozen tensors of each layer's own, and none shared; a vector among them."""

    name: ClassVar[str] = "two_of_its_own"
    scale: float = 1.0

    def shared(self, shapes: Any) -> dict[str, torch.Tensor]:
        return {}

    def frozen(self, weights: Any, gradients: Any = None) -> dict[str, dict[str, torch.Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        return {
            layer: {
                "A": torch.randn(self.rank, weight.shape[1], generator=generator),
                "c": torch.full((self.rank,), self.scale),
                "unit": torch.ones(1),
            }
            for layer, weight in weights.items()
        }

    def factors(self, tensors: Any, shape: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return tensors["B"] * tensors["c"], tensors["A"]


def test_frozen_tensors_of_any_number_and_shape_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vxlab.register(_WithTwoOfItsOwn)
    model = trained(_WithTwoOfItsOwn(rank=3))
    vxlab.save_adapter(model, tmp_path / "a")
    assert torch.equal(logits(vxlab.load_adapter(bert(), tmp_path / "a")), logits(model))
    monkeypatch.setattr(torch, "ones", torch.zeros)
    with pytest.raises(vxlab.VxlabError, match="does not reproduce here"):
        vxlab.load_adapter(bert(), tmp_path / "a")


def test_a_family_that_breaks_its_promises_is_refused_and_leaves_the_model() -> None:
    class Turned(FrozenA):
        def factors(self, tensors: Any, shape: Any) -> Any:
            return tensors["B"].T, tensors["A"]

    class Miscounted(FrozenA):
        def parameter_count(self, shape: Any) -> int:
            return 7

    model = bert()
    before = logits(model)
    with pytest.raises(vxlab.VxlabError, match=r"Turned.factors gives left \(2, 32\) and right \(2, 32\) on `bert"):
        vxlab.attach(model, Turned(rank=2))
    with pytest.raises(vxlab.VxlabError, match=r"Miscounted.parameter_count gives 7 for .* trained gives 64"):
        vxlab.attach(model, Miscounted(rank=2))
    assert not hasattr(model, "vxlab_attachment")
    assert torch.equal(logits(model), before)


class _Bare(FrozenA):
    name = "bare"


@dataclass(frozen=True)
class _Abstract(Family):
    name: ClassVar[str] = "abstract"


@dataclass(frozen=True)
class _Nameless(Family):
    def trained(self, shape: Any) -> Any: ...
    def factors(self, tensors: Any, shape: Any) -> Any: ...
    def parameter_count(self, shape: Any) -> Any: ...


def _named(name: Any) -> type[Method]:
    return dataclasses.make_dataclass("Named", [], bases=(FrozenA,), namespace={"name": name}, frozen=True)


def _with_field(kind: Any, **settings: Any) -> type[Method]:
    fields = [("extra", kind, dataclasses.field(**{"default": None, **settings}))]
    return dataclasses.make_dataclass("Odd", fields, bases=(FrozenA,), namespace={"name": "odd"}, frozen=True)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        ("FrozenA", r"register\('FrozenA'\): not a method; give a class on vxlab.adapters.Family"),
        (dict, "not a method"),
        (FrozenA(rank=2), "not a method"),
        (_Bare, "not a dataclass; write @dataclass"),
        (_Abstract, "is not whole; define factors, parameter_count, trained"),
        (_Nameless, "has no name; write name: ClassVar"),
        (_named("vera"), r"name='vera' is vxlab.adapters.families.vera.VeRA's; choose another name"),
        (_named("elora"), "name='elora' is vxlab"),
        (_named("frozen_a"), r"name='frozen_a' is toy_methods.FrozenA's"),
        (_named("peft:mine"), "name='peft:mine'; write name: ClassVar"),
        (_named("LoRA"), "in lower-case letters"),
        (_named(""), "name=''"),
        (vxlab.PEFT, "has no name"),
        (_with_field(torch.Tensor), r"field 'extra' \(Tensor\) is no setting that JSON holds; use bool, int"),
        (_with_field(dict[str, int]), r"field 'extra' \(dict\[str, int\]\) is no setting"),
        (_with_field(int, init=False), r"field 'extra' \(init=False\)"),
    ],
)
def test_what_could_not_be_found_by_name_and_settings_is_refused(cls: Any, message: str) -> None:
    before = dict(METHODS)
    with pytest.raises(vxlab.VxlabError, match=message):
        vxlab.register(cls)
    assert before == METHODS


@pytest.mark.parametrize("kind", [bool, int | None, str, tuple[float, ...], tuple[str, ...] | None, Literal["a", "b"]])
def test_settings_that_json_holds_are_taken(kind: Any) -> None:
    assert vxlab.register(_with_field(kind)) is METHODS["odd"]


def test_settings_are_checked_and_one_that_lacks_is_named(tmp_path: Path) -> None:
    cls = vxlab.register(dataclasses.make_dataclass(
        "Needy", [("depth", int), ("widths", tuple[int, ...])], bases=(FrozenA,), namespace={"name": "needy"},
        frozen=True, kw_only=True,
    ))  # fmt: skip
    method = vxlab.method_from_name("needy", depth=2, widths=[3, 4])
    assert method == cls(depth=2, widths=(3, 4))
    with pytest.raises(vxlab.VxlabError, match=r"method 'needy' needs depth and widths, for which it has no default"):
        vxlab.method_from_name("needy")
    with pytest.raises(vxlab.VxlabError, match="Needy depth='2' is a text"):
        vxlab.method_from_name("needy", depth="2", widths=())


def test_of_those_without_gradient_steps_only_a_probe_can_be_run() -> None:
    @dataclass(frozen=True)
    class Guess(FrozenA):
        name: ClassVar[str] = "guess"
        by_gradient: ClassVar[bool] = False

    with pytest.raises(vxlab.VxlabError, match="by_gradient=False, and of these only Probe can be run; leave it out"):
        vxlab.register(Guess)


def test_its_own_post_init_is_its_own_business() -> None:
    @vxlab.register
    @dataclass(frozen=True)
    class Unchecked(FrozenA):
        name: ClassVar[str] = "unchecked"

        def __post_init__(self) -> None:
            pass

    assert vxlab.trainable_parameters(vxlab.attach(bert(), vxlab.method_from_name("unchecked", rank=2))).backbone == 256


def test_a_class_that_is_defined_again_replaces_itself(tmp_path: Path) -> None:
    first = module(tmp_path, SOURCE.replace('"frozen_a"', '"mine_a"')).FrozenA
    second = module(tmp_path, SOURCE.replace('"frozen_a"', '"mine_a"') + "\nSPREAD = 1\n").FrozenA
    assert METHODS["mine_a"] is second is not first
    vxlab.save_adapter(trained(first(rank=2)), tmp_path / "of the first")
    third = module(tmp_path, SOURCE.replace('"frozen_a"', '"mine_b"')).FrozenA
    assert METHODS["mine_b"] is third
    assert "mine_a" not in METHODS


def test_one_file_read_under_two_names_is_one_class(tmp_path: Path) -> None:
    """A script is ``__main__`` here and ``__mp_main__`` in its workers."""
    wrapped = "import functools\n\ndef plainly(f):\n    return functools.wraps(f)(lambda *given: f(*given))\n\n"
    source = wrapped + SOURCE.replace("    def trained", "    @plainly\n    def trained").replace("frozen_a", "mine_a")
    first = module(tmp_path, source).FrozenA
    scope: dict[str, Any] = {"__name__": "another_name"}
    exec(compile(source, "toy_methods.py", "exec"), scope)
    assert METHODS["mine_a"] is scope["FrozenA"] is not first
    assert scope["FrozenA"]().versions() == first().versions()


def test_methods_of_vxlab_have_no_code_in_their_identity() -> None:
    assert [code_version(cls) for cls in METHODS.values() if cls.__module__.startswith("vxlab.")] == [{}] * 8
    assert vxlab.LoRA(rank=2).versions() == {}
    assert set(vxlab.PEFT("dora").versions()) == {"peft"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('return tensors["B"], ', 'return 2 * tensors["B"], '),  # of the class itself
        ("SPREAD = 0.5", "SPREAD = 0.25"),  # a number that a function beside it names
        ("torch.randn(rank", "torch.rand(rank"),  # that function
        ("class FrozenA(Family)", "class FrozenA(vxlab.LoRA)"),
        ("return self.rank * shape[0]", "return self.rank * shape[0] if shape[0] in {1, 2} else 0"),
        ("    def trained", "    @torch.no_grad()\n    def trained"),
        ("torch.zeros(shape[0], self.rank)", "(lambda rows: torch.zeros(rows, self.rank))(shape[0])"),
        ("rank: int, columns: int, seed: int)", "rank: int, columns: int, seed: int, more: int = 1)"),
    ],
)
def test_changed_code_is_another_identity(old: str, new: str, tmp_path: Path) -> None:
    assert old in SOURCE
    before = module(tmp_path, SOURCE.replace('"frozen_a"', '"mine_a"')).FrozenA(rank=2).versions()
    again = module(tmp_path, SOURCE.replace('"frozen_a"', '"mine_a"').replace(old, new)).FrozenA(rank=2).versions()
    assert set(before) == set(again) == {"code"}
    assert before != again


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SPREAD = 0.5", "# a remark\n\nSPREAD = 0.5"),
        ("LoRA whose A stays at its random start.", "Other words."),
        ("rank: int = 8", "rank: int = 16"),  # a default counts where it is in force, among a run's settings
        ('name: ClassVar[str] = "unregistered"', 'name: ClassVar[str] = "other"'),  # of another class of the file
    ],
)
def test_what_changes_no_number_is_the_same_identity(old: str, new: str, tmp_path: Path) -> None:
    assert old in SOURCE
    before = module(tmp_path, SOURCE.replace('"frozen_a"', '"mine_a"')).FrozenA(rank=2).versions()
    again = module(tmp_path, SOURCE.replace('"frozen_a"', '"mine_a"').replace(old, new)).FrozenA(rank=2).versions()
    assert before == again


def test_a_helper_in_another_module_of_theirs_is_in_the_identity(tmp_path: Path) -> None:
    source = "import mine_helper\n" + SOURCE.replace('"frozen_a"', '"mine_a"').replace(
        "columns**SPREAD", "columns**mine_helper.spread()"
    )
    found = []
    for number in ("0.5", "0.25"):
        module(tmp_path, f"def spread():\n    return {number}\n", "mine_helper")
        found.append(module(tmp_path, source).FrozenA(rank=2).versions())
    assert found[0] != found[1]


def test_the_identity_is_the_same_in_every_process() -> None:
    told = "import toy_methods; print(toy_methods.FrozenA(2).versions()['code'])"
    run = lambda seed: subprocess.run(  # noqa: E731
        [sys.executable, "-c", told], cwd=SUPPORT, capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(vxlab.__file__).parents[1])},
    ).stdout.strip()  # fmt: skip
    assert run("1") == FrozenA(rank=2).versions()["code"]


def test_it_is_unpickled_where_its_module_was_never_imported(tmp_path: Path) -> None:
    method = module(tmp_path, SOURCE.replace('"frozen_a"', '"mine_a"')).FrozenA(rank=3)
    told = "import pickle, sys, vxlab; print(pickle.load(sys.stdin.buffer), vxlab.method_from_name('mine_a'))"
    run = subprocess.run(
        [sys.executable, "-c", told], input=pickle.dumps(method), capture_output=True, cwd=tmp_path.parent
    )
    assert run.stdout.decode().strip() == "FrozenA(rank=3, seed=0) FrozenA(rank=8, seed=0)", run.stderr.decode()


def test_what_no_other_process_finds_is_refused_in_words() -> None:
    @dataclass(frozen=True)
    class Inside(FrozenA):
        name: ClassVar[str] = "inside"

    with pytest.raises(vxlab.VxlabError, match="Inside is defined inside a function, where no other process finds it"):
        pickle.dumps(Inside(rank=2))
    from vxlab.adapters.core.own_home import unpack_method

    with pytest.raises(vxlab.VxlabError, match=r"Cell is defined in a notebook or script.*put it into a .py file"):
        unpack_method(("__main__", None), "Cell", {})


@pytest.mark.parametrize("name", ["mine", "mine.py", "./mine.py", "{folder}/mine.py"])
def test_a_module_is_imported_by_its_name_or_its_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOURCE.replace('"frozen_a"', '"mine_a"'))
    import_methods([name.format(folder=tmp_path)], tmp_path)
    import_methods([str(tmp_path / "mine.py")])  # once more is no harm
    assert METHODS["mine_a"].__module__ == "mine"


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("mine_nowhere", "", "import of 'mine_nowhere': no such module in"),
        ("nowhere.py", "", "is no .py file; give its path, or a module's name"),
        ("json.py", "", "'json' is no free name of a module; rename the file"),
        ("my-methods.py", "", "'my-methods' is no free name"),
        ("mine.py", "x = 1 / 0", "import of 'mine.py' failed: ZeroDivisionError: division by zero"),
        ("mine", "import mine_nowhere", "import of 'mine' failed: No module named 'mine_nowhere'"),
        ("mine.py", "def x(:", "failed: SyntaxError"),
        ("mine.py", "import vxlab\nvxlab.register(dict)", "import of 'mine.py': .*not a method"),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused_in_words(
    name: str, source: str, message: str, tmp_path: Path
) -> None:
    if name not in ("mine_nowhere", "nowhere.py"):
        (tmp_path / f"{name.removesuffix('.py')}.py").write_text(source)
    with pytest.raises(vxlab.VxlabError, match=message):
        import_methods([name], tmp_path)
