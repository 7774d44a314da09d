"""What the user can mend, told apart from what nobody here can, and both from what we must."""


class UserError(ValueError):
    """A mistake or a fault in the user's data: shown as its message alone, without a traceback; exit status 2."""


class Failure(RuntimeError):
    """Something outside went wrong (a server, a network, a diverging loss): its message alone; exit status 1."""
