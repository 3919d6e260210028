"""What a store says of its runs: what is lost, what would be deleted, and that nothing else ever is."""

import json
import os
import re
import shutil
import time

import pytest
import torch
from filelock import FileLock
from toy_records import IDENTITY, key_of, stored_record, toy_spec

import vxlab
from vxlab.adapters.saving.adapter_files import write_adapter
from vxlab.cli import commands as cli
from vxlab.errors import VxlabError
from vxlab.experiments.record import RunRecord
from vxlab.experiments.store import run_folder
from vxlab.experiments.store.housekeeping import delete, full_key, leftovers, problems, runs_table
from vxlab.experiments.store.schema import runs
from vxlab.experiments.store.store import Store, new_owner

KEY, OTHER = key_of(0), key_of(1)
ME = "host:1:0.0:me"


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.db") as store:
        yield store


def put(store, key=KEY, **changed):
    """Put a finished run into a store, with all its files."""
    record = stored_record(store.folder, key, **changed)
    settings = {"format": 1, "method": "lora", "settings": {}, "layers": ["a"], "base": {"dtype": "", "sha256": ""}}
    write_adapter(record.folder / "adapter", settings, {"a": torch.zeros(3)})
    record.save()
    store.finish(record, ME)
    return record


def fail(store, key, **changed):
    store.lease(key, toy_spec(**changed), IDENTITY, ME, failed_before=None)
    store.fail(key, ME, "ValueError: no", "Traceback: here")


def run(store, *arguments):
    return cli.main(["runs", *arguments, "--store", store.name])


# What is lost


def test_a_lost_folder_loses_the_adapter_alone(store):
    logits, labels = put(store).predictions()
    shutil.rmtree(store.folder_of(KEY))
    record = store.record(KEY)
    assert all(map(torch.equal, record.predictions(), (logits, labels)))
    assert record.score() == store.table()["test"].iloc[0]
    with pytest.raises(VxlabError, match=rf"run {KEY[:12]} \(LoRA r=8\): its adapter .* is not there.*\n.*fresh=True"):
        record.adapter_folder()


def test_a_predictions_file_cut_short_is_not_trusted(store):
    logits = put(store).predictions()[0].clone()
    file = store.folder_of(KEY) / "predictions.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    assert torch.equal(store.record(KEY).predictions()[0], logits)
    with pytest.raises(VxlabError, match=r"its predictions .* cannot be read"):
        RunRecord.load(store.folder_of(KEY)).predictions()


def test_what_the_store_kept_for_a_record_goes_with_it_into_another_store(store, tmp_path):
    logits, _ = put(store).predictions()
    shutil.rmtree(store.folder_of(KEY))
    with Store(tmp_path / "copy.db") as copy:
        copy.finish(store.record(KEY), ME)
        assert torch.equal(copy.predictions(KEY)[0], logits)


def test_an_adapter_in_another_runs_folder_is_not_taken_for_this_ones(store):
    record = put(store)
    (record.folder / "record.json").write_text(json.dumps(record.fields() | {"key": OTHER}))
    with pytest.raises(VxlabError, match=f"is of another run, {OTHER[:12]}"):
        store.record(KEY).adapter_folder()


def test_a_record_is_whole_only_with_its_files(store):
    folder = put(store).folder
    assert RunRecord.whole(folder, KEY) is not None
    assert RunRecord.whole(folder, OTHER) is None
    (folder / "predictions.safetensors").unlink()
    assert RunRecord.whole(folder, KEY) is None


