"""Tensor mathematics on weights, updates and gradients, in float64; a module loads when one of its names is used."""

from typing import TYPE_CHECKING

from vxlab.lazy_names import offer_lazily

if TYPE_CHECKING:
    from vxlab.analysis.bands import band, band_rank, cut_band
    from vxlab.analysis.capture import (
        best_capture,
        captured_share,
        lora_capture,
        project,
        vera_capture,
    )
    from vxlab.analysis.chance import bootstrap_interval, rotate, rotation_test
    from vxlab.analysis.cka import linear_cka
    from vxlab.analysis.fitting import fit_lidb, fit_lora, fit_lora_xs
    from vxlab.analysis.fitting_vera import fit_vera
    from vxlab.analysis.intruders import chance_similarity, intruder_dimensions
    from vxlab.analysis.similarity import chance_cosine, column_overlap, cosines, row_overlap
    from vxlab.analysis.spectrum import condition_number, effective_rank, energy, rank_for_energy, stable_rank
    from vxlab.analysis.subspaces import (
        chance_energy_inside,
        chance_overlap,
        energy_inside,
        overlap,
        overlap_grid,
        principal_angles,
    )
    from vxlab.analysis.update import FullUpdate, Update

__all__ = [
    "FullUpdate",
    "Update",
    "band",
    "band_rank",
    "best_capture",
    "bootstrap_interval",
    "captured_share",
    "chance_cosine",
    "chance_energy_inside",
    "chance_overlap",
    "chance_similarity",
    "column_overlap",
    "condition_number",
    "cosines",
    "cut_band",
    "effective_rank",
    "energy",
    "energy_inside",
    "fit_lidb",
    "fit_lora",
    "fit_lora_xs",
    "fit_vera",
    "intruder_dimensions",
    "linear_cka",
    "lora_capture",
    "overlap",
    "overlap_grid",
    "principal_angles",
    "project",
    "rank_for_energy",
    "rotate",
    "rotation_test",
    "row_overlap",
    "stable_rank",
    "vera_capture",
]

__getattr__, __dir__ = offer_lazily(__name__, __file__)
