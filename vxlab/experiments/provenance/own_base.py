"""Whether the base that a run started from is still the one behind its name."""

from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord
from vxlab.experiments.models import model_fingerprint


def require_own_base(record: RunRecord, fingerprint: str | None = None) -> None:
    """Raise unless the model that a run names has the weights that it trained on; of old records nothing is known.

    Args:
        record: any run.
        fingerprint: of the model that it names, where that is known.

    Raises:
        VxlabError: it has others now.
    """
    name, trained_on = record.spec["model"], record.identity.get("model")
    if trained_on is None:
        return
    if trained_on != (fingerprint or model_fingerprint(name, record.spec.get("quantisation"))):
        raise VxlabError(
            f"run {record.key[:12]} trained on another base: {name!r} has other weights now; put the model back that "
            "it was trained on, or train again"
        )
