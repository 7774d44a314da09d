"""--train.fit-hours: as many epochs as fit into a time, chosen once."""

import dataclasses
import json
import logging
import signal
from pathlib import Path
from typing import Any

import pytest
from support import changed, same_content, smallest_config, stop_at

import corolla
from corolla.config import Config
from corolla.errors import UserError
from corolla.runs.folder import Run
from corolla.runs.writing import write_config
from corolla.training import epoch_cost
from corolla.training.epoch_cost import EpochCost
from corolla.training.fit_hours import cut_by
from corolla.training.train import train

COST = EpochCost(
    shown=100,
    photo_s={(False, 64): 0.4, (False, 32): 0.1, (True, 64): 0.2, (True, 32): 0.1},
    val_s=8.0,
    save_s=2.0,
    checkpoint_bytes=1,
)


def settings(epochs: int = 4, start_size: int | None = None, **train: Any) -> Config:
    return changed(changed(Config(), "train", epochs=epochs, **train), "augment", start_size=start_size)


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        (settings(), [50, 50, 50, 50]),
        (settings(head_epochs=3), [30, 30, 30, 50]),
        (settings(start_size=32), [20, 20, 32.5, 50]),  # 32, 32, 48 and 64 px: between them by the area
        (settings(start_size=32, head_epochs=1), [20, 20, 32.5, 50]),
    ],
)
def test_epochs_cost_by_their_sizes_and_by_what_learns(config: Config, seconds: list[float]) -> None:
    assert COST.epoch_s(config, 64) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("config", "seconds", "epochs"),
    [
        (settings(), 49.9, 0),
        (settings(), 50.1, 1),
        (settings(), 99.9, 1),
        (settings(), 50_001, 1000),
        (settings(head_epochs=2), 60 + 51, 3),
        (settings(head_epochs=2), 60 + 49, 2),
        (settings(start_size=32), 20 + 20 + 32.5 + 50.1, 4),
        (settings(start_size=32), 20 + 20 + 32.5 + 49.9, 3),
    ],
)
def test_as_many_as_fit_are_found(config: Config, seconds: float, epochs: int) -> None:
    assert COST.epochs_within(seconds, config, 64) == epochs


def test_a_long_time_does_not_give_epochs_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_cost, "MOST_EPOCHS", 100)
    assert COST.epochs_within(1e300, settings(), 64) == 100


@pytest.fixture(scope="module")
def config(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    base = smallest_config(tiny_data, tmp_path_factory.mktemp("fit") / "runs")
    base = changed(base, "train", fit_hours=0.008, ema=0.9, head_epochs=1, mixup=0.2, accumulate=2)
    base = changed(base, "optim", schedule="cosine", warmup_epochs=1)
    return changed(dataclasses.replace(base, run_name="fit"), "augment", start_size=16)


@pytest.fixture(scope="module")
def stopped(config: Config) -> Run:
    """A run whose number was chosen, stopped after its second step."""
    return train(config, on_step=stop_at(2))


def test_the_number_is_that_of_a_run_to_which_it_was_given(stopped: Run, config: Config) -> None:
    epochs = stopped.config.train.epochs
    fitted = stopped.environment["fitted"]
    assert (fitted["hours"], fitted["epochs"]) == (0.008, epochs)
    assert fitted["total_s"] + fitted["used_s"] <= 0.95 * 28.8 + 0.1
    assert "fit_hours" not in json.loads((stopped.folder / "config.json").read_text())["train"]
    given = changed(dataclasses.replace(config, run_name="given"), "train", fit_hours=None, epochs=epochs)
    assert same_content(train(given, on_step=stop_at(2)).last, stopped.last)


def test_the_same_command_keeps_it_and_so_do_other_hours(
    stopped: Run, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    epochs = stopped.config.train.epochs
    with caplog.at_level(logging.INFO):
        assert train(config, on_step=stop_at(3)).config.train.epochs == epochs
        assert f"{epochs} epochs, as was chosen when the run began" in caplog.text
        train(changed(config, "train", fit_hours=9.0), on_step=stop_at(4))
    assert f"--train.fit-hours 9: {epochs} epochs, with which the run has begun, and which it keeps" in caplog.text
    assert stopped.environment["fitted"]["hours"] == 0.008
    copy = dataclasses.replace(config, run_name="copy", resume=stopped.folder)
    assert train(copy, on_step=stop_at(5)).config.train.epochs == epochs


@pytest.mark.slow
def test_a_start_that_was_killed_before_its_first_checkpoint_keeps_it(config: Config) -> None:
    again = dataclasses.replace(config, run_name="killed")
    run = train(again, on_step=stop_at(1))
    for name in ("last.pt", "best.pt", "metrics.jsonl"):
        (run.folder / name).unlink(missing_ok=True)
    write_config(run, changed(run.config, "train", epochs=7))  # a number that is not measured
    environment = run.environment
    environment["fitted"]["epochs"] = 7
    (run.folder / "environment.json").write_text(json.dumps(environment))
    assert train(again, on_step=stop_at(1)).config.train.epochs == 7


def test_less_than_an_epoch_is_refused_and_leaves_nothing(config: Config, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"--train\.fit-hours 1e-06: not one epoch fits: .*; give at least 0\.0\d+$"
    ) as told:
        train(changed(dataclasses.replace(config, runs=tmp_path), "train", fit_hours=1e-6))
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())


def test_with_a_number_of_epochs_it_contradicts_itself(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--train\.fit-hours chooses .* leave one of them out"):
        corolla.train("resnet18", data=tiny_data, runs=tmp_path, fit_hours=1.0, epochs=3, device="cpu")
    assert not list(tmp_path.iterdir())


def test_stopped_while_it_is_measured_nothing_is_left(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def update(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(epoch_cost, "update", update)
    with caplog.at_level(logging.INFO):
        assert train(dataclasses.replace(config, runs=tmp_path)).state == "new"
    assert "SIGINT received, while an epoch was measured; nothing has begun" in caplog.text
    assert not list(tmp_path.iterdir())


def test_stopped_while_it_is_measured_torchrun_does_not_begin_it(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def update(*_: Any) -> None:
        calls.append(None)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(epoch_cost, "update", update)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    with caplog.at_level(logging.INFO):
        for restarts in ("0", "1"):
            monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", restarts)
            assert train(dataclasses.replace(config, runs=tmp_path)).state == "new"
    assert len(calls) == 1
    assert "was asked to stop before torchrun started its processes again" in caplog.text


@pytest.mark.slow
def test_max_hours_goes_on_being_what_cuts(config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    both = changed(dataclasses.replace(config, runs=tmp_path), "train", fit_hours=0.002, max_hours=0.0003)
    with caplog.at_level(logging.INFO):
        run = train(both)
    assert run.state in ("stopped", "new")  # new: it took so long to measure an epoch
    assert "the time budget (--train.max-hours) is used up" in caplog.text
    assert cut_by({"used_s": 60.0, "total_s": 3600.0}, 1.0)[0].startswith("note: training stops before that, after 1 h")
    assert cut_by({"used_s": 60.0, "total_s": 3000.0}, 1.0) == cut_by({"used_s": 60.0, "total_s": 4e3}, None) == []
