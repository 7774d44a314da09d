"""Is a checkpoint of the data that lie here? Told without torch."""

from pathlib import Path
from typing import Any

from corolla.data.index import Index
from corolla.errors import UserError


def train_fingerprint(index: Index) -> dict[str, str]:
    """Return the fingerprints of the splits that training looks at."""
    return {name: split for name, split in index.fingerprint.items() if name in ("train", "val")}


def check_same_data(content: dict[str, Any], index: Index, path: Path) -> None:
    """Check that the checkpoint at `path` was trained with the data of `index`, wherever that lay.

    Raises:
        UserError: it was not.
    """
    if tuple(content["class_names"]) != index.class_names:
        raise UserError(f"{index.folder}: its classes (classes.txt) are not those that {path} was trained for")
    for split, fingerprint in train_fingerprint(index).items():
        if content["fingerprint"].get(split) != fingerprint:
            raise UserError(
                f"{index.folder}: its {split} images are not those that {path} was trained with; give the same data "
                "with --data, or start a new run from its weights with --model.weights"
            )
