from .explorer import explore_advice as explore_advice
