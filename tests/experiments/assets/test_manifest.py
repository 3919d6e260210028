"""The manifest: complete, and unable to name a place outside the cache folder."""

from dataclasses import replace
from pathlib import Path

import pytest
from toy_assets import make_asset, write_manifest

from vxlab.errors import VxlabError
from vxlab.experiments.assets.manifest import File, Original, Package, find_asset, list_assets, read_manifest
from vxlab.paths import shipped_path


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(VxlabError, match=r"no asset is named 'rotten_tomatos'; did you mean 'rotten_tomatoes'\?"):
        find_asset("rotten_tomatos")
    with pytest.raises(
        VxlabError,
        match=r"no asset is named 'xyz'; packaged: minilm, mpnet, rotten_tomatoes, smollm2, dinov2s, cifar10_test$",
    ):
        find_asset("xyz")


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil", "C:evil", ""])
def test_a_manifest_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(VxlabError, match="leaves the cache folder"):
        File("member", path, 1, "0" * 64)
    with pytest.raises(VxlabError, match="leaves the cache folder"):
        Package("name", "1.0", path, 1, "0" * 64)


@pytest.mark.parametrize(("field", "value"), [("kind", "modle"), ("archive", "tar")])
def test_an_unknown_kind_or_archive_is_refused(tmp_path: Path, field: str, value: str) -> None:
    text = write_manifest(tmp_path / "assets.toml", make_asset(tmp_path)).read_text(encoding="utf-8")
    known = {"kind": "data", "archive": "wheel"}[field]
    (tmp_path / "assets.toml").write_text(
        text.replace(f'{field} = "{known}"', f'{field} = "{value}"'), encoding="utf-8"
    )
    with pytest.raises(VxlabError, match=rf"asset toy: {field}='{value}' is neither"):
        read_manifest(tmp_path / "assets.toml")


def test_a_file_states_where_it_comes_from(tmp_path: Path) -> None:
    plain = make_asset(tmp_path)
    source = Original("deep/toy.gguf", "toy.gguf", 1, "0" * 64, "gguf")
    with pytest.raises(VxlabError, match=r"asset toy: member='' of weights\.bin; state the member that it is in"):
        replace(plain, files=(replace(plain.files[0], member=""),))
    with pytest.raises(VxlabError, match=r"member='deep/weights\.bin' of weights\.bin; state none, being written from"):
        replace(plain, original=source)
    with pytest.raises(VxlabError, match=r"archive='split-zip' with an original; it must be 'wheel'"):
        replace(plain, original=source, archive="split-zip")
    with pytest.raises(VxlabError, match="has folders in it"):
        replace(source, path="deep/toy.gguf")
    with pytest.raises(VxlabError, match=r"original toy\.gguf: format='pt' is neither 'gguf' nor 'onnx'"):
        replace(source, format="pt")


def test_an_archive_is_what_its_packages_are(tmp_path: Path) -> None:
    plain = make_asset(tmp_path)
    with pytest.raises(VxlabError, match=r"package toy_wheel: filename='toy\.zip' is neither a \.whl nor a \.tar\.gz"):
        replace(plain.packages[0], filename="toy.zip")
    with pytest.raises(VxlabError, match=r"asset toy: archive='sdist' of toy_wheel-1\.0-py3-none-any\.whl"):
        replace(plain, archive="sdist")
    with pytest.raises(VxlabError, match=r"asset toy: archive='wheel' of toy\.tar\.gz"):
        replace(plain, packages=(replace(plain.packages[0], filename="toy.tar.gz"),))


def test_the_shipped_manifest_is_complete_and_the_readme_names_each_asset() -> None:
    readme = shipped_path("data", "README.md").read_text(encoding="utf-8")
    for asset in list_assets().values():
        assert f"| `{asset.name}` |" in readme
        assert all([asset.description, asset.licence, asset.source, asset.citation, asset.packages, asset.files])
        checksums = [row.sha256 for row in (*asset.packages, *asset.files)]
        assert all(len(checksum) == 64 and int(checksum, 16) for checksum in checksums)
        assert all(bool(package.part) == (asset.archive == "split-zip") for package in asset.packages)
        assert f"{asset.download_bytes / 1e6:.1f} MB" in readme
