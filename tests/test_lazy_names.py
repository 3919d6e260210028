"""Names that load when used: all of them resolve and complete, and none loads before."""

import importlib
import subprocess
import sys

import pytest

import vxlab

PACKAGES = ("vxlab", "vxlab.analysis", "vxlab.views")


@pytest.mark.parametrize("name", PACKAGES)
def test_all_that_a_package_offers_resolves_and_completes(name):
    package = importlib.import_module(name)
    assert dir(package) == sorted(package.__all__)
    assert all(getattr(package, each) is not None for each in package.__all__)
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_a_package_inside_is_reached_by_a_dot_and_not_loaded_before():
    said = """
import sys, vxlab
assert "vxlab.analysis" not in sys.modules and "analysis" in dir(vxlab)
assert vxlab.analysis.Update.__module__ == "vxlab.analysis.update"
assert "vxlab.analysis.fitting" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", said], check=True)


def test_names_are_those_of_their_modules():
    assert vxlab.analysis.energy is importlib.import_module("vxlab.analysis.spectrum").energy
    assert vxlab.recipe is importlib.import_module("vxlab.experiments.sweeps.recipes").recipe
