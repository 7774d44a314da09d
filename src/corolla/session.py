"""Tell in which kind of session this process runs."""

import os
from collections.abc import Mapping


def in_kaggle(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this is a session on Kaggle."""
    return bool(environ.get("KAGGLE_KERNEL_RUN_TYPE"))
