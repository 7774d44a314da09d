"""Many runs from one file, and what they show; call it as `corolla.study(...)`."""

from corolla.stage import make_callable

make_callable(__name__)
