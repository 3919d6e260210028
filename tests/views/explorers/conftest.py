"""What the explorers' tests share: what the atlas holds changes none of them."""

import pytest


@pytest.fixture(autouse=True)
def no_atlas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the atlas that comes with vxlab."""
    monkeypatch.setattr("vxlab.studies.atlas_runs.atlas_files", list)
