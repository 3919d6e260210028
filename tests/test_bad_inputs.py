"""What users bring that is bad: each is taken for what it is, or refused in a line or two; nothing else changes."""

import csv
import dataclasses
import hashlib
import io
import json
import random
import re
import shutil
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import architectures
import bad_inputs
import pytest
import torch
import toy_notebooks

import vxlab
from vxlab.cli import commands as cli
from vxlab.errors import VxlabError

pytestmark = pytest.mark.filterwarnings("ignore")  # a right result may come with a word to the user


class Faults:
    """Gather what went wrong over the cases of a kind, so that one does not hide the others."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.taken = self.refused = 0

    @contextmanager
    def of(self, case: object, names: Sequence[str] = ()) -> Iterator[None]:
        """Let a refusal pass if it is short and has one of the names, where there are some; note all else raised."""
        try:
            yield
            self.taken += 1
        except VxlabError as error:
            self.refused += 1
            lines = str(error).splitlines() or [""]
            if len(lines) > 2 or not lines[0].strip() or "Traceback" in str(error) or len(str(error)) > 1500:
                self.found.append(f"{case!r:.300}: a refusal of {len(lines)} lines, {len(str(error))} characters")
            elif names and not any(name in str(error) for name in names):
                self.found.append(f"{case!r:.300}: the refusal names none of {list(names)}: {error!s:.300}")
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}:{where.lineno}"
            self.found.append(f"{case!r:.300}: {type(error).__name__}: {str(error)[:200]!r} ({place})")

    def require_none(self, cases: int) -> None:
        """Raise if there was a fault; no kind of input may be taken, or refused, every time."""
        print(f"{self.taken} taken, {self.refused} refused")
        if self.found:
            pytest.fail(f"{len(self.found)} of {cases}:\n" + "\n".join(self.found), pytrace=False)
        assert self.taken + self.refused == cases
        assert self.taken
        assert self.refused


def seen(folder: Path) -> dict[str, str]:
    """Return a hash of every file below a folder, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working folder, with the store beside it."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("VXLAB_REPORTS", str(tmp_path / "reports"))
    return tmp_path / "here"


def test_a_spec_is_what_its_fields_say_or_names_the_bad_one(elsewhere: Path) -> None:
    cases, faults = 160, Faults()
    names = [field.name for field in dataclasses.fields(vxlab.RunSpec)]
    good = {"method": vxlab.LoRA(rank=2), "learning_rate": 1e-3, "head_learning_rate": 1e-3}
    for case in range(cases):
        draw = random.Random(f"spec {case}")
        changed = {name: draw.choice(bad_inputs.VALUES) for name in draw.sample(names, k=draw.choice((1, 1, 2)))}
        with faults.of(changed, list(changed)):
            spec = vxlab.RunSpec(**good | changed)
            settings = json.loads(json.dumps(spec.settings(), allow_nan=False))
            assert spec.key(model="m") == vxlab.RunSpec(**good | plain(changed)).key(model="m")
            assert settings["method"]["name"] == "lora"
            hash(spec)
    faults.require_none(cases)
    assert not list(elsewhere.iterdir())


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return NumPy's values as Python's, and paths as texts, as a user would write them."""
    as_text = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in as_text.items()}


@pytest.mark.parametrize(
    ("method", "cases"), [(vxlab.LoRA, 40), (vxlab.VeRA, 50), (vxlab.LoRAXS, 40), (vxlab.LiDB, 30)]
)
def test_a_methods_settings_are_what_they_say_or_named(method: type[Any], cases: int) -> None:
    faults = Faults()
    names = [field.name for field in dataclasses.fields(method)]
    for case in range(cases):
        draw = random.Random(f"{method.name} {case}")
        changed = {draw.choice(names): draw.choice(bad_inputs.VALUES)}
        with faults.of(changed, list(changed)):
            settings = method(**changed).settings()
            assert method(**json.loads(json.dumps(settings, allow_nan=False))).settings() == settings
            changed.update(plain(changed))
            assert settings.items() >= changed.items()
    faults.require_none(cases)


@pytest.mark.parametrize(("files", "cases"), [(bad_inputs.csv_files, 160), (bad_inputs.json_files, 120)])
def test_a_table_gives_its_rows_or_says_what_is_wrong(
    files: Callable[[int], Iterator[tuple[str, bytes]]], cases: int, elsewhere: Path
) -> None:
    faults = Faults()
    for name, content in files(cases):
        path = elsewhere / name
        path.write_bytes(content)
        before = seen(elsewhere)
        with faults.of((name, content[:300])):
            with warnings.catch_warnings(record=True) as words:
                warnings.simplefilter("always")
                task = vxlab.load_task(str(path))
            texts = [text for split in task.splits.values() for text in split["text"]]
            said = " ".join(str(word.message) for word in words)
            assert sorted(texts) == sorted(independently(path)) or re.search(r"\d+ row", said), f"other rows: {said!r}"
            assert not any("\n" in text and "film number" in text.partition("\n")[2] for text in texts), (
                "rows swallowed"
            )
        if seen(elsewhere) != before:
            faults.found.append(f"{name} {content[:80]!r}: files were changed")
        path.unlink(missing_ok=True)
    faults.require_none(cases)


def independently(path: Path) -> list[str]:
    """Return a file's texts, read by the standard library alone."""
    text = path.read_bytes().decode("utf-8-sig")
    if path.suffix in (".csv", ".tsv"):
        quoting = csv.QUOTE_MINIMAL if path.suffix == ".csv" else csv.QUOTE_NONE
        table = csv.reader(io.StringIO(text, newline=""), delimiter="," if path.suffix == ".csv" else "\t",
                           quoting=quoting, strict=path.suffix == ".csv")  # fmt: skip
        header, *lines = [line for line in table if line]
        return [line[header.index("text")] for line in lines]
    records = (
        json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.split("\n") if line.strip()]
    )
    return [record["text"] for record in records]


