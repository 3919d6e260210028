import os
from pathlib import Path

import pytest
import toy_notebooks as toy

from vxlab import VxlabError
from vxlab.views.reports.execution import execute_notebook


def test_a_kernel_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ipykernel_launcher.py").write_text("raise ImportError('a broken installation')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    source = toy.write(tmp_path / "a.ipynb")
    said = r"the kernel of a\.ipynb did not start: ImportError: a broken installation"
    with pytest.raises(VxlabError, match=said):
        execute_notebook(source, {}, tmp_path)


def test_the_kernel_inherits_its_variables_and_the_caller_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VXLAB_REPORTS", "mine")
    monkeypatch.setenv("PLOTLY_RENDERER", "browser")
    names = "VXLAB_REPORTS", "PLOTLY_RENDERER", "VXLAB_HEADLESS"
    look = toy.code(
        f"import os, sys\nprint([os.environ[name] for name in {names}])\nprint('noise', file=sys.__stderr__)"
    )
    executed, failure = execute_notebook(toy.write(tmp_path / "a.ipynb", look), {}, tmp_path / "kept")
    assert failure == ""
    assert executed.cells[-1].outputs[0].text.startswith(str([str(tmp_path / "kept"), "plotly_mimetype", "1"]))
    assert [os.environ.get(name) for name in names] == ["mine", "browser", None]
    assert capfd.readouterr().out == ""
