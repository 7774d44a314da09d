"""Contact sheets: every class is there, named, legible in size, for labelled and unlabelled splits."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import break_first_jpeg, changed

from corolla.config import Config
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import load_index
from corolla.data.subset import subset_index
from corolla.data.transforms.train import TrainTransform
from corolla.errors import UserError
from corolla.plots.contact_sheet import GAP, MIN_CELL
from corolla.show.show import NUM_PHOTOS, show, show_augmented
from corolla.synthetic.dataset import synthesize


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("show") / "flowers", size=32, share=0.001).folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_tile_for_every_class(data: Path, tmp_path: Path) -> None:
    out = show(data, size=32)
    assert out == Path("contact-flowers-32x32-train.png")
    one = Image.open(out)
    three = Image.open(show(data, size=32, per_class=3, out=tmp_path / "new" / "three.png"))
    assert one.width * one.height >= 104 * 128 * 128
    assert three.width * three.height > 2.5 * one.width * one.height
    again = show(data, size=32, out=tmp_path / "again.png")
    other = show(data, size=32, seed=1, out=tmp_path / "other.png")
    assert again.read_bytes() == out.read_bytes() != other.read_bytes()


def test_unlabelled_photos_stand_under_their_ids(data: Path) -> None:
    out = show(data, size=32, split="test")
    assert Image.open(out).width > 1000


def test_mistakes_are_named(data: Path) -> None:
    with pytest.raises(UserError, match="no split 'testing'"):
        show(data, size=32, split="testing")
    with pytest.raises(UserError, match="per_class 0"):
        show(data, size=32, per_class=0)


def test_a_photo_that_does_not_decode_is_named(tmp_path: Path) -> None:
    data, fault = break_first_jpeg(tmp_path / "data")
    with pytest.raises(UserError) as caught:
        show(data, per_class=100)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize(("name", "size"), [("oxford102", 64), ("oxford17", 224)])
def test_real_photos(real_photos: Path, name: str, size: int) -> None:
    sheet = np.asarray(Image.open(show(real_photos / name, size=size, split="val")))
    assert sheet.std() > 40


def test_what_the_network_is_given(tiny_config: Config, tmp_path: Path) -> None:
    path = show_augmented(tiny_config, epochs=3, out=tmp_path / "a.png")
    first = np.asarray(Image.open(path))
    assert np.array_equal(first, np.asarray(Image.open(show_augmented(tiny_config, epochs=3, out=tmp_path / "b.png"))))
    other = dataclasses.replace(tiny_config, train=dataclasses.replace(tiny_config.train, seed=1))
    assert not np.array_equal(first, np.asarray(Image.open(show_augmented(other, epochs=3, out=tmp_path / "c.png"))))
    crops = np.asarray(Image.open(show_augmented(tiny_config, tta="ten-crop", out=tmp_path / "d.png")))
    assert crops.shape[1] > 2 * first.shape[1], "the photo and ten views beside the photo and three epochs"
    drawn = changed(tiny_config, "augment", trivial_augment=True)
    assert not np.array_equal(first, np.asarray(Image.open(show_augmented(drawn, epochs=3, out=tmp_path / "e.png"))))
    with pytest.raises(UserError, match="--epochs 0"):
        show_augmented(tiny_config, epochs=0)


def test_crops_are_those_of_training_also_of_a_subset_and_while_images_grow(
    tiny_config: Config, tmp_path: Path
) -> None:
    config = changed(changed(tiny_config, "train", share=0.5), "augment", start_size=16)
    sheet = np.asarray(Image.open(show_augmented(config, epochs=2, out=tmp_path / "a.png")))
    index = subset_index(load_index(config.data, 32), 0.5, config.train.seed)
    transform = TrainTransform(config.augment, 32, epochs=config.train.epochs)
    photos = TFRecordDataset(index, "train", transform, seed=config.train.seed)
    last_row = sheet[-((sheet.shape[0] - GAP) // NUM_PHOTOS) :]
    for epoch in range(2):
        crop = Image.fromarray(photos[epoch, len(photos) - 1].image)
        assert crop.size == (16, 16)
        left = GAP + (1 + epoch) * (MIN_CELL + GAP)
        tile = last_row[:MIN_CELL, left : left + MIN_CELL]
        assert np.array_equal(tile, np.asarray(crop.resize((MIN_CELL, MIN_CELL), Image.Resampling.LANCZOS)))


def test_the_weights_own_interpolation_is_shown(tiny_config: Config, tmp_path: Path) -> None:
    from corolla.config import ModelConfig

    sheets = []
    for weights in ("none", "package"):
        model = ModelConfig(name="timm:tf_efficientnet_lite0", weights=weights)
        config = dataclasses.replace(tiny_config, model=model, input_size=48)
        sheets.append(np.asarray(Image.open(show_augmented(config, epochs=1, out=tmp_path / f"{weights}.png"))))
    assert not np.array_equal(*sheets), "bilinear from scratch, bicubic with these weights"
