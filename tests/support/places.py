"""Where the checkout and what the tests share lie."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""the checkout"""

SUPPORT = Path(__file__).parent
"""the folder of what tests share, also for the processes that they start"""
