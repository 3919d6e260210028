"""Small models of torch alone, with names and parts that adapters of the peft library meet in the wild."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def inputs_of_ten() -> Tensor:
    """Return five rows of ten numbers, always the same."""
    return torch.randn(5, 10, generator=torch.Generator().manual_seed(7))


class Layers(nn.Sequential):
    """Named modules, one after another, with the same weights every time."""

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for name, module in modules.items():
                for parameter in module.parameters():
                    nn.init.normal_(parameter, std=0.3)
                self.add_module(name, module)


def perceptron() -> nn.Module:
    """Return three linear layers of different shapes."""
    return Layers(lin0=nn.Linear(10, 20), relu=nn.ReLU(), lin1=nn.Linear(20, 16), lin2=nn.Linear(16, 2))


def normalised() -> nn.Module:
    """Return layers around a batch norm, whose statistics move while it trains."""
    return Layers(lin0=nn.Linear(10, 20), norm=nn.BatchNorm1d(20), lin1=nn.Linear(20, 2))


def named(names: Mapping[str, tuple[int, int]]) -> nn.Module:
    """Return linear layers under these names."""
    return Layers(**{name: nn.Linear(rows, columns) for name, (rows, columns) in names.items()})


class Tree(nn.Module):
    """Linear layers of one size under dotted names, for what goes by names alone."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            above: nn.Module = self
            *parents, last = name.split(".")
            for part in parents:
                if part not in dict(above.named_children()):
                    above.add_module(part, nn.Module())
                above = above.get_submodule(part)
            above.add_module(last, nn.Linear(4, 4))
