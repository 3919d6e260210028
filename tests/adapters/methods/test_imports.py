"""Modules of a user's own: imported by a name or a file, or refused in words."""

from pathlib import Path

import pytest
from own_modules import SOURCE

import vxlab
from vxlab.adapters import METHODS
from vxlab.adapters.methods.imports import import_methods

pytestmark = pytest.mark.usefixtures("frozen_a")


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
