from .explorer import explore_rank as explore_rank
