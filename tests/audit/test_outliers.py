"""Photos that stand out are named with every reason; class imbalance is measured."""

from pathlib import Path

import cv2
import numpy as np
from support import textured, to_jpeg, write_photos

from corolla.audit.outliers import class_balance, find_outliers
from corolla.data.index import load_index
from corolla.data.survey import survey


def test_outliers_and_imbalance(tmp_path: Path) -> None:
    grey = np.repeat(textured(1)[:, :, :1], 3, 2)
    unusual = [textured(2)[:40], cv2.resize(textured(3), (24, 24)), grey, np.full((64, 64, 3), 5, np.uint8)]
    train = [textured(9), *unusual]
    splits = {
        "train": [*((to_jpeg(np.asarray(image)), 0) for image in train), (to_jpeg(textured(8)), 1)],
        "val": [(to_jpeg(textured(7)), 1)],
    }
    photos = survey(load_index(write_photos(tmp_path, splits), None), ("train", "val", "test"))
    reasons = {outlier.photo: outlier.reasons for outlier in find_outliers(photos)}
    assert reasons == {1: ("not square",), 2: ("tiny",), 3: ("grey",), 4: ("nearly constant", "very dark")}
    found = class_balance(photos)
    assert found.ratio == 5
    assert found.few == [0, 1]
    assert found.val_shares.tolist() == [0, 0.5]
    assert found.divergence > 0
