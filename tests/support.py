"""Helpers of several test files."""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image

from corolla.compare.compare import Comparison, compare
from corolla.config import AugmentConfig, Config, ModelConfig, OptimConfig, PipelineConfig, TrainConfig, to_dict
from corolla.data.competition import SplitName
from corolla.data.loader import Batch
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.data.transforms.tta import TTA
from corolla.errors import UserError
from corolla.evaluation.predictions import Predictions
from corolla.files import sha256
from corolla.runs.folder import CheckpointName, Run
from corolla.runs.writing import write_metrics
from corolla.training.loop import OnStep
from corolla.training.state import TrainState
from corolla.training.train import train

NUM_CLASSES = 5
EVIL = "<script>alert('x')</script> & \"rose\""


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


def textured(seed: int, size: int = 64) -> np.ndarray:
    """Return a photo with structure at all scales, so that no two are alike."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size, 3), np.float32)
    for cells in (3, 6, 12):
        image += cv2.resize(rng.uniform(0, 80, (cells, cells, 3)).astype(np.float32), (size, size))
    return np.clip(image, 0, 255).astype(np.uint8)


def smooth(seed: int, width: int = 48, height: int = 40) -> Image.Image:
    """Return a photo so smooth that a JPEG of it is close to it."""
    corners = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC)


def to_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """Return a photo as a JPEG."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorspace="RGB")


def write_photos(folder: Path, splits: dict[str, list[tuple[bytes, int]]], names: str = "rose\ntulip\n") -> Path:
    """Write JPEGs with their labels (-1: none), in a file a split; a photo's id is its split and number."""
    for split, photos in splits.items():
        inside = folder / "tfrecords-jpeg-64x64" / split
        inside.mkdir(parents=True)
        examples = [
            encode_example(image=image, label=None if label < 0 else label, id=f"{split}{number}")
            for number, (image, label) in enumerate(photos)
        ]
        write_tfrecord(inside / f"00-64x64-{len(photos)}.tfrec", examples)
    (folder / "classes.txt").write_text(names)
    return folder


def break_first_jpeg(folder: Path) -> tuple[Path, str]:
    """A data folder whose first training JPEG is cut short, under a valid checksum; and how its fault's line begins."""
    data = write_data(folder)
    path = data / "tfrecords-jpeg-32x32" / "train" / "00-32x32-20.tfrec"
    images = [draw(i % 5, i, 32) for i in range(20)]
    images[0] = images[0][:150]
    write_tfrecord(path, [encode_example(image=im, label=i % 5, id=f"{i:09x}") for i, im in enumerate(images)])
    return data, f"{path}:0 record 0: JPEG does not decode: "


T = TypeVar("T")


def outcome(work: Callable[[], T], refusal: type[Exception] = UserError) -> T | str:
    """Return what `work` gives, or the words with which it refuses."""
    try:
        return work()
    except refusal as error:
        return str(error)


def smallest_config(data: Path, runs: Path) -> Config:
    """Two epochs of five steps of the smallest network that timm has: a second, and 4 MB."""
    return Config(
        data=data,
        runs=runs,
        device="cpu",
        model=ModelConfig(name="timm:test_efficientnet"),
        augment=AugmentConfig(crop="random-resized", area=(0.8, 1.0), flip=False),  # its place tells a disc's class
        optim=OptimConfig(lr=0.005, schedule="constant"),
        train=TrainConfig(epochs=2, batch_size=8),
        pipeline=PipelineConfig(workers=0),
    )


def changed(config: Config, section: str, **values: Any) -> Config:
    """`config` with other values in one section."""
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **values)})


def on_gpu(config: Config, **settings: Any) -> Config:
    """Return `config` for the GPU at 32 px, with other settings of training."""
    return dataclasses.replace(changed(config, "train", **settings), device="cuda", input_size=32)


