from .faces import explore_sweep as explore_sweep
