from . import notebooks as notebooks
from . import parameters as parameters
from . import provenance as provenance
from .headline import PLOTLY as PLOTLY
from .jupyterlab import lab as lab
from .make_report import report as report
from .make_report import report_each as report_each
from .run_facts import what_made as what_made
