"""Files that a reader asks for from a notebook: tables as CSV, figures as PNG or SVG."""

import re
from datetime import datetime
from pathlib import Path
from typing import Literal

import pandas as pd
import plotly.graph_objects as go

from vxlab.errors import VxlabError
from vxlab.experiments.store import write
from vxlab.files import write_whole
from vxlab.paths import reports_folder
from vxlab.views.export.image import draw_image

_WIDTH, _SCALE = 1000, 2


def export_table(table: pd.DataFrame, name: str) -> Path:
    """Write a table as CSV into ``exports/`` of the reports' folder, whole or not at all, and return where it is.

    Args:
        table: what is written.
        name: what it is of; the time is added, so that no earlier file is lost.

    Raises:
        VxlabError: the file cannot be written.
    """
    return write(table, _new(name, "csv"))


def export_figure(figure: go.Figure, name: str, kind: Literal["png", "svg"]) -> Path:
    """Draw a figure as PNG (2,000 pixels wide) or SVG beside the tables, and return where it is. Takes seconds.

    Args:
        figure: drawn for a light page.
        name: as :func:`export_table` takes it.
        kind: the format.

    Raises:
        VxlabError: there is no Chromium or Chrome to draw it, or the file cannot be written.
    """
    path = _new(name, kind)
    image = draw_image(figure.to_dict(), kind, _WIDTH, _SCALE)
    try:
        with write_whole(path) as new:
            new.write_bytes(image)
    except OSError as error:
        raise VxlabError(f"path={str(path)!r} cannot be written: {error.strerror or error}") from error
    return path


def _new(name: str, suffix: str) -> Path:
    slug = re.sub(r"[^\w.=-]+", "-", name).strip("-")
    return reports_folder() / "exports" / f"{slug}-{datetime.now():%Y%m%d-%H%M%S}.{suffix}"
