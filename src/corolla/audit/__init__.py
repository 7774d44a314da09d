"""Duplicates, likely label errors, outliers and class imbalance of a data folder; call it as `corolla.audit(...)`."""

from corolla.stage import make_callable

make_callable(__name__)