def test_a_record_of_another_version_is_named_and_hides_no_other_run(store):
    put(store)
    put(store, OTHER)
    store._database.change(runs.c.key == KEY, record={"key": KEY, "unknown": 1})
    with pytest.raises(VxlabError, match=rf"run {KEY[:12]}: its record in .* cannot be read.*vxlab runs rm"):
        store.record(KEY)
    assert sorted(store.table()["test"].notna()) == [False, True]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: shutil.rmtree(folder), "its folder .* is gone"),
        (lambda folder: (folder / "record.json").unlink(), "record.json is missing or damaged"),
        (lambda folder: (folder / "predictions.safetensors").unlink(), "predictions.safetensors cannot be read"),
        (lambda folder: (folder / "predictions.safetensors").write_bytes(b""), "is not what the store has"),
        (lambda folder: (folder / "adapter/adapter.safetensors").write_bytes(b"other"), "is truncated or altered"),
        (lambda folder: (folder / "adapter/adapter.json").write_text("{"), "adapter.json is damaged: not JSON"),
        (lambda folder: (folder / "adapter/adapter.json").unlink(), "holds no adapter: adapter.json cannot be read"),
        (lambda folder: folder.rename(folder.with_name("0" * 16)), "has no row in the store"),
    ],
)  # fmt: skip
def test_verifying_names_what_is_not_as_it_was(store, damage, said, capsys):
    put(store)
    put(store, OTHER)
    assert list(problems(store)) == []
    assert run(store, "verify") == 0
    damage(store.folder_of(KEY))
    found = list(problems(store))
    assert {name[:16] for name, _ in found} <= {KEY[:16], "0" * 16}
    assert any(re.search(said, words) for _, words in found)
    assert run(store, "verify") == 1
    assert re.search(said, capsys.readouterr().out)


def test_a_record_of_another_training_is_seen(store):
    record = put(store)
    (record.folder / "record.json").write_text(json.dumps(record.fields() | {"train_seconds": 99.0}))
    assert [said for _, said in problems(store)] == ["record.json is of another training of it than the store's"]


# What is shown


def test_a_run_whose_process_was_killed_is_listed_as_stopped(store, capsys):
    host, pid, start, _ = new_owner().rsplit(":", 3)
    store.lease(KEY, toy_spec(), IDENTITY, new_owner(), failed_before=None)
    store.lease(OTHER, toy_spec(seed=1), IDENTITY, f"{host}:{pid}:{float(start) - 100}:ab", failed_before=None)
    assert run(store, "list") == 0
    told = capsys.readouterr().out.splitlines()
    assert {line.split()[0]: line.split()[1] for line in told[1:3]} == {KEY[:12]: "running", OTHER[:12]: "stopped"}


def test_runs_are_listed_by_what_they_are_with_their_size(store, capsys):
    put(store, spec=toy_spec(task="/data/mine/reviews"))
    put(store, OTHER, spec=toy_spec(method=vxlab.VeRA(rank=64)))
    fail(store, key_of(2), seed=7)
    assert len(runs_table(store)) == 3
    for column, value in {"task": "reviews", "method": "VeRA", "status": "failed"}.items():
        assert len(runs_table(store, **{column: value})) == 1
    assert runs_table(store, status="finished")["size"].gt(0).all()
    assert run(store, "list", "--method", "lora", "--status", "finished") == 0
    told = capsys.readouterr().out
    assert KEY[:12] in told
    assert OTHER[:12] not in told
    assert "weights" not in told
    put(store, key_of(3), identity=IDENTITY | {"model": "1c2d"})
    shutil.rmtree(store.folder_of(KEY))
    assert run(store, "list") == 0
    told = capsys.readouterr().out
    assert told.count("lost\n") == 1
    assert "minilm, weights 0a1b" in told  # of one name, and yet another model
    assert "minilm, weights 1c2d" in told
    assert run(store, "list", "--method", "dora") == 2
    assert "method='dora' is of no run" in capsys.readouterr().err


def test_a_list_of_runs_by_several_versions_says_so(store, capsys):
    put(store, versions={"torch": "2.11.0"})
    assert run(store, "list") == 0
    assert "computed alike" not in capsys.readouterr().out
    put(store, OTHER, versions={"torch": "2.13.0"})
    put(store, key_of(3))
    store._database.change(runs.c.key == key_of(3), record={"key": key_of(3), "unknown": 1})
    assert run(store, "list") == 0  # though one cannot be read
    told = "Not all of these 2 runs were computed alike: torch 2.11.0 (1 run) and 2.13.0 (1 run)."
    assert told in capsys.readouterr().out


