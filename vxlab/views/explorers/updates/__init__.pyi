from .explorer import explore_updates as explore_updates
