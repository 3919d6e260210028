"""What the subspace explorer says of a band, in sentences."""

import numpy as np
import pandas as pd

from vxlab.studies.subspaces import SIDES


def energy_words(mean: "pd.Series[float]", update: str) -> list[str]:
    """Say which share of W's and of the update's energy a band holds, and what chance would put there.

    Args:
        mean: the columns of ``band_energies``, means over the chosen layers.
        update: whose ΔW.
    """
    if np.isnan(mean["both"]):
        return [f"The update of {update} is zero here: there is nothing to find in the band."]
    held = f"The band holds {mean['weight']:.1%} of W's energy ‖W‖² and {mean['both']:.1%} of the update's"
    outputs = f"{mean['output']:.1%} of the update's outputs lie in the band (chance {mean['chance_output']:.1%})"
    inputs = f"{mean['input']:.1%} of its inputs (chance {mean['chance_input']:.1%})"
    return [
        f"{held}, {mean['both'] / mean['chance_both']:.2g} times what chance puts into it.",
        f"Side by side: {outputs}, {inputs}.",
    ]


def angle_words(angles: pd.DataFrame) -> list[str]:
    """Say how near the update's strongest directions come to a band, beside chance.

    Args:
        angles: ``degrees`` and ``chance`` by ``side`` and ``number``.
    """
    if angles.empty:
        return []
    first = angles.xs(1, level="number")
    told = [
        f"{row.degrees:.0f}° at the {side}s (chance {row.chance:.0f}°)" for side, row in first.loc[[*SIDES]].iterrows()
    ]
    return [f"Smallest angle of the update's strongest directions to the band: {', '.join(told)}."]
