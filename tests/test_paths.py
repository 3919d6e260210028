"""One store, wherever a notebook's kernel stands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vxlab import paths
from vxlab.experiments.store.store import Store
from vxlab.paths import reports_folder


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Return a folder that the package believes to be its checkout."""
    root = tmp_path / "checkout"
    for name in ("vxlab", "notebooks/mine", "elsewhere"):
        (root / name).mkdir(parents=True)
    monkeypatch.setattr(paths, "_PACKAGE", root / "vxlab")
    monkeypatch.delenv("VXLAB_REPORTS", raising=False)
    return root


@pytest.mark.parametrize("here", [".", "notebooks", "notebooks/mine", "elsewhere"])
def test_everywhere_in_a_checkout_the_reports_are_the_checkouts(checkout, monkeypatch, here):
    monkeypatch.chdir(checkout / here)
    assert reports_folder() == checkout / "reports"


def test_outside_a_checkout_they_are_in_the_working_directory(checkout, monkeypatch):
    monkeypatch.chdir(checkout.parent)
    assert reports_folder() == checkout.parent / "reports"


def test_an_installed_package_is_no_checkout(checkout, monkeypatch):
    (checkout / "vxlab" / "shipped").mkdir()
    monkeypatch.chdir(checkout / "elsewhere")
    assert reports_folder() == checkout / "elsewhere" / "reports"


def test_beside_copied_notebooks_the_reports_are_those_of_the_lab_that_copied_them(checkout, monkeypatch):
    (checkout / "vxlab" / "shipped").mkdir()
    copies = checkout.parent / "work" / "notebooks"
    copies.mkdir(parents=True)
    monkeypatch.chdir(copies)
    assert reports_folder() == copies / "reports"  # any folder may be called notebooks
    (copies / "00_start.ipynb").touch()
    assert reports_folder() == copies.parent / "reports"


@pytest.mark.parametrize(("value", "expected"), [("/data/kept", "/data/kept"), ("", "checkout"), ("mine", "mine")])
def test_what_the_variable_names_wins_and_an_empty_one_names_nothing(checkout, monkeypatch, value, expected):
    monkeypatch.chdir(checkout / "notebooks")
    monkeypatch.setenv("VXLAB_REPORTS", value)
    folders = {"checkout": checkout / "reports", "mine": checkout / "notebooks" / "mine"}
    assert reports_folder() == folders.get(expected, Path(expected))


def test_a_store_of_before_is_named_once(checkout, monkeypatch):
    monkeypatch.chdir(checkout / "notebooks")
    with Store("reports"):
        pass
    with pytest.warns(UserWarning, match=r"notebooks/reports/runs\.db is a store of before .* store='.*runs\.db'"):
        assert reports_folder() == checkout / "reports"
    assert reports_folder() == checkout / "reports"  # a second warning would be an error here


def test_a_notebook_run_where_it_lies_makes_no_store_beside_itself(tmp_path):
    """As nbconvert, editors and ``jupyter lab`` start it: in the notebook's own folder."""
    root = Path(paths.__file__).parents[1]
    program = "from vxlab.paths import reports_folder; print(reports_folder())"
    environment = {name: value for name, value in os.environ.items() if name != "VXLAB_REPORTS"}
    environment["PYTHONPATH"] = str(root)
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=root / "notebooks", env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert told.stdout.strip() == str(root / "reports")