def cuda_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch list a card, which fails the test when it is started."""

    def start() -> None:
        raise AssertionError("CUDA was started")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "_lazy_init", start)  # which everything calls that needs the card


def same_content(first: Path, second: Path) -> bool:
    """Two checkpoints hold the same bits, but for the seconds they took and the run they come from."""
    contents = [torch.load(path, weights_only=True) for path in (first, second)]
    for content in contents:
        del content["progress"]["seconds"], content["progress"]["inherited"]
    return _same(*contents)


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(_same(a, b) for a, b in zip(first, second, strict=True))
    return first == second


def set_history(run: Run, rows: list[dict[str, Any]]) -> None:
    """Have a run's last.pt, and its copy, tell of other epochs; its predictions then are this checkpoint's."""
    content = torch.load(run.last, weights_only=True) if run.last.exists() else {"progress": {}}
    content["progress"]["rows"] = rows
    torch.save(content, run.last)
    write_metrics(run, rows)
    for path in run.folder.glob("predictions/*-last.npz"):
        dataclasses.replace(Predictions.load(path), checkpoint=sha256(run.last)).save(path)


@contextmanager
def corolla_process(command: Sequence[str], *, own_group: bool = False) -> Iterator["subprocess.Popen[str]"]:
    """A process of our own with its output piped, killed at the end whatever happens."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        process_group=0 if own_group else None,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def one_thread() -> Iterator[None]:
    """As many threads here as `corolla_process` has: others add up in another order, and round otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def stop_at(step: int, number: int = signal.SIGTERM) -> OnStep:
    """An `on_step` that sends this process a signal right after an update."""

    def on_step(state: TrainState, batch: Batch, lr: float, loss: torch.Tensor) -> None:
        if state.progress.step == step:
            signal.raise_signal(number)

    return on_step


def everything_on(config: Config) -> Config:
    """Return `config` with every part that has a state, or could depend on the order of things."""
    config = changed(config, "train", ema=0.9, accumulate=2, epochs=3, label_smoothing=0.1)
    config = changed(config, "optim", schedule="plateau", patience=0, nesterov=True)
    config = changed(config, "augment", color=True, pca_noise=0.1)
    return changed(config, "model", name="timm:test_efficientnet", dropout=0.3, drop_path=0.1)  # 0.4 MB: many copies


def make_comparison(folder: Path, *, seeds: tuple[int, ...] = (0, 1)) -> tuple[Comparison, Path]:
    """Two tiny recipes, two seeds of each, on classes and in folders of ill-meant names."""
    data = write_data(folder / "data")
    names = [EVIL, "kind </td></table>", "$$x^2$$", "kind 3", "kind 4"]
    (data / "classes.txt").write_text("".join(f"{name}\n" for name in names))
    runs = []
    for experiment, lr in (("slow", 1e-4), ("fast <i>$$x$$", 0.005)):
        for seed in seeds:
            config = Config(
                data=data,
                runs=folder / "runs",
                device="cpu",
                model=ModelConfig(name="timm:test_efficientnet"),
                augment=AugmentConfig(crop="random-resized", area=(0.8, 1.0), flip=False),
                optim=OptimConfig(lr=lr, schedule="constant"),
                train=TrainConfig(epochs=2, batch_size=8, seed=seed),
                pipeline=PipelineConfig(workers=0),
            )
            runs.append(train(config, experiment=experiment).folder)
    return compare(runs, num_resamples=50, device="cpu", workers=0), data


def write_run(
    folder: Path,
    probabilities: Sequence[Sequence[float]],
    *,
    ids: Sequence[str] = ("00000000a", "00000000b", "00000000c"),
    split: SplitName = "test",
    tta: TTA = "none",
    labels: Sequence[int] | None = None,
    checkpoint: CheckpointName = "best",
    fingerprint: str = "",
    class_names: Sequence[str] | None = None,
) -> Path:
    """A run whose checkpoint is a few bytes, predicted already."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(to_dict(Config(), with_runtime=False)))
    content = f"{checkpoint} checkpoint of {folder.name}".encode()
    (folder / f"{checkpoint}.pt").write_bytes(content)
    Predictions(
        ids=np.array(ids),
        probabilities=np.array(probabilities, np.float32),
        labels=None if labels is None else np.array(labels),
        checkpoint=hashlib.sha256(content).hexdigest(),
        fingerprint=fingerprint,
        class_names=tuple(class_names or (f"kind {n}" for n in range(len(probabilities[0])))),
    ).save(Run(folder).predictions(split, tta, checkpoint))
    return folder
