"""What the user can mend, told apart from what we must."""


class UserError(ValueError):
    """A mistake or a fault in the user's data: shown as its message alone, without a traceback; exit status 2."""
