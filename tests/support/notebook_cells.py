"""What notebooks make in cells of their own: their settings, methods and variants."""

from typing import Any

import nbformat

from vxlab.paths import shipped_path
from vxlab.studies.start_and_parts.variants import Variant


def run_cell(notebook: str, marker: str, **names: Any) -> dict[str, Any]:
    """Run a notebook's imports and the one cell that holds a text, with these parameters, and return all names."""
    cells = nbformat.read(shipped_path("notebooks", f"{notebook}.ipynb"), as_version=4).cells
    (made,) = [cell.source for cell in cells if cell.cell_type == "code" and marker in cell.source]
    imports = next(cell.source for cell in cells if "\nimport vxlab\n" in cell.source)
    exec(imports, names)
    exec(made, names)
    return names


def notebook_variants(vera_rank: int, lora_xs_rank: int) -> list[Variant]:
    """Return the variants that notebook 06 compares, at these ranks."""
    ranks = {"vera_rank": vera_rank, "lora_xs_rank": lora_xs_rank}
    variants: list[Variant] = run_cell("06_start_and_parts", "variants = [", scale="smoke", **ranks)["variants"]
    return variants