def test_all_that_is_known_of_a_run_is_shown_by_the_first_digits_of_its_key(store, capsys):
    put(store)
    fail(store, OTHER)
    assert run(store, "show", KEY[:6]) == 0
    told = capsys.readouterr().out
    for part in (KEY, '"model": "0a1b"', "test accuracy, epoch 2", "adapter/adapter.safetensors"):
        assert part in told
    assert run(store, "show", OTHER[:6]) == 0
    assert "Traceback: here" in capsys.readouterr().out


def test_a_key_that_names_no_run_or_several_is_refused(store):
    keys = [f"{digit}{'ab' * 31}{digit}" for digit in "12"] + ["1" * 64]
    for key in keys:
        fail(store, key)
    assert full_key(store, "2") == keys[1]
    for start, said in (("", "is of no run"), ("9", "is of no run"), ("1", "begins the keys of 2 runs")):
        with pytest.raises(VxlabError, match=said):
            full_key(store, start)


def test_a_store_that_is_not_there_is_named_and_not_made(tmp_path, capsys):
    for where in (tmp_path / "none.db", tmp_path):
        assert cli.main(["runs", "list", "--store", str(where)]) == 2
        assert "is not there; name a store" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# What is deleted


def test_a_run_is_removed_with_its_folder_and_only_with_yes(store, capsys):
    put(store)
    put(store, OTHER)
    assert run(store, "rm", KEY[:8]) == 0
    assert "1 would go, " in (told := capsys.readouterr().out)
    assert "Nothing was deleted. Add --yes" in told
    assert (len(store.table()), store.folder_of(KEY).is_dir()) == (2, True)
    assert run(store, "rm", KEY[:8], "--yes") == 0
    assert list(store.table()["key"]) == [OTHER]
    assert [path.name for path in store.folder.iterdir()] == [OTHER[:16]]


def test_a_run_of_which_the_folder_is_gone_can_be_removed(store):
    put(store)
    shutil.rmtree(store.folder_of(KEY))
    store.remove(KEY)
    assert store.table().empty


def _notes(folder):
    (folder / "notes.txt").write_text("mine")


def _notes_within(folder):
    (folder / "adapter" / "README.md").write_text("mine")


def _link_within(folder):
    (folder / "checkpoints").symlink_to(folder.parent)


