"""Shares of the training photos: by class, nested, and a function of the seed."""

import dataclasses
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from support import write_data

from corolla.config import Config
from corolla.data.index import load_index
from corolla.data.subset import subset_index
from corolla.errors import UserError
from corolla.training.train import train


def test_every_class_keeps_its_share(tiny_data: Path) -> None:
    index = load_index(tiny_data, None)
    half = subset_index(index, 0.5, seed=0)
    assert np.bincount(half.splits["train"].label).tolist() == [4] * 5
    assert half.splits["val"] is index.splits["val"]
    assert np.bincount(subset_index(index, 0.001, seed=0).splits["train"].label).tolist() == [1] * 5
    assert subset_index(index, 1.0, seed=0) is index


@pytest.mark.parametrize("seed", [0, 1])
def test_a_larger_share_has_what_a_smaller_one_has(tiny_data: Path, seed: int) -> None:
    index = load_index(tiny_data, None)
    ids = [set(subset_index(index, share, seed).splits["train"].id.tolist()) for share in (0.1, 0.3, 0.6, 1.0)]
    assert all(small < large for small, large in itertools.pairwise(ids))
    assert ids[1] == set(subset_index(index, 0.3, seed).splits["train"].id.tolist())
    assert ids[1] != set(subset_index(index, 0.3, seed + 1).splits["train"].id.tolist())


def test_without_train_photos_it_is_told(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    shutil.rmtree(data / "tfrecords-jpeg-32x32" / "train")
    with pytest.raises(UserError, match=r"train: no \.tfrec files, but the split train is needed"):
        subset_index(load_index(data, None), 0.5, seed=0)


def test_training_sees_that_share_and_resumes_with_it(tiny_config: Config) -> None:
    config = dataclasses.replace(tiny_config, train=dataclasses.replace(tiny_config.train, share=0.5))
    run = train(config, experiment="part")
    assert run.metrics[-1]["step"] == 2 * 2  # 20 photos, 8 a step
    more = dataclasses.replace(config, resume=run.folder, run_name="copy")
    assert train(more, experiment="part").state == "done"
    assert run.environment["fingerprint"]["train"] != load_index(config.data, None).fingerprint["train"]
