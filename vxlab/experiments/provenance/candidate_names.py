"""What runs beside one another are called: by their method, and by what tells them from others of its name."""

import json
from collections.abc import Sequence
from typing import Any

from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, method_label, tell_apart
from vxlab.experiments.provenance.identities import identity_columns, versions_of

_NO_SETTING = ("seed", "method", "device", "task_folder")
"""Fields of a spec that make no other candidate: a seed is luck, and where a run happened is no setting."""


def name_candidates(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return by key what each run's candidate is called, which other seeds of it share.

    Runs with other settings are other candidates, and so are those on other weights or data, at another precision or by
    other versions of what computes the numbers.

    Args:
        records: each once.

    Raises:
        VxlabError: two runs are of one candidate and one seed, so that nothing of what is known tells them apart.
    """
    labels = {record.key: method_label(record.spec["method"]) for record in records}
    settings = {record.key: _settings(record) for record in records}
    names: dict[str, str] = {}
    for key, label in labels.items():
        apart = tell_apart(settings[other] for other in labels if labels[other] == label)
        names[key] = ", ".join([label, *(f"{name}={settings[key].get(name)}" for name in apart)])
    _require_once(records, names)
    return names


def _settings(record: RunRecord) -> dict[str, str]:
    """Return all that makes a run's candidate, as texts."""
    spec, behind = record.spec, identity_columns(record.identity)
    own = {name: value for name, value in spec.items() if name not in _NO_SETTING}
    own |= {name: value for name, value in spec["method"].items() if name != "name"}
    asked = str(spec.get("precision", "auto"))
    own["precision"] = f"auto ({record.precision})" if asked == "auto" else asked
    own |= {name: behind[name] for name in ("weights", "data")}
    for name, version in versions_of(record.identity).items():
        own[f"{name}'s content" if name in own else name] = version  # a chat template's, whose file has a name, too
    return {name: _text(value) for name, value in own.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _require_once(records: Sequence[RunRecord], names: dict[str, str]) -> None:
    seen: dict[tuple[str, Any], RunRecord] = {}
    for record in records:
        name, seed = names[record.key], record.spec.get("seed")
        if (first := seen.setdefault((name, seed), record)) is not record:
            raise VxlabError(
                f"runs {first.key[:12]} and {record.key[:12]} are both {name} with seed {seed}; give each candidate "
                "one run a seed"
            )
