"""Contact sheets of data, of its augmentation and of test-time views; call it as `corolla.show(...)`."""

from corolla.stage import make_callable

make_callable(__name__)
