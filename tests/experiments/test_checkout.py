"""The commit that code runs from: told of vxlab's own checkout, and of nothing else, and never in the way."""

import subprocess
import time

import pytest

from vxlab.experiments import checkout
from vxlab.experiments.checkout import commit


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout with one commit, in which git finds no other."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    (tmp_path / "vxlab").mkdir()
    (tmp_path / "vxlab" / "code.py").write_text("1")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "vxlab"\n')
    commit.cache_clear()
    for command in (
        ["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "One"]
    ):  # fmt: skip
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    return tmp_path


def test_the_commit_is_told_with_changes_of_the_code_alone(root, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as in a hook of another repository
    head = commit(root)
    assert len(head) == 12
    (root / "notes.txt").write_text("of no run")
    commit.cache_clear()
    assert commit(root) == head
    for change in (lambda: (root / "vxlab" / "new.py").touch(), lambda: (root / "vxlab" / "code.py").write_text("2")):
        change()
        commit.cache_clear()
        assert commit(root) == f"{head}+changes"


def test_it_is_asked_once_in_a_process(root, monkeypatch):
    head = commit(root)
    monkeypatch.setattr(subprocess, "run", None)
    assert commit(root) == head


def test_somebody_elses_repository_is_not_vxlabs(root):
    (root / "pyproject.toml").write_text('[project]\nname = "mine"\n')
    assert commit(root) == ""
    commit.cache_clear()
    (root / "pyproject.toml").unlink()
    assert commit(root) == ""


@pytest.mark.parametrize(
    "broken", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git"), UnicodeError()]
)
def test_no_git_is_no_commit_and_no_error(root, monkeypatch, broken):
    def fail(*args, **kwargs):
        raise broken

    monkeypatch.setattr(subprocess, "run", fail)
    assert commit(root) == ""


def test_a_git_that_hangs_is_not_waited_for(root, monkeypatch, tmp_path):
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 20\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:/usr/bin:/bin")
    monkeypatch.setattr(checkout, "_SECONDS", 0.2)
    start = time.monotonic()
    assert commit(root) == ""
    assert time.monotonic() - start < 5
