"""A file is received whole, over what breaks on the way, and by the way that pip is set to take."""

import ssl
from pathlib import Path
from types import SimpleNamespace

import pytest
from toy_assets import WEIGHTS, Server

from vxlab.experiments.assets import transfer
from vxlab.experiments.assets.transfer import TransferError, receive

NAME = "weights.bin"


@pytest.fixture
def bar() -> SimpleNamespace:
    made = SimpleNamespace(n=0)
    made.update = lambda more: setattr(made, "n", made.n + more)
    return made


@pytest.fixture(autouse=True)
def served(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setattr(transfer, "_TRIES", 2)
    (wheels / NAME).write_bytes(WEIGHTS)
    return WEIGHTS


def asked(server: Server) -> list[str]:
    return [start for _, start in server.asked]


def test_a_file_comes_whole_and_the_bar_counts_megabytes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bar: SimpleNamespace
) -> None:
    monkeypatch.setattr(transfer, "MB", 100_000)
    receive(server.address + NAME, tmp_path / "got", len(WEIGHTS), bar)
    assert (tmp_path / "got").read_bytes() == WEIGHTS
    assert bar.n == 3


def test_a_broken_connection_is_taken_up_where_it_broke(server: Server, tmp_path: Path, bar: SimpleNamespace) -> None:
    server.cut = NAME
    receive(server.address + NAME, tmp_path / "got", len(WEIGHTS), bar)
    assert (tmp_path / "got").read_bytes() == WEIGHTS
    assert asked(server) == ["bytes=0-", f"bytes={len(WEIGHTS) // 2}-"]


def test_what_is_here_already_is_not_asked_for(server: Server, tmp_path: Path, bar: SimpleNamespace) -> None:
    (tmp_path / "got").write_bytes(WEIGHTS[:70_000])
    receive(server.address + NAME, tmp_path / "got", len(WEIGHTS), bar)
    receive(server.address + NAME, tmp_path / "got", len(WEIGHTS), bar)
    assert (tmp_path / "got").read_bytes() == WEIGHTS
    assert asked(server) == ["bytes=70000-"]


def test_a_file_on_this_machine_starts_afresh(wheels: Path, tmp_path: Path, bar: SimpleNamespace) -> None:
    (tmp_path / "got").write_bytes(b"an older start")
    receive((wheels / NAME).as_uri(), tmp_path / "got", len(WEIGHTS), bar)
    assert (tmp_path / "got").read_bytes() == WEIGHTS


def test_what_is_longer_than_it_should_be_is_not_waited_for(
    server: Server, tmp_path: Path, bar: SimpleNamespace
) -> None:
    server.hold = NAME
    receive(server.address + NAME, tmp_path / "got", 5000, bar)
    assert (tmp_path / "got").stat().st_size >= 5000


@pytest.mark.parametrize(("code", "asks"), [(401, 1), (404, 1), (503, 2), (429, 2)])
def test_a_refusal_is_repeated_only_where_it_may_pass(
    server: Server, tmp_path: Path, bar: SimpleNamespace, code: int, asks: int
) -> None:
    server.refusal = code
    with pytest.raises(TransferError, match=rf"^the server answers {code} \w+"):
        receive(server.address + NAME, tmp_path / "got", len(WEIGHTS), bar)
    assert len(server.asked) == asks
    assert not (tmp_path / "got").exists()


def test_nobody_there_is_said(tmp_path: Path, bar: SimpleNamespace) -> None:
    with pytest.raises(TransferError, match="Connection refused"):
        receive(f"http://127.0.0.1:9/{NAME}", tmp_path / "got", len(WEIGHTS), bar)


def test_a_disk_that_refuses_is_not_asked_again(server: Server, tmp_path: Path, bar: SimpleNamespace) -> None:
    with pytest.raises(IsADirectoryError):
        receive(server.address + NAME, tmp_path, 10**9, bar)
    assert len(server.asked) == 1


def test_the_proxy_that_pip_is_set_to_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bar: SimpleNamespace
) -> None:
    monkeypatch.setenv("PIP_PROXY", server.address)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    receive(f"http://nowhere.invalid/{NAME}", tmp_path / "got", len(WEIGHTS), bar)
    assert (tmp_path / "got").read_bytes() == WEIGHTS


def test_the_certificates_that_pip_is_set_to_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bar: SimpleNamespace
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\ncert = of-all\n[download]\ncert = of-downloads\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.delenv("PIP_CERT", raising=False)
    taken = []
    plain = ssl.create_default_context()
    monkeypatch.setattr(ssl, "create_default_context", lambda **how: taken.append(how) or plain)
    with pytest.raises(TransferError):
        receive(f"http://127.0.0.1:9/{NAME}", tmp_path / "got", 1, bar)
    assert taken == [{"capath": None, "cafile": "of-downloads"}]


def test_certificates_that_cannot_be_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bar: SimpleNamespace
) -> None:
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "none.pem"))
    with pytest.raises(TransferError, match=r"the certificates in .*none\.pem cannot be read: "):
        receive(f"http://127.0.0.1:9/{NAME}", tmp_path / "got", 1, bar)
