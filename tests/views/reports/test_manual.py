"""The manual's links in a notebook: to its pages where they are built, and to nothing that is not there."""

import re
from pathlib import Path

import pytest
from places import ROOT

from vxlab.views.reports import manual


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(manual, "in_live_notebook", lambda: True)
    monkeypatch.setattr(manual, "shipped_path", lambda *parts: tmp_path.joinpath(*parts))
    (tmp_path / "docs" / "_build").mkdir(parents=True)
    (tmp_path / "docs" / "index.md").touch()
    return tmp_path


def _links(ending: str) -> list[str]:
    return re.findall(rf"\]\(\.\./docs/([\w/]+){ending}\)", manual.link_manual().data)


def test_links_lead_to_pages_that_there_are(checkout: Path) -> None:
    assert "`make docs` builds them" in manual.link_manual().data
    assert len(_links(r"\.md")) == len(manual._PAGES)
    assert all((ROOT / "docs" / f"{page}.md").is_file() for page in _links(r"\.md"))


def test_links_lead_to_the_built_pages_where_they_are_built(checkout: Path) -> None:
    (checkout / "docs" / "_build" / "index.html").touch()
    assert [f"_build/{page}" for page in manual._PAGES] == _links(r"\.html")


def test_there_are_none_in_a_report_nor_without_the_manual(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "docs" / "index.md").unlink()
    assert manual.link_manual().data == ""
    (checkout / "docs" / "index.md").touch()
    monkeypatch.setattr(manual, "in_live_notebook", lambda: False)
    assert manual.link_manual().data == ""
