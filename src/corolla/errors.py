"""Errors and the exit statuses they lead to.

`UserError`: the user can fix it. `Failure`: an outside system failed. Anything else is a bug and shows its traceback.
"""

DONE, FAILED, USER_ERROR, STOPPED = 0, 1, 2, 75
"""Exit statuses: done; an outside failure, or data with faults; the user's mistake; stopped, to be resumed."""


class UserError(Exception):
    """A mistake or a fault in the user's data: shown as its message alone, without a traceback; exit status 2."""


class Failure(Exception):
    """Something outside went wrong (a server, a network, a diverging loss): its message alone; exit status 1."""

    is_consequence = False
    """True where another process has failed before, whose message counts."""
