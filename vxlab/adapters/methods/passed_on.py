"""Methods of a user's own in the processes that are started here: kernels of notebooks, and what they start."""

import json
import os

from vxlab.adapters.methods.by_name import own_homes
from vxlab.adapters.methods.own_home import import_home
from vxlab.errors import VxlabError

PASSED_ON = "VXLAB_IMPORT"
"""The environment variable by which vxlab tells a process that it starts what to import."""


def environment() -> dict[str, str]:
    """Return the variables by which another process registers the methods of a user's that are registered here."""
    homes = own_homes()
    return {PASSED_ON: json.dumps(homes)} if homes else {}


def import_passed_on() -> None:
    """Import the modules that the process which started this one passed on.

    Raises:
        VxlabError: one of them raises.
    """
    for name, folder in json.loads(os.environ[PASSED_ON]):
        try:
            import_home((name, folder))
        except Exception as error:  # whatever it raises, it is the user's own module that does
            raise VxlabError(f"import of {name!r} failed: {type(error).__name__}: {error}") from error
