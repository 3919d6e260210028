"""A batch like most of a run's, to time a step by."""

from torch import Tensor

from vxlab.experiments.runs import Job, Materials


def typical_batch(job: Job, materials: Materials, size: int | None = None) -> dict[str, Tensor]:
    """Return a batch of the training rows in the middle of the order of length, on the run's device.

    Args:
        job: the run.
        materials: where its rows are.
        size: rows; None takes the run's own.
    """
    rows, count = materials.splits(job.spec)["train"], size or job.spec.batch_size
    order = sorted(range(len(rows)), key=rows["length"].__getitem__)
    middle = max(0, (len(order) - count) // 2)
    wanted = rows.select(order[middle : middle + count]).remove_columns(["length", "row"])
    batch = materials.collate(job.spec)(wanted.to_list())
    return {name: tensor.to(job.device) for name, tensor in batch.items()}
