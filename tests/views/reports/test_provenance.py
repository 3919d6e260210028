"""What a page says of its own making: what its process knows, and nothing that runs elsewhere had."""

from nbformat.v4 import new_notebook
from toy_notebooks import code, text, write

from vxlab.experiments.checkout import commit
from vxlab.views.reports import notebooks
from vxlab.views.reports.provenance import add_note, describe_environment, note


def _noted(tmp_path):
    source = write(tmp_path / "a.ipynb", text("## Conclusion"), code("1"))
    executed = add_note(notebooks.load(source), source, {"rank": 64}, "", tmp_path)
    return executed, describe_environment(executed)


def test_a_page_tells_its_machine_system_memory_and_commit(tmp_path):
    executed, told = _noted(tmp_path)
    assert told["processor"]
    assert told["memory of the machine"].endswith(" GiB")
    assert told["operating system"] == note(executed)["hardware"]["system"]
    assert told.get("commit of vxlab", "") == commit()
    assert told["versions"].startswith("vxlab ")


def test_threads_of_the_pages_process_do_not_pose_as_the_runs(tmp_path):
    executed, told = _noted(tmp_path)
    assert note(executed)["hardware"]["threads"] >= 1
    assert not any("thread" in name for name in told)


def test_a_note_of_before_is_shown_as_far_as_it_goes():
    older = new_notebook(metadata={"vxlab": {"hardware": {"processor": "a processor", "threads": 2}}})
    assert describe_environment(older) == {"processor": "a processor"}
    assert describe_environment(new_notebook()) == {}
