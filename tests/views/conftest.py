"""What the tests of views share: one JupyterLab for all that a process tests."""

from collections.abc import Iterator
from typing import Any

import pytest
from lab import Lab, serve


@pytest.fixture(scope="session")
def lab(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab in a page of the browser."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    folder.mkdir()
    with serve(folder) as url:
        yield Lab(folder, url, browser.new_page())
