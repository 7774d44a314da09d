"""The pipeline as a user runs it, with real training: slow."""

import dataclasses
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch

from corolla.cli import run_command
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import load_index
from corolla.data.loader import make_batch
from corolla.data.sampler import EvalBatchSampler
from corolla.data.transforms.tta import average_views, parse_tta
from corolla.data.transforms.views import ViewsTransform
from corolla.evaluation.tta_model import TTAModel
from corolla.models.normalise import Normalise
from corolla.runs.checkpoint import load_checkpoint, rebuild_model
from corolla.runs.folder import Run, data_of

REPOSITORY = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def quickstart() -> str:
    script = REPOSITORY / "scripts" / "quickstart.sh"
    return subprocess.run(["bash", script], check=True, stdout=subprocess.PIPE, text=True, timeout=900).stdout


def macro_f1(output: str, name: str) -> float:
    """From the table at the quickstart's end."""
    found = re.search(rf"^submissions/{name}\.csv +([0-9.]+)", output, re.MULTILINE)
    assert found, output
    return float(found[1])


def test_quickstart_ends_with_a_scored_submission_and_reuses_it() -> None:
    first = quickstart()
    scratch, transfer, vote = (
        macro_f1(first, name) for name in ("quickstart-scratch", "quickstart-transfer", "quickstart")
    )
    assert transfer > scratch > 0.4
    assert vote > scratch
    submission = REPOSITORY / "submissions" / "quickstart.csv"
    sample = pd.read_csv(REPOSITORY / "data" / "synthetic" / "sample_submission.csv")
    table = pd.read_csv(submission)
    assert table["id"].tolist() == sample["id"].tolist()
    assert table["label"].between(0, 103).all()
    run = Run(REPOSITORY / "runs" / "quickstart-scratch")
    before = run.last.read_bytes()

    second = quickstart()
    assert "holds this set already" in second
    assert second.count("this run is finished") == 2
    assert second.count("holds already, by the same checkpoint") == 2
    assert macro_f1(second, "quickstart") == vote
    assert run.last.read_bytes() == before


def test_transfer_on_real_photos(real_photos: Path, tmp_path: Path) -> None:
    data = str(real_photos / "oxford17")
    options = ["--data", data, "--size", "224", "--runs", str(tmp_path), "--run-name", "lite0"]
    assert run_command(["train", "lite0_pretrained", *options, "--input-size", "128", "--train.epochs", "4"]) == 0
    assert Run(tmp_path / "lite0").metrics[-1]["top1"] > 0.7
    for tta in ("none", "ten-crop"):
        assert run_command(["predict", str(tmp_path / "lite0"), "--split", "test", "--tta", tta]) == 0
        out = tmp_path / f"{tta}.csv"
        assert run_command(["ensemble", str(tmp_path / "lite0"), "--tta", tta, "--out", str(out)]) == 0
        assert len(pd.read_csv(out)) == 340
    reduced_precision_agrees(tmp_path / "lite0")


def reduced_precision_agrees(folder: Path) -> None:
    """Ten-crop of folded bf16 weights against the network as it was trained, in fp32, on all photos."""
    run = Run(folder)
    index = load_index(data_of(run), run.config.size)
    model, description = rebuild_model(load_checkpoint(run.best))
    views = ViewsTransform(
        description.input_size,
        parse_tta("ten-crop"),
        crop_fraction=description.preprocessing.crop_fraction,
        interpolation=description.preprocessing.interpolation,
        augment=description.config.augment,
    )
    plain = Normalise(description.preprocessing, channels_last=False)
    train = dataclasses.replace(description.config.train, precision="bf16")
    described = dataclasses.replace(description, config=dataclasses.replace(description.config, train=train))
    reduced, _ = rebuild_model(load_checkpoint(run.best))
    fast = TTAModel(reduced, described, views, device=torch.device("cpu"), batch_size=80)
    probabilities: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    with torch.inference_mode():
        for split in ("val", "test"):
            photos = TFRecordDataset(index, split, views)
            for keys in EvalBatchSampler(len(photos), 8):
                images = make_batch(photos, keys).images
                crops = views.split(images)[0]
                probabilities[0].append(average_views(model(plain(crops.flatten(0, 1))).unflatten(0, crops.shape[:2])))
                probabilities[1].append(fast(images))
    exact, quick = (torch.cat(rows) for rows in probabilities)
    differ = exact.argmax(1) != quick.argmax(1)
    assert len(exact) == 680
    assert differ.float().mean() <= 0.005
    best, second = exact.topk(2).values.T
    assert ((best - second)[differ] < 0.05).all()


def test_scratch_on_real_photos(real_photos: Path, tmp_path: Path) -> None:
    data = str(real_photos / "oxford102")
    options = ["--data", data, "--runs", str(tmp_path), "--model.name", "resnet18", "--train.epochs", "2"]
    assert run_command(["train", str(REPOSITORY / "configs" / "flowers64.toml"), *options]) == 0
    assert Run(tmp_path / "flowers64-seed0").metrics[-1]["macro_f1"] > 0.04
