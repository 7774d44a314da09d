"""The photos of train and val put together anew, as a run is to learn from them and to be validated."""

import dataclasses

import numpy as np

from corolla.data.index import Index, Split, split_of


def with_all_labelled(index: Index) -> Index:
    """Return the index with the photos of train and val as train, and without a val, on which no score is claimed then.

    Raises:
        UserError: the data has no train or no val split.
    """
    return regrouped(index, {"train": joined(index)})


def joined(index: Index) -> Split:
    """Return the photos of train and then val as one split, which is called train.

    Raises:
        UserError: the data has no train or no val split.
    """
    train, val = split_of(index, "train"), split_of(index, "val")
    columns = {
        field.name: np.concatenate([getattr(train, field.name), getattr(val, field.name)])
        for field in dataclasses.fields(Split)
        if isinstance(getattr(train, field.name), np.ndarray)
    }
    columns["file"] = np.concatenate([train.file, val.file + len(train.files)])
    return dataclasses.replace(train, files=(*train.files, *val.files), **columns)


def regrouped(index: Index, splits: dict[str, Split]) -> Index:
    """Return the index with these splits in place of train and val, whose own fingerprints it keeps."""
    others = {name: split for name, split in index.splits.items() if name not in ("train", "val")}
    own = {f"{name} of the folder": index.fingerprint[name] for name in ("train", "val")}
    return dataclasses.replace(index, splits={**splits, **others}, of_folder=own)
