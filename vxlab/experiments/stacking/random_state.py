"""The random numbers of a run that takes turns with others: of the processor, and of the GPU where it trains on one."""

from typing import NamedTuple

import torch
from torch import Tensor


class RandomState(NamedTuple):
    """The states of torch's global generators."""

    processor: Tensor
    gpu: Tensor | None

    @classmethod
    def now(cls, device: torch.device) -> "RandomState":
        """Return the states as they are."""
        gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(torch.get_rng_state(), gpu)

    def holds(self, device: torch.device) -> bool:
        """Tell whether nobody has drawn from the global generators since."""
        now = RandomState.now(device)
        return all(
            torch.equal(one, two) for one, two in zip(self, now, strict=True) if one is not None and two is not None
        )

    def restore(self, device: torch.device) -> None:
        """Make the global generators go on from here."""
        torch.set_rng_state(self.processor)
        if self.gpu is not None:
            torch.cuda.set_rng_state(self.gpu, device)

    def generator(self, device: torch.device) -> torch.Generator:
        """Return a generator of the device's numbers in this state."""
        generator = torch.Generator(device if self.gpu is not None else "cpu")
        generator.set_state(self.processor if self.gpu is None else self.gpu)
        return generator

    def moved(self, generator: torch.Generator) -> "RandomState":
        """Return the states after a generator of :meth:`generator` has drawn."""
        drawn = generator.get_state()
        return self._replace(processor=drawn) if self.gpu is None else self._replace(gpu=drawn)
