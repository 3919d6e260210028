"""Methods of a user's own: registered, checked, and saved and loaded by their names."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from architectures import ARCHITECTURES
from own_modules import SOURCE, module
from toy_methods import FrozenA, Unregistered

import vxlab
from vxlab.adapters import METHODS, Family, Method

pytestmark = pytest.mark.usefixtures("frozen_a")


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


def test_of_those_without_gradient_steps_only_ours_can_be_run() -> None:
    @dataclass(frozen=True)
    class Guess(FrozenA):
        name: ClassVar[str] = "guess"
        by_gradient: ClassVar[bool] = False

    with pytest.raises(vxlab.VxlabError, match="by_gradient=False, and of these only Base and Probe can be run"):
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
