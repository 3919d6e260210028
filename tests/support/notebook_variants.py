"""The variants that notebook 06 compares, made by its own cell."""

import nbformat

from vxlab.paths import shipped_path
from vxlab.studies.start_and_parts.variants import UNCHANGED, Variant


def notebook_variants(vera_rank: int, lora_xs_rank: int) -> list[Variant]:
    """Run the cell in which notebook 06 makes its variants, at these ranks, with the imports before it."""
    cells = nbformat.read(shipped_path("notebooks", "06_start_and_parts.ipynb"), as_version=4).cells
    (made,) = [cell.source for cell in cells if cell.source.count("Variant(UNCHANGED, ") == 2]
    names = {"scale": "smoke", "vera_rank": vera_rank, "lora_xs_rank": lora_xs_rank}
    exec("from dataclasses import replace\nimport vxlab\nfrom vxlab.studies.scales import study_settings", names)
    names |= {"UNCHANGED": UNCHANGED, "Variant": Variant}
    exec(made, names)
    return names["variants"]
