"""Runs against each other: what may be said of their recipes; call it as `corolla.compare(...)`."""

from corolla.stage import make_callable

make_callable(__name__)
