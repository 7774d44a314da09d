"""When a run ends early, as a function of its epochs, and what makes it longer."""

from typing import Any

import pytest
from support import changed

from corolla.config import Config
from corolla.config.checks import check_settings
from corolla.runs.length import has_stopped_early, is_longer, stops_early


def rows(*scores: float) -> list[dict[str, Any]]:
    return [{"epoch": n + 1, "macro_f1": score, "val_loss": 1 - score} for n, score in enumerate(scores)]


def config(wait: int = 2, **values: Any) -> Config:
    return changed(changed(Config(), "train", stop_early=wait, epochs=9, **values), "optim", schedule="constant")


@pytest.mark.parametrize(
    ("scores", "ends"),
    [
        ((), False),
        ((0.5, 0.4), False),
        ((0.5, 0.4, 0.5), True),  # as good is no better
        ((0.5, 0.4, 0.6), False),
        ((0.5, 0.4, 0.6, 0.5, 0.5), True),
        ((float("nan"), 0.1, 0.0), False),
        (tuple(0.1 for _ in range(9)), False),  # it has all its epochs
    ],
)
def test_it_ends_after_so_many_epochs_without_a_better_one(scores: tuple[float, ...], ends: bool) -> None:
    assert stops_early(rows(*scores), config()) is ends
    assert not stops_early(rows(*scores), config(0))


def test_the_score_is_that_by_which_best_is_chosen() -> None:
    falling = [{**row, "val_loss": 1.0 / row["epoch"]} for row in rows(0.5, 0.4, 0.4)]
    assert stops_early(falling, config())
    assert not stops_early(falling, config(select_by="val_loss"))


@pytest.mark.parametrize(
    ("optim", "train"),
    [
        ({"warmup_epochs": 1.5}, {}),
        ({}, {"head_epochs": 2}),
        ({"schedule": "one-cycle", "one_cycle_start": 0.2}, {}),
        ({}, {"head_epochs": 2, "ema": 0.9}),
    ],
)
def test_epochs_of_a_rise_and_of_the_head_alone_do_not_count(optim: dict[str, Any], train: dict[str, Any]) -> None:
    rising = changed(config(**train), "optim", **optim)
    assert not stops_early(rows(0.5, 0.4, 0.4), rising)
    assert stops_early(rows(0.5, 0.4, 0.4, 0.4), rising)


def test_a_longer_run_waits_anew() -> None:
    before, content = config(), {"config": {"train": {"epochs": 9}}, "progress": {"rows": rows(0.5, 0.4, 0.4)}}
    assert has_stopped_early(content, before)
    longer = changed(before, "train", epochs=12)
    assert not has_stopped_early(content, longer)
    content = {"config": {"train": {"epochs": 12}}, "progress": {"rows": rows(0.5, 0.4, 0.4, 0.4), "waits_from": 3}}
    assert not has_stopped_early(content, longer)
    content["progress"]["rows"] += rows(0.3)
    assert has_stopped_early(content, longer)


@pytest.mark.parametrize(
    ("epochs", "wait", "longer"),
    [(9, 0, True), (9, 5, True), (9, 1, False), (12, 2, True), (8, 2, False), (8, 0, False)],
)
def test_more_epochs_and_more_patience_make_a_run_longer(epochs: int, wait: int, longer: bool) -> None:
    now = changed(config(), "train", epochs=epochs, stop_early=wait)
    assert is_longer({"train.epochs", "train.stop_early"}, config(), now) is longer
    assert not is_longer({"train.epochs", "optim.lr"}, config(), now)
    assert not is_longer({"train.stop_early"}, config(0), config(3))


@pytest.mark.parametrize(
    ("wait", "schedule", "note"),
    [
        (20, "constant", "training never stops early"),
        (4, "plateau", "training may end before the learning rate has fallen"),
        (8, "plateau", None),
        (4, "cosine", "the learning rate has not fallen to its end"),
    ],
)
def test_a_schedule_that_does_not_go_with_it_is_noted(wait: int, schedule: str, note: str | None) -> None:
    settings = changed(changed(Config(), "train", stop_early=wait, epochs=20), "optim", schedule=schedule, patience=6)
    found = [line for line in check_settings(settings) if "--train.stop-early" in line]
    assert len(found) == (note is not None)
    assert all((note or "") in line for line in found)
