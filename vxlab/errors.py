"""The one base of the errors that vxlab raises for its users' input."""


class VxlabError(ValueError):
    """Report bad input in a line or two: the argument, the value, what is required and what to do.

    The command line prints such an error without a traceback.
    """
