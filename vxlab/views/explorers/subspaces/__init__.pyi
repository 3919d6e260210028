from .explorer import explore_subspaces as explore_subspaces
