"""TensorBoard gets curves, the first batch, a confusion matrix and the settings; nothing twice."""

import dataclasses
from pathlib import Path
from typing import Any

from support import stop_at
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from corolla.config import Config
from corolla.training.train import train

CURVES = {f"epoch/{name}" for name in ("train_loss", "val_loss", "top1", "top5", "macro_f1", "lr", "images_per_s")}


def events(folder: Path) -> Any:
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    found.Reload()
    return found


def test_everything_a_board_shows(tiny_config: Config) -> None:
    board = events(train(tiny_config, experiment="tiny").folder)
    tags = board.Tags()
    assert set(tags["scalars"]) >= CURVES
    assert {"result/macro_f1", "result/best_macro_f1", "result/val_loss"} <= set(tags["scalars"])
    assert set(tags["images"]) == {"train/first_batch", "val/confusion"}
    assert [event.step for event in board.Images("train/first_batch")] == [1]
    assert [event.step for event in board.Images("val/confusion")] == [10], "the last epoch's: these are short"
    assert [event.step for event in board.Scalars("epoch/val_loss")] == [5, 10]
    assert "kind 1" in board.Tensors("train/first_batch/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "_hparams_/session_start_info" in board.summary_metadata
    assert "custom_scalars__config__" in board.summary_metadata


def test_a_resumed_run_shows_nothing_twice(tiny_config: Config) -> None:
    run = train(tiny_config, experiment="tiny", on_step=stop_at(7))
    assert run.state == "stopped"
    with (run.folder / "timing.jsonl").open("a") as file:
        file.write('{"epoch": 1, "sec')  # as a crash may leave it
    run = train(dataclasses.replace(tiny_config), experiment="tiny")
    assert run.state == "done"
    assert [line["epoch"] for line in run.timing] == [1, 2]
    board = events(run.folder)
    assert [event.step for event in board.Scalars("epoch/val_loss")] == [5, 10]
    assert [event.step for event in board.Scalars("result/macro_f1")] == [10]
    assert [event.step for event in board.Images("val/confusion")] == [10]
    assert len(board.Images("train/first_batch")) == 2, "once for each start"
