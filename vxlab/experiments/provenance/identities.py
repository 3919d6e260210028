"""What tells apart runs of one name: the weights and the data behind the names, and what computed the numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_DIGITS = 12
_OWN_COLUMN = ("model", "task", "precision")
_OF_ALL = (
    "model", "task", "precision", "vxlab", "loading", "processes", "chat_template", "bitsandbytes", "torchao",
)  # fmt: skip
"""Parts of an identity that every run has, whatever its method; others are what its own numbers depend on."""


def identity_columns(identity: Mapping[str, str]) -> dict[str, str]:
    """Return a run's identity as columns of a table: ``weights``, ``data`` and ``versions``, "" where not known.

    The first two are the first digits of fingerprints of what the names of model and task stood for; how the model was
    quantised as it was loaded is a setting of the run.

    >>> identity_columns({"model": "0a1b", "task": "2c3d accuracy", "precision": "float32", "vxlab": "1.0"})
    {'weights': '0a1b', 'data': '2c3d', 'versions': 'vxlab 1.0'}
    """
    versions = list_versions(versions_of(identity))
    weights = weights_of(identity).partition(" ")[0]
    return {"weights": weights, "data": data_of(identity)[:_DIGITS], "versions": versions}


def base_in_words(spec: Mapping[Any, Any]) -> str:
    """Return what a run's base is called, and how it was quantised as it was loaded.

    Args:
        spec: the run's, or its row of the store's table.

    >>> base_in_words({"model": "smollm2", "quantisation": "nf4"}), base_in_words({"model": "/models/own"})
    ('smollm2 in nf4', 'own')
    """
    scheme = spec.get("quantisation")  # a row of a table has NA for none
    return " in ".join([Path(str(spec.get("model", "unknown"))).name, *([scheme] if isinstance(scheme, str) else [])])


def weights_of(identity: Mapping[str, str]) -> str:
    """Return the first digits of the fingerprint of a run's base, and how that was quantised; "" where not known.

    >>> weights_of({"model": "0123456789abcdef nf4"}), weights_of({})
    ('0123456789ab in nf4', '')
    """
    content, _, scheme = identity.get("model", "").partition(" ")
    return " in ".join(filter(None, [content[:_DIGITS], scheme]))


def data_of(identity: Mapping[str, str]) -> str:
    """Return the fingerprint of a run's rows, "" where it is not known; its metrics stand behind it."""
    return identity.get("task", "").partition(" ")[0]


def versions_of(identity: Mapping[str, str]) -> dict[str, str]:
    """Return what computed a run beside model, task and precision: vxlab's version, and libraries' of its method."""
    names = sorted(identity.keys() - set(_OWN_COLUMN), key=lambda name: (name != "vxlab", name))
    return {name: str(identity[name])[:_DIGITS] for name in names}


def shared_identity(identity: Mapping[str, str]) -> dict[str, str]:
    """Return the part of a run's identity in which runs of all methods can be alike."""
    return {name: identity[name] for name in _OF_ALL if name in identity}


def shared_versions(identity: Mapping[str, str]) -> dict[str, str]:
    """Return of a run's versions those that do not depend on its method."""
    return {name: value for name, value in versions_of(identity).items() if name in _OF_ALL}


def own_identity(identity: Mapping[str, str]) -> dict[str, str]:
    """Return the part of a run's identity that is its method's own, such as the version of a library."""
    return {name: value for name, value in versions_of(identity).items() if name not in _OF_ALL}


def name_weights_and_data(table: "pd.DataFrame") -> "pd.Series[str]":
    """Return for each run the weights and the data in which runs of its base's and task's names differ; "" for none.

    A task's data have another fingerprint at another number of training examples. So data tell runs apart where runs
    with the same number differ in them: a name then stands for several.

    Args:
        table: the store's, or rows of it.

    >>> import pandas as pd
    >>> runs = pd.DataFrame({"task": "sst2", "model": "minilm", "quantisation": None, "train_examples": 10,
    ...                      "data": "2c3d", "weights": ["0a", "0a", "1b"]})
    >>> list(name_weights_and_data(runs))
    ['weights 0a', 'weights 0a', 'weights 1b']
    """
    import pandas as pd

    told: dict[Any, str] = {}
    for _, own in table.groupby(["task", "model", "quantisation"], sort=False, dropna=False):
        several = {
            "weights": own["weights"].nunique() > 1,
            "data": own.groupby("train_examples", dropna=False)["data"].nunique().max() > 1,
        }
        parts = [part for part, differs in several.items() if differs]
        words = map(list_versions, own[parts].replace("", "unknown").to_dict("records"))
        told |= dict(zip(own.index, words, strict=True))
    return pd.Series([told[each] for each in table.index], index=table.index, dtype=object)


def list_versions(versions: Mapping[Any, str]) -> str:
    """Return names with their versions, or what else stands behind them, in a row."""
    return ", ".join(f"{name} {value}" for name, value in versions.items())
