"""Small data sets in the competition's layout, and a cache of their own for every test run."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import hypothesis
import numpy as np
import pytest
import simplejpeg

from corolla.config import AugmentConfig, Config, ModelConfig, OptimConfig, PipelineConfig, TrainConfig
from corolla.data.tfrecord import encode_example, write_tfrecord

# How long an example takes says nothing here: other test processes share the cores.
hypothesis.settings.register_profile("corolla", deadline=None)
hypothesis.settings.load_profile("corolla")

REAL_PHOTOS = Path(__file__).parents[1].parent / "shared" / "flowers"
NUM_CLASSES = 5


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache, nor do the processes it starts."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture
def real_photos() -> Path:
    if not REAL_PHOTOS.is_dir():
        pytest.skip("the folder of real photos is not beside this checkout")
    return REAL_PHOTOS


def draw(label: int, number: int, size: int) -> bytes:
    """A disc whose place tells its class, in noise: easy enough to learn in a few steps."""
    rng = np.random.default_rng([label, number, size])
    image = rng.integers(0, 80, (size, size, 3), dtype=np.uint8)
    angle = 2 * np.pi * label / NUM_CLASSES
    centre = (round(size * (0.5 + 0.3 * np.cos(angle))), round(size * (0.5 + 0.3 * np.sin(angle))))
    cv2.circle(image, centre, size // 6, (220, 60 + 30 * label, 120), -1)
    return simplejpeg.encode_jpeg(image, quality=95)


def write_data(folder: Path, *, size: int = 32, train: int = 40, val: int = 16, test: int = 11) -> Path:
    """Five classes in two files a split, with sample_submission.csv and test_labels.csv."""
    (folder / f"tfrecords-jpeg-{size}x{size}").mkdir(parents=True)
    (folder / "classes.txt").write_text("".join(f"kind {n}\n" for n in range(NUM_CLASSES)))
    for split, count in (("train", train), ("val", val), ("test", test)):
        inside = folder / f"tfrecords-jpeg-{size}x{size}" / split
        inside.mkdir()
        offset = {"train": 0, "val": 1000, "test": 2000}[split]
        records = [
            encode_example(
                image=draw(i % NUM_CLASSES, offset + i, size),
                label=None if split == "test" else i % NUM_CLASSES,
                id=f"{offset + i:09x}",
            )
            for i in range(count)
        ]
        half = count // 2
        for number, part in enumerate((records[:half], records[half:])):
            write_tfrecord(inside / f"{number:02d}-{size}x{size}-{len(part)}.tfrec", part)
    ids = [f"{2000 + i:09x}" for i in range(test)]
    (folder / "sample_submission.csv").write_text("id,label\n" + "".join(f"{i},0\n" for i in ids))
    labels = "".join(f"{name},{i % NUM_CLASSES}\n" for i, name in enumerate(ids))
    (folder / "test_labels.csv").write_text("id,label\n" + labels)
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture
def tiny_config(tiny_data: Path, tmp_path: Path) -> Config:
    """Two epochs of five steps: seconds."""
    return Config(
        data=tiny_data,
        runs=tmp_path / "runs",
        device="cpu",
        model=ModelConfig(name="resnet18"),
        augment=AugmentConfig(crop="random-resized", area=(0.8, 1.0), flip=False),  # its place tells a disc's class
        optim=OptimConfig(lr=0.005, schedule="constant"),
        train=TrainConfig(epochs=2, batch_size=8),
        pipeline=PipelineConfig(workers=0),
    )
