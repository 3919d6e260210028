"""Transformer blocks that are one layer each."""

import torch
from torch import nn


class Blocks(nn.Module):
    """Blocks of one square layer, of any number."""

    def __init__(self, blocks, width=4):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.ModuleList(nn.ModuleDict({"query": nn.Linear(width, width)}) for _ in range(blocks))
