"""The predictions of several runs as labels; call it as `corolla.ensemble(...)`."""

from corolla.stage import make_callable

make_callable(__name__)
