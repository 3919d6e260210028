"""Each layer of two runs against chance: their cosine beside those after random rotations."""

import pandas as pd

from vxlab.analysis import rotation_test
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord
from vxlab.experiments.runs import blocks_and_roles, require_same_base, trained_updates
from vxlab.experiments.scoring import holm


def rotation_table(
    first: RunRecord, second: RunRecord, *, role: str | None = None, samples: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Test each layer's cosine of two runs against rotations of the second update, with Holm's correction over layers.

    Args:
        first: a finished run of an adapter.
        second: another on the same base and layers; its updates are the ones that are rotated.
        role: of the layers, such as ``query``; None takes all.
        samples: rotations for each layer, at least; 40 for each tested layer where that is more. No p is below
            1/(samples + 1), and Holm's smallest is layers times that, so fewer could never tell a layer from chance.
        seed: of the rotations.

    Returns:
        One row a layer: ``layer, block, role, cosine, low, high`` (the middle 95 % of chance), ``p, p_holm``.

    Raises:
        VxlabError: the runs differ in their base, no layer has the role, or the runs do not share their layers.
    """
    require_same_base(first, second)
    ours, theirs = trained_updates(first), trained_updates(second)
    places = blocks_and_roles(ours)
    layers = [layer for layer, (_, own) in places.items() if role is None or own == role]
    if not layers or not theirs.keys() >= set(layers):
        roles = sorted({own for _, own in places.values()})
        raise VxlabError(f"role={role!r} names no layer that both runs adapt; the first has {', '.join(roles)}")
    samples, rows = max(samples, 40 * len(layers)), []
    for layer in layers:
        block, own = places[layer]
        found = rotation_test(ours[layer], theirs[layer], samples=samples, seed=seed)
        rows.append({"layer": layer, "block": block, "role": own, **found._asdict()})
    tested = pd.DataFrame(rows, columns=["layer", "block", "role", "cosine", "low", "high", "p"])
    return tested.assign(p_holm=holm(list(tested["p"])))
