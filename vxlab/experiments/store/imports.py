"""The adapters of a store that were trained elsewhere: folders apart from the runs', each with its record."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from vxlab.adapters.saving import SETTINGS_FILE
from vxlab.experiments import ADAPTER_FOLDER, IMPORTED, RunRecord, layers, method_label, rank_of
from vxlab.experiments.provenance import identity_columns
from vxlab.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

_RECORD = "imported.json"
"""Not what a run's record is called, so that nothing takes the folder for a run's."""

_COLUMNS = {
    "key": "string", "status": "string", "adapter": "string", "model": "string", "weights": "string",
    "method": "string", "label": "string", "rank": "Int64", "targets": "string", "layers": "Int64",
    "backbone": "Int64", "head": "Int64", "bytes_stored": "Int64", "imported_at": "string", "folder": "string",
}  # fmt: skip


class ImportedAdapters:
    """The imported adapters of a store.

    They are in no table of runs, so that nothing that counts, compares or tunes runs can meet them.

    Args:
        runs: the folder of the store's runs, in which they have one of their own.
    """

    def __init__(self, runs: Path) -> None:
        self.folder = runs / "imported"

    def folder_of(self, key: str) -> Path:
        """Return the folder of an adapter and its record."""
        return self.folder / key[:16]

    def keep(self, record: RunRecord) -> None:
        """Write the record of an adapter that is in its folder already."""
        with write_whole(record.folder / _RECORD) as new:
            new.write_text(json.dumps(record.fields(), indent=1) + "\n", encoding="utf-8")

    def record(self, key: str) -> RunRecord | None:
        """Return the record with a key, None where there is none or its adapter is gone."""
        return self._whole(self.folder_of(key), key)

    def records(self) -> list[RunRecord]:
        """Return the records of all that are whole, sorted by what they are called."""
        folders = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        found = [record for folder in folders if (record := self._whole(folder)) is not None]
        return sorted(found, key=lambda record: (str(record.spec.get("adapter")), record.key))

    def table(self) -> "pd.DataFrame":
        """Return one row an adapter.

        Columns: ``key, status`` (imported), ``adapter`` (its folder's name), ``model, weights`` (the first digits of
        the base's fingerprint), ``method, label, rank, targets, layers`` (how many), ``backbone, head`` (trained
        parameters), ``bytes_stored, imported_at, folder``.
        """
        import pandas as pd

        rows = [
            {
                "key": record.key, "status": record.status, "adapter": record.spec["adapter"],
                "model": record.spec["model"], "weights": identity_columns(record.identity)["weights"],
                "method": record.spec["method"]["name"], "label": method_label(record.spec["method"]),
                "rank": rank_of(record.spec["method"]),
                "targets": layers(record.spec["method"], record.spec["targets"]), "layers": record.layers,
                "backbone": record.parameters["backbone"], "head": record.parameters["head"],
                "bytes_stored": record.bytes_stored, "imported_at": record.finished_at, "folder": str(record.folder),
            }
            for record in self.records()
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)

    def remove(self, key: str) -> None:
        """Delete an adapter and its record, which come from elsewhere and can be imported again."""
        if self.record(key) is not None:
            shutil.rmtree(self.folder_of(key))

    @staticmethod
    def _whole(folder: Path, key: str | None = None) -> RunRecord | None:
        try:
            fields = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        record = RunRecord.read(fields, folder)
        if record is None or record.status != IMPORTED or (key is not None and record.key != key):
            return None
        return record if (folder / ADAPTER_FOLDER / SETTINGS_FILE).is_file() else None