@pytest.mark.parametrize("lay", [_notes, _notes_within, _link_within])
def test_a_folder_that_holds_what_no_run_writes_is_left_whole(store, lay, capsys):
    folder = put(store).folder
    lay(folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(VxlabError, match=r"holds what no run writes: (notes|adapter|checkpoints)"):
        store.remove(KEY)
    assert run(store, "rm", KEY, "--yes") == 2
    assert (sorted(folder.rglob("*")), len(store.table())) == (before, 1)


def test_a_link_out_of_the_runs_folder_is_never_followed(store, tmp_path):
    folder = put(store).folder
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    with pytest.raises(VxlabError, match="is a link and no run's folder; it is left"):
        store.remove(KEY)
    with pytest.raises(VxlabError, match="is a link, and what it leads to is not deleted"):
        run_folder.clear(folder)
    assert len(list(elsewhere.iterdir())) == 3


def test_what_is_being_trained_is_never_removed(store, capsys):
    mine = new_owner()
    store.lease(KEY, toy_spec(), IDENTITY, mine, failed_before=None)
    (store.folder_of(KEY) / "checkpoints").mkdir(parents=True)
    with pytest.raises(VxlabError, match=rf"run {KEY[:12]} is being trained by process {os.getpid()} on "):
        store.remove(KEY)
    assert run(store, "rm", KEY, "--yes") == 2
    assert run(store, "prune", "--stopped", "--yes") == 0
    assert (store.folder_of(KEY) / "checkpoints").is_dir()
    store.release(mine)
    with FileLock(store.folder_of(KEY) / ".lock"), pytest.raises(VxlabError, match="a process trains in"):
        store.remove(KEY)
    store.remove(KEY)
    assert not store.folder_of(KEY).exists()


def test_a_database_that_fails_meanwhile_leaves_the_folder(store, monkeypatch):
    folder = put(store).folder

    def fails(work):
        raise VxlabError("away")

    monkeypatch.setattr(store, "require_idle", lambda key: None)
    monkeypatch.setattr(store._database, "do", fails)
    with pytest.raises(VxlabError, match="away"):
        store.remove(KEY)
    assert len(list(folder.iterdir())) == 3


def test_clearing_for_a_new_training_leaves_what_others_laid_there(store):
    folder = put(store).folder
    (folder / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    (folder / "adapter" / ".adapter-half").mkdir()
    (folder / "adapter" / ".adapter.json.0123abcd").write_text("{")
    (folder / ".record.json.0123abcd").write_text("{")
    _notes(folder)
    run_folder.clear(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    run_folder.clear(store.folder_of(OTHER))  # of which there is none


@pytest.fixture
def littered(store):
    """Return a store with a good run and one of each kind of leftover."""
    put(store)
    (store.folder_of(KEY) / "checkpoints" / "checkpoint-9").mkdir(parents=True)
    fail(store, OTHER)
    store.lease(key_of(2), toy_spec(), IDENTITY, ME, failed_before=None)
    store.release(ME)
    put(store, key_of(3))
    store.forget(key_of(3))
    (store.folder / f"{run_folder.REMOVED}{'0' * 16}-00000000" / "adapter").mkdir(parents=True)
    (store.folder / "tables").mkdir()
    (store.folder / "0123456789abcdef.bak").mkdir()


KINDS = {"failed": OTHER, "stopped": key_of(2), "orphans": ".removed-" + "0" * 7, "unlisted": key_of(3),
         "checkpoints": KEY}  # fmt: skip


def test_pruning_says_what_would_go_and_deletes_nothing(store, littered, capsys):
    before = sorted(store.folder.rglob("*"))
    assert run(store, "prune") == 0
    told = capsys.readouterr().out
    for kind, key in KINDS.items():
        assert f"{kind:<12}{key[:16]}" in told
    assert "5 would go, " in told
    assert run(store, "prune", "--yes") == 2
    assert "add some of --failed, --stopped, --orphans, --unlisted, --checkpoints" in capsys.readouterr().err
    assert (sorted(store.folder.rglob("*")), len(store.table())) == (before, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_pruning_takes_the_kind_that_is_named_and_no_other(store, littered, kind):
    assert run(store, "prune", f"--{kind}", "--yes") == 0
    assert {each.kind for each in leftovers(store)} == KINDS.keys() - {kind}
    assert store.record(KEY).adapter_folder().is_dir()
    assert (store.folder / "tables").is_dir()
    assert (store.folder / "0123456789abcdef.bak").is_dir()


def test_a_folder_without_a_row_that_changed_today_may_be_at_work(store):
    folder = store.folder / ("ab" * 8)
    (folder / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    (found,) = leftovers(store)
    assert "may be in work" in found.kept
    with pytest.raises(VxlabError, match="may be in work"):
        delete(store, found)
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (time.time() - 90_000,) * 2)
    (found,) = leftovers(store)
    delete(store, found)
    assert not folder.exists()


def test_what_a_killed_removal_left_is_an_orphan(store):
    put(store)
    store.folder_of(KEY).rename(store.folder / f"{run_folder.REMOVED}{KEY[:16]}-00000000")
    (found,) = leftovers(store)
    delete(store, found)
    assert list(store.folder.iterdir()) == []


def test_a_run_of_a_store_beside_this_one_is_left(store, tmp_path):
    put(store)
    with Store(tmp_path / "runs.sqlite") as beside:
        assert beside.folder == store.folder
        (found,) = leftovers(beside)
        assert (found.kind, found.kept) == ("unlisted", f"the store {store.name} has it")
        with pytest.raises(VxlabError, match=r"runs\.db has it"):
            delete(beside, found)


def test_a_run_that_ended_before_the_store_heard_of_it_is_left(store):
    put(store)
    store.forget(KEY)
    fail(store, KEY)
    (found,) = leftovers(store)
    assert "holds the run as it ended" in found.kept
