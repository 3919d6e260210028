"""The one base of the errors that vxlab raises for its users' input, and one of what it warns them of."""


class VxlabError(ValueError):
    """Report bad input in a line or two: the argument, the value, what is required and what to do.

    The command line prints such an error without a traceback.
    """


class VxlabWarning(UserWarning):
    """Warn of what the numbers would not show. The command line prints it without the line of code."""


class DataWarning(VxlabWarning):
    """Warn of what a user's data hold that their scores would not show."""
