"""A bank's bytes are its files', times are of banks that were written, and nothing is left behind."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from architectures import ARCHITECTURES

import vxlab
from vxlab.studies.many import bank_growth


def grow(folder: Path, sizes: tuple[int, ...], most_bytes: float = 1e9) -> pd.DataFrame:
    model = ARCHITECTURES["bert"]()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    table = bank_growth(
        model, [vxlab.LoRAXS(rank=2), vxlab.VeRA(rank=3)], "query-value", sizes,
        folder=folder, most_bytes=most_bytes, progress=False,
    )  # fmt: skip
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert list(model.state_dict()) == list(before)
    return table


def test_numbers_are_counted_and_files_weighed(tmp_path: Path) -> None:
    table = grow(tmp_path, (70, 10))
    assert table["adapters"].tolist() == [10, 70, 10, 70]
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.LoRAXS(rank=2))
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    assert table["parameters"].iloc[0] == trained
    assert (table["own_bytes"] == 4 * table["parameters"] * table["adapters"]).all()
    assert (table["file_bytes"] > table["own_bytes"]).all()
    assert (table["folder_bytes"] > table["own_bytes"]).all()
    assert table["copy_bytes"].iloc[0] == 40 * sum(each.numel() for each in ARCHITECTURES["bert"]().parameters())
    for column in ("open_seconds", "row_seconds", "batch_seconds", "file_seconds", "added"):
        assert (table[column] > 0).all()
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_told_in_proportion_and_not_timed(tmp_path: Path) -> None:
    fits = grow(tmp_path, (10,)).iloc[0]
    table = grow(tmp_path, (10, 1000), most_bytes=2 * fits["own_bytes"])
    own = table[table["candidate"] == "LoRA-XS r=2"]
    assert own["written"].tolist() == [True, False]
    assert own["file_bytes"].iloc[1] == pytest.approx(100 * own["file_bytes"].iloc[0])
    assert own[["open_seconds", "row_seconds", "added"]].iloc[1].isna().all()


def test_a_bank_that_fits_at_no_size_is_its_numbers(tmp_path: Path) -> None:
    table = grow(tmp_path, (10,), most_bytes=1)
    assert not table["written"].any()
    assert (table["file_bytes"] == table["own_bytes"]).all()
    assert list(tmp_path.iterdir()) == []
