"""pip tells where a source package lies, and runs none of it; a password it hides is not mistaken for an address."""

import subprocess
import sys
from pathlib import Path

import pytest
from toy_assets import CONFIG, Server, make_source

from vxlab.errors import VxlabError
from vxlab.experiments.assets.manifest import Package
from vxlab.experiments.assets.source_address import find_source_address


@pytest.fixture
def package(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip reads it so: none; else it would not come to the code
    return make_source(wheels, "toy_source", {"config.json": CONFIG})


def test_pip_left_to_itself_would_run_the_code(package: Package, wheels: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(tmp_path / "got"), "toy_source==1.0"]
    subprocess.run(command, capture_output=True)
    assert (wheels / "it_was_run").exists()


def write_links(folder: Path, monkeypatch: pytest.MonkeyPatch, *links: str) -> None:
    """Make a page of links pip's only source."""
    page = folder / "links.html"
    page.write_text("".join(f'<a href="{link}">{link}</a>' for link in links), encoding="utf-8")
    monkeypatch.setenv("PIP_FIND_LINKS", str(page))


def test_a_folder_gives_an_address_on_this_machine(package: Package, wheels: Path, tmp_path: Path) -> None:
    assert find_source_address(package, tmp_path) == (wheels / package.filename).as_uri()
    assert sorted(path.name for path in wheels.iterdir()) == [
        package.filename
    ]  # what the code would write is not there


@pytest.mark.parametrize("wanted", [":all:", "toy_source", "toy-source"])
def test_nothing_is_run_where_pip_is_set_to_build_from_source(
    package: Package, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nno-binary = {wanted}\n[download]\nno-binary = {wanted}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_NO_BINARY", wanted)
    assert find_source_address(package, tmp_path) == (wheels / package.filename).as_uri()
    assert not (wheels / "it_was_run").exists()


@pytest.mark.parametrize("quiet", ["0", "3"])
def test_an_index_gives_its_own_address(
    package: Package, server: Server, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: str
) -> None:
    monkeypatch.setenv("PIP_QUIET", quiet)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_INDEX_URL", server.address + "simple")
    (wheels / "simple" / "toy-source").mkdir(parents=True)
    page = f'<a href="../../{package.filename}#sha256={package.sha256}">{package.filename}</a>'
    (wheels / "simple" / "toy-source" / "index.html").write_text(f"<!DOCTYPE html><html><body>{page}</body></html>")
    assert find_source_address(package, tmp_path) == server.address + package.filename
    assert package.filename not in dict(server.asked)


def test_another_version_is_not_taken_for_it(package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_links(
        tmp_path, monkeypatch, "https://a.invalid/toy_source-1.0.1.tar.gz", "https://b.invalid/toy_source-1.0.zip"
    )
    with pytest.raises(VxlabError, match=r"toy_source-1\.0\.tar\.gz could not be downloaded: pip names no address"):
        find_source_address(package, tmp_path)
    write_links(
        tmp_path, monkeypatch, "https://a.invalid/toy_source-0.9.tar.gz", "https://b.invalid/toy_source-1.0.tar.gz"
    )
    assert find_source_address(package, tmp_path) == "https://b.invalid/toy_source-1.0.tar.gz"


@pytest.mark.parametrize("login", ["me:secret@", "secret@"])
def test_an_address_with_a_password_is_refused_and_not_shown(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str
) -> None:
    write_links(tmp_path, monkeypatch, f"https://{login}a.invalid/{package.filename}")
    match = rf"holds a password.*\n.*by hand into {tmp_path}, where it is looked for first \(sha256 {package.sha256}\)"
    with pytest.raises(VxlabError, match=match) as refusal:
        find_source_address(package, tmp_path)
    assert "secret" not in str(refusal.value)


def test_a_scheme_of_another_kind_is_refused(package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_links(tmp_path, monkeypatch, f"ftp://a.invalid/{package.filename}")
    with pytest.raises(VxlabError, match="its address begins with ftp:, which is none of https, http, file"):
        find_source_address(package, tmp_path)


def test_an_index_that_cannot_be_reached_is_the_reason(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(VxlabError, match=r"pip says: No matching distribution.*\(connection broken by .*refused"):
        find_source_address(package, tmp_path)
