"""What a probe chose, in words."""

from vxlab.experiments import RunRecord
from vxlab.experiments.scoring import in_words

POOLINGS = {
    "mean": "mean over tokens",
    "first": "first token",
    "last": "last token",
    "pooler": "the model's own pooled output",
}
"""How the states of a text's tokens may become one vector, and that in words."""


def choice_in_words(record: RunRecord) -> str:
    """Say what a probe's run chose, and by what; "" of another run.

    Such as: mean over tokens (validation accuracy 0.744; first token 0.708), C = 0.001 by 5-fold cross-validation.
    """
    if not (chosen := record.probe):
        return ""
    scores = {POOLINGS[name]: f"{score:.3f}" for name, score in chosen["validation"].items()}
    pooling = POOLINGS[chosen["pooling"]]
    told = [f"validation {in_words(record.task['metrics'][0])} {scores.pop(pooling)}", *map(" ".join, scores.items())]
    by = f"{chosen['folds']}-fold cross-validation" if chosen["folds"] else "validation"
    name = "α" if record.task["num_labels"] == 1 else "C"
    edge = ", on the edge of those tried" if chosen["edge"] else ""
    return f"{pooling} ({'; '.join(told)}), {name} = {chosen['strength']:g} by {by}{edge}"
