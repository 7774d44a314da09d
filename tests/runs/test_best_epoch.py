"""best.pt and last.pt of one folder that do not belong together, as after a restore in part, are told."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from support import changed

from corolla.config import Config, to_dict
from corolla.errors import UserError
from corolla.runs.best_epoch import best_fault
from corolla.runs.folder import Run, exclusive, open_run
from corolla.runs.writing import write_config


def rows(*scores: float, val_loss: float | None = None) -> list[dict[str, Any]]:
    losses = [1 - score if val_loss is None else val_loss for score in scores]
    return [
        {"epoch": n, "step": 4 * n, "val_loss": loss, "macro_f1": score}
        for n, (score, loss) in enumerate(zip(scores, losses, strict=True), 1)
    ]


def make(folder: Path, last: list[dict[str, Any]], best: list[dict[str, Any]], **train: Any) -> Run:
    """A folder whose checkpoints tell of these epochs."""
    run, config = Run(folder), changed(Config(), "train", **train)
    write_config(run, config)
    for path, told in ((run.last, last), (run.best, best)):
        torch.save({"config": to_dict(config, with_runtime=False), "progress": {"rows": told, "inherited": 0}}, path)
    return run


TOLD = rows(0.2, 0.5, 0.4)


@pytest.mark.parametrize(
    ("last", "best"),
    [
        (TOLD, TOLD[:2]),
        (rows(0.5, 0.5), rows(0.5, 0.5)),  # a tie hurts nobody
        (rows(0.3, val_loss=float("nan")), rows(0.3, val_loss=float("nan"))),
        (TOLD[:1], TOLD[:1]),
        ([], []),
    ],
)
def test_those_of_one_run_are_not_told(last: list[dict[str, Any]], best: list[dict[str, Any]], tmp_path: Path) -> None:
    assert best_fault(make(tmp_path / "run", last, best)) is None


@pytest.mark.parametrize(
    ("last", "best", "fault"),
    [
        (TOLD, TOLD[:1], "best.pt is of epoch 1, and by last.pt epoch 2 is the best"),
        (TOLD, TOLD, "best.pt is of epoch 3, and by last.pt epoch 2 is the best"),
        (TOLD[:1], TOLD[:2], "best.pt is of an epoch 2 that last.pt (1 epochs) does not tell of"),
        ([], TOLD[:2], "best.pt is of an epoch 2 that last.pt (0 epochs) does not tell of"),
        (TOLD, rows(0.2, 0.9), "best.pt is of an epoch 2 that last.pt (3 epochs) does not tell of"),
    ],
)
def test_those_that_do_not_belong_together_are_told(
    last: list[dict[str, Any]], best: list[dict[str, Any]], fault: str, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", last, best)
    assert best_fault(run) == fault
    with exclusive(run.folder):
        assert best_fault(run) is None, "while it trains, best.pt is written a moment before last.pt"


def test_the_epoch_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    told = rows(0.5, 0.4)
    told[1]["val_loss"] = 0.1
    assert best_fault(make(tmp_path / "run", told, told, select_by="val_loss")) is None
    assert best_fault(make(tmp_path / "run", told, told[:1])) is None
    assert best_fault(make(tmp_path / "run", told, told)) is not None


@pytest.mark.parametrize("name", ["last.pt", "best.pt", "config.json"])
@pytest.mark.parametrize("content", [None, b"", b"text"])
def test_what_is_missing_or_damaged_is_told_by_others(name: str, content: bytes | None, tmp_path: Path) -> None:
    run = make(tmp_path / "run", TOLD, TOLD)
    (run.folder / name).unlink()
    if content is not None:
        (run.folder / name).write_bytes(content)
    assert best_fault(run) is None


@pytest.mark.parametrize(
    "damage",
    [lambda text: text[:-20], lambda _: "", lambda text: text.replace('"lr"', '"lq"'), lambda _: "\0" * 99, None],
    ids=["cut", "empty", "a flipped bit", "NUL", "missing"],
)
def test_a_damaged_config_names_what_holds_it_too(damage: Any, tmp_path: Path) -> None:
    run = make(tmp_path / "my runs" / "run", TOLD, TOLD[:2])
    path = run.folder / "config.json"
    text = path.read_text()
    path.write_text(damage(text)) if damage else path.unlink()
    remedy = f"last.pt holds it too: corolla doctor --runs '{tmp_path / 'my runs'}' tells how to restore it"
    with pytest.raises(UserError, match=r"config\.json: ") as caught:
        _ = open_run(run.folder).config
    assert str(caught.value).endswith(f"; {remedy}")
    assert "\n" not in str(caught.value)
    run.last.write_bytes(b"damaged as well")
    with pytest.raises(UserError, match=r"; best\.pt holds it too: "):
        _ = run.config


def test_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    """To open one to which nobody writes would wait for ever."""
    run = make(tmp_path / "run", TOLD, TOLD)
    run.last.unlink()
    os.mkfifo(run.last)
    with pytest.raises(UserError, match=r"last\.pt: is a pipe or a device, not a checkpoint"):
        _ = run.state


def test_a_config_without_checkpoints_is_written_anew(tmp_path: Path) -> None:
    run = make(tmp_path / "run", TOLD, TOLD)
    run.last.unlink()
    run.best.unlink()
    (run.folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: .*; the same corolla train command writes it anew$"):
        _ = run.config


def test_a_config_of_another_version_is_not_called_damaged(tmp_path: Path) -> None:
    """The checkpoint has the same settings, so to restore it would change nothing."""
    run = make(tmp_path / "run", TOLD, TOLD[:2])
    values = {**to_dict(dataclasses.replace(Config(), input_size=48), with_runtime=False), "of_tomorrow": 1}
    (run.folder / "config.json").write_text(json.dumps(values))
    for path in (run.last, run.best):
        torch.save({"config": values, "progress": {"rows": TOLD}}, path)
    with pytest.raises(UserError, match=r"unknown key of_tomorrow; the nearest valid one is [a-z_.]+$"):
        _ = run.config
