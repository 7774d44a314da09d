"""Runs and checkpoints of corolla 0.1.0 go on, predict and compare as before.

`stopped-0.1.0` was trained by commit bced1aa, in fp32 on a CPU, on `drawn`, which `corolla synth data --size 32
--share 0.001 --seed 0` drew with OpenCV 5 (others draw lines a little differently), and stopped in the middle of its
second epoch (step 6 of 16):

    corolla train resnet18 --data data --size 32 --run-name stopped --model.width 0.05 --model.stem small-pool \
        --model.activation silu --augment.crop random-resized --augment.area 0.35 1.0 --optim.lr 0.02 \
        --optim.nesterov --optim.schedule cosine --train.epochs 4 --train.batch-size 64 --train.precision fp32 \
        --train.label-smoothing 0.1

(silu, because it is smooth: with relu the number of threads alone moved norms by 8 %.)
final-metrics.jsonl and final.json tell what that very code made of it: sums and norms of its tensors.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from corolla.config import Config, from_dict, read_settings
from corolla.errors import UserError
from corolla.evaluation.predict import predict
from corolla.runs.checkpoint import load_checkpoint
from corolla.runs.folder import Run
from corolla.training.train import train

STOPPED = Path(__file__).parent / "stopped-0.1.0"
DRAWN = Path(__file__).parent / "drawn"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings of the stopped run, whose folder is copied."""
    shutil.copytree(STOPPED, tmp_path / "stopped", ignore=shutil.ignore_patterns("final*"))
    read = Run(tmp_path / "stopped").config
    return dataclasses.replace(read, data=DRAWN, runs=tmp_path, run_name="stopped", device="cpu")


def test_a_stopped_run_goes_on_to_the_same_weights(config: Config) -> None:
    """To rounding, since processors differ; validation loss is computed as `predict` does now."""
    run = train(config, experiment="resnet18")
    assert run.state == "done"
    expected = [json.loads(line) for line in (STOPPED / "final-metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in run.metrics] == [row["step"] for row in expected]
    for row, before in zip(run.metrics, expected, strict=True):
        assert row["lr"] == before["lr"]
        assert row["train_loss"] == pytest.approx(before["train_loss"], rel=1e-5)
        assert row["val_loss"] == pytest.approx(before["val_loss"], rel=1e-4)
    assert [row["train_top1"] is None for row in run.metrics] == [True, True, False, False]
    final, content = json.loads((STOPPED / "final.json").read_text()), load_checkpoint(run.last)
    assert content["progress"]["step"] == final["step"]
    assert content["model"].keys() == final["model"].keys()
    for name, facts in final["model"].items():
        tensor = content["model"][name].double()
        assert list(tensor.shape) == facts["shape"], name
        assert float(tensor.norm()) == pytest.approx(facts["norm"], rel=1e-3, abs=1e-6), name
    for number, facts in final["momentum"].items():
        momentum = content["optimizer"]["state"][int(number)]["momentum_buffer"]
        assert float(momentum.double().norm()) == pytest.approx(facts["norm"], rel=1e-2, abs=1e-6), number


def test_a_copy_goes_on_with_more_epochs(config: Config, tmp_path: Path) -> None:
    longer = dataclasses.replace(config.train, epochs=5)
    run = train(dataclasses.replace(config, resume=tmp_path / "stopped", run_name="longer", train=longer))
    assert [row["epoch"] for row in run.metrics] == [1, 2, 3, 4, 5]
    assert Run(tmp_path / "stopped").state == "stopped"


def test_its_last_checkpoint_predicts(config: Config, tmp_path: Path) -> None:
    found = predict(tmp_path / "stopped", split="val", checkpoint="last", data=DRAWN, device="cpu", workers=0)
    assert found.predictions.probabilities.shape == (104, 104)
    assert found.predictions.epochs == 1
    assert torch.allclose(torch.from_numpy(found.predictions.probabilities).sum(1), torch.ones(104), atol=1e-4)


def test_settings_that_are_gone_are_read_where_they_did_nothing(tmp_path: Path) -> None:
    values = read_settings(STOPPED / "config.json")
    assert values["pipeline"] == {"bad_images": "stop", "half_size": False, "stored_side": None}
    assert from_dict(values) == Run(STOPPED).config
    values["pipeline"]["stored_side"] = 48
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"config\.json: pipeline\.stored_side = 48: this setting is gone"):
        _ = Run(tmp_path).config