def test_a_sweeps_file_is_a_sweep_or_says_what_is_wrong(elsewhere: Path) -> None:
    cases, faults = 140, Faults()
    for text in bad_inputs.yaml_files(cases):
        path = elsewhere / "sweep.yaml"
        path.write_text(text, encoding="utf-8")
        with faults.of(text[-200:]):
            wanted = vxlab.read_sweep(path)
            assert isinstance(wanted, vxlab.FairSweep) or all(isinstance(each, vxlab.RunSpec) for each in wanted)
        assert seen(elsewhere).keys() == {"sweep.yaml"}
    faults.require_none(cases)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a saved adapter of a tiny BERT, LoRA on query and value, all of it moved from where it starts."""
    model = vxlab.attach(base(), vxlab.LoRA(rank=2, alpha=4))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return vxlab.save_adapter(model, tmp_path_factory.mktemp("adapters") / "good")


def base() -> torch.nn.Module:
    """Return the tiny BERT that the adapter is of."""
    return architectures.ARCHITECTURES["bert"]()


def test_an_adapters_folder_loads_as_it_was_saved_or_says_what_is_wrong(adapter: Path, tmp_path: Path) -> None:
    cases, faults, model = 140, Faults(), base()
    inputs = architectures.inputs("bert")
    bare = model(**inputs).logits
    good = vxlab.load_adapter(base(), adapter)(**inputs).logits
    assert not torch.allclose(bare, good)
    saved = json.loads((adapter / "adapter.json").read_text())
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for number, (told, text) in enumerate(bad_inputs.settings_of_adapters(saved, cases)):
        folder = tmp_path / str(number)
        shutil.copytree(adapter, folder)
        (folder / "adapter.json").write_text(text, encoding="utf-8")
        before = seen(folder)
        with faults.of(told):
            try:
                loaded = vxlab.load_adapter(model, folder)
                assert torch.equal(loaded(**inputs).logits, good), "other logits"
            finally:
                if hasattr(model, "vxlab_attachment"):
                    vxlab.detach(model)
                    model.load_state_dict(state)
            assert seen(folder) == before
        now = model.state_dict()
        if now.keys() != state.keys() or not all(torch.equal(now[name], state[name]) for name in state):
            faults.found.append(f"{told}: the model was changed")
            model = base()
    faults.require_none(cases)


def test_a_command_line_ends_with_a_code_and_a_sentence(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cases, faults = 200, Faults()
    (elsewhere / "sweep.yaml").write_text("candidates: [{method: lora, rank: 0}]\n")
    (elsewhere / "notes.txt").write_text("mine")
    _nothing_really_runs(monkeypatch)
    before, codes = seen(elsewhere), set()
    for words in bad_inputs.command_lines(cases):
        with faults.of(words):
            code = _code(words)
            said = capsys.readouterr().err
            codes.add(code)
            assert code in (0, 1, 2), f"code {code}"
            if code == 2 and said.startswith("vxlab: "):
                raise VxlabError(said)
            assert "Traceback" not in said
            assert code != 2 or said.strip(), "code 2 and no word"
            assert len([line for line in said.splitlines() if line.startswith("vxlab: ")]) < 2
        if seen(elsewhere) != before:
            faults.found.append(f"{words}: files were changed: {sorted(set(seen(elsewhere)) ^ set(before))}")
            before = seen(elsewhere)
    faults.require_none(cases)
    assert codes >= {0, 2}


def test_a_reports_parameter_is_taken_for_what_it_means_or_named(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cases, faults, given = 120, Faults(), {}
    toy_notebooks.write(elsewhere / "toy.ipynb")
    _nothing_really_runs(monkeypatch, lambda _, values, *__: given.update(values))
    for name, text, meant in bad_inputs.parameters(cases):
        given.clear()
        with faults.of((name, text), [name]):
            code = _code(["report", "toy.ipynb", "-p", name, text])
            said = capsys.readouterr().err
            assert code == 2
            if meant is ... and not given:
                raise VxlabError(said.splitlines()[-1])
            assert said.startswith("vxlab: "), said
            assert given == {name: meant}, f"{given}, {said}"
    faults.require_none(cases)
    assert seen(elsewhere).keys() == {"toy.ipynb"}


def _code(words: list[str]) -> object:
    """Return the exit code of a command line, also where argparse ends it."""
    try:
        return cli.main(words)
    except SystemExit as end:
        return end.code


def _nothing_really_runs(monkeypatch: pytest.MonkeyPatch, tell: Callable[..., object] = lambda *_: None) -> None:
    """Stop where notebooks are executed, models downloaded and servers started: what comes before is what is tried."""

    def refuse(*given: object, **_: object) -> Any:
        tell(*given)
        raise VxlabError("this is where it would begin")

    from vxlab.experiments.assets import cache
    from vxlab.views import reports
    from vxlab.views.reports import make_report

    for module, name in ((make_report, "execute_notebook"), (reports, "lab"), (cache, "fetch")):
        monkeypatch.setattr(module, name, refuse)
