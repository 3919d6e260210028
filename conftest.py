"""What every test and doctest shares: a folder of their own for kept decompositions."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def spectra_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep decompositions in a temporary folder, of this process and those it starts, never in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VXLAB_SPECTRA", str(tmp_path_factory.mktemp("spectra")))
        yield
