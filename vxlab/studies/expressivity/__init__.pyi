from .claims import equal_parameters as equal_parameters
from .claims import error_summary as error_summary
from .claims import figure_6_claims as figure_6_claims
from .claims import real_findings as real_findings
from .fits import random_errors as random_errors
from .fits import run_errors as run_errors
