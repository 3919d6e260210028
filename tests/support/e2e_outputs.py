"""The E2E challenge's baseline outputs with their references, where they lie beside the checkout."""

import pytest
from places import ROOT

FOLDER = ROOT.parent / "shared" / "data" / "e2e_metrics"
here = pytest.mark.skipif(not FOLDER.is_dir(), reason="no outputs of the E2E challenge in ../shared/data/e2e_metrics")


def read_outputs(split: str) -> tuple[list[str], list[list[str]]]:
    """Return the texts and the references of ``dev`` or ``test``."""
    texts = (FOLDER / f"{split}.sys.txt").read_text(encoding="utf-8").splitlines()
    blocks = (FOLDER / f"{split}.ref.txt").read_text(encoding="utf-8").strip("\n").split("\n\n")
    return texts, [block.splitlines() for block in blocks]
