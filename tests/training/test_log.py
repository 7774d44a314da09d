"""TensorBoard gets curves, the first batch, a confusion matrix and the settings; nothing twice."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import changed, stop_at
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from corolla.config import Config
from corolla.training.log import SummaryWriter
from corolla.training.train import train

CURVES = {
    f"by_epoch/{name}"
    for name in ("train_loss", "val_loss", "train_top1", "top1", "top5", "macro_f1", "lr", "images_per_s")
}
UNCHARTED = {"by_epoch/lr", "by_epoch/images_per_s"}
"""Curves that CUSTOM SCALARS leaves out."""


def events(folder: Path) -> Any:
    found = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    found.Reload()
    return found


def test_everything_a_board_shows(tiny_config: Config) -> None:
    board = events(train(tiny_config, experiment="tiny").folder)
    tags = board.Tags()
    assert set(tags["scalars"]) >= CURVES
    assert {"result/macro_f1", "result/best_macro_f1", "result/val_loss"} <= set(tags["scalars"])
    assert set(tags["images"]) == {"train/first_batch", "by_epoch/confusion"}
    assert [event.step for event in board.Images("train/first_batch")] == [1]
    assert [event.step for event in board.Images("by_epoch/confusion")] == [2], "the last epoch's: these are short"
    for tag in tags["scalars"]:
        if tag.startswith("by_epoch/"):
            assert [event.step for event in board.Scalars(tag)] == [1, 2], tag
    assert "kind 1" in board.Tensors("train/first_batch/text_summary")[0].tensor_proto.string_val[0].decode()
    data = board.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    plugin: Any = plugin_data_pb2
    settings = plugin.HParamsPluginData.FromString(data).session_start_info.hparams
    assert list(map(str, sorted(settings))) == [
        *("augment.area", "augment.crop", "augment.flip", "batch", "epochs", "experiment", "lr", "model"),
        *("optim.schedule", "px", "weights"),
    ]
    data = board.summary_metadata["_hparams_/experiment"].plugin_data.content
    columns = plugin.HParamsPluginData.FromString(data).experiment.hparam_infos
    assert {column.name for column in columns} > set(settings), "other runs may differ in other settings"
    assert sorted(column.name for column in columns if column.differs) == ["batch", "epochs", "lr", "model", "weights"]
    assert (settings["lr"].number_value, settings["model"].string_value) == (0.005, "timm:test_efficientnet")
    layout = board.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    assert set(re.findall(rb"\w+/\w+", layout)) == {tag.encode() for tag in CURVES - UNCHARTED}, "of tags that exist"


def test_a_run_of_an_earlier_version_keeps_its_events_together(tiny_config: Config) -> None:
    folder = tiny_config.runs / "tiny-seed0"
    (folder / "tensorboard").mkdir(parents=True)
    train(changed(tiny_config, "train", epochs=1), experiment="tiny")
    assert not list(folder.glob("events*"))
    assert events(folder / "tensorboard").Scalars("by_epoch/macro_f1")


def test_a_resumed_run_shows_nothing_twice_and_no_tag_over_two_axes(tiny_config: Config) -> None:
    run = train(tiny_config, experiment="tiny", on_step=stop_at(7))
    assert run.state == "stopped"
    with (run.folder / "timing.jsonl").open("a") as file:
        file.write('{"epoch": 1, "sec')  # as a crash may leave it
    with SummaryWriter(str(run.folder)) as writer:
        writer.add_scalar("epoch/val_loss", 1.0, 5)  # as versions before wrote it, over updates
    run = train(dataclasses.replace(tiny_config), experiment="tiny")
    assert run.state == "done"
    assert [line["epoch"] for line in run.timing] == [1, 2]
    board = events(run.folder)
    assert [event.step for event in board.Scalars("epoch/val_loss")] == [5], "nothing is added to it"
    assert [event.step for event in board.Scalars("by_epoch/val_loss")] == [1, 2]
    assert [event.step for event in board.Scalars("result/macro_f1")] == [10]
    assert [event.step for event in board.Images("by_epoch/confusion")] == [2]
    assert len(board.Images("train/first_batch")) == 2, "once for each start"


@pytest.mark.slow
def test_tensorboard_does_not_bring_tensorflow_in(tmp_path: Path) -> None:
    """Kaggle's image has it, and importing it takes seconds and starts CUDA."""
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('TensorFlow was imported')\n")
    code = (
        "import sys; from corolla.training.log import SummaryWriter\n"
        "with SummaryWriter(sys.argv[1]) as board: board.add_scalar('loss', 1.0, 1)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code, str(tmp_path / "board")]
    subprocess.run(command, env=environment, check=True, timeout=120)
    assert list((tmp_path / "board").glob("events.*"))
