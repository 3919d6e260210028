"""The packaged task: fresh and rotten review snippets, each with the film it is about."""

from pathlib import Path

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.assets import fetch, list_assets
from vxlab.experiments.tasks.rows import Columns, Labels, Reading, Rows

_FILE = "rotten_tomatoes_corpus_full.csv.bz2"


def read_rotten_tomatoes(folder: str | Path | None = None) -> Reading:
    """Read the packaged reviews: 12,752 distinct snippets on 507 films, rotten (0) or fresh (1).

    The file's plot summaries are dropped, and of a text that occurs several times the first row is kept. The film is
    the group, so that no film is both trained on and tested on: its name and plot would give the answer away.

    Args:
        folder: a folder that holds the file; by default the packaged file is fetched into the cache.

    Raises:
        VxlabError: the file is not in ``folder``, cannot be fetched, or is damaged.
    """
    path = (Path(folder).expanduser() if folder else fetch("rotten_tomatoes")) / _FILE
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, EOFError, ValueError) as error:
        raise VxlabError(f"{path}: not readable ({error}); remove it, and it is fetched anew") from error
    frame = frame.set_axis(range(1, len(frame) + 1))
    reviews = frame[frame["category"] != "plot"].drop_duplicates("text")
    listed = list_assets()["rotten_tomatoes"]
    return Reading(
        {"train": Rows(reviews, _FILE)},
        Columns(("text",), "category", "movie_name"),
        listed.source,
        citation=listed.citation,
        labels=Labels(("rotten", "fresh")),
        metrics=("accuracy", "f1"),
        published=True,
        unit="films",
    )
