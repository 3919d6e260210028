from .claims import parts_claims as parts_claims
from .claims import parts_table as parts_table
from .claims import published_differences as published_differences
from .claims import told_apart_sentence as told_apart_sentence
from .variants import UNCHANGED as UNCHANGED
from .variants import Variant as Variant
from .variants import parts_sweep as parts_sweep
