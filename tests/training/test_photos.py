"""Photos of training on the device: what is chosen, refused and kept, and that a network learns from them as well."""

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from support import break_first_jpeg, changed, same_content, smallest_config

from corolla.config import AugmentConfig, Config
from corolla.data.loader import Batch
from corolla.errors import UserError
from corolla.runs.folder import Run
from corolla.training import photos
from corolla.training.find_lr import find_lr
from corolla.training.state import TrainState
from corolla.training.stop import Stop
from corolla.training.train import train


@pytest.fixture
def config(tiny_config: Config) -> Config:
    return changed(tiny_config, "pipeline", cache="device")


def named(config: Config, name: str, **settings: Any) -> Config:
    return dataclasses.replace(config, run_name=name, **settings)


def stopped_after(steps: int, config: Config, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Train until a step, at which somebody asks to stop."""
    requests = list[Stop]()
    init = Stop.__init__

    def kept(stop: Stop, *args: Any, **kwargs: Any) -> None:
        init(stop, *args, **kwargs)
        requests.append(stop)

    def ask(state: TrainState, batch: Batch, lr: float, loss: object) -> None:
        if state.progress.step == steps:
            requests[-1].request("asked")

    with monkeypatch.context() as patched:
        patched.setattr(Stop, "__init__", kept)
        return train(config, on_step=ask)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_choice_is_kept_and_a_stopped_run_goes_on(
    workers: int, config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "corolla")
    config = changed(config, "pipeline", workers=workers)
    whole = train(named(config, "whole"))
    assert json.loads((whole.folder / "config.json").read_text())["pipeline"]["cache"] == "device"
    assert "cache: device, " in caplog.text
    run = stopped_after(3, named(config, "stopped"), monkeypatch)
    assert run.state == "stopped"
    assert run.last.exists()
    train(named(changed(config, "pipeline", cache="auto"), "stopped"))
    assert same_content(run.last, whole.last)
    assert run.metrics == whole.metrics


def test_a_run_stays_where_it_has_begun(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = changed(config, "pipeline", cache="off")
    stopped_after(3, named(config, "there"), monkeypatch)
    stopped_after(3, named(elsewhere, "here"), monkeypatch)
    with pytest.raises(UserError, match=r"--pipeline.cache off: this run has begun with device, .*leave it out"):
        train(named(elsewhere, "there"))
    with pytest.raises(UserError, match=r'pipeline.cache is "auto", now "device"'):
        train(named(config, "here"))
    assert "cache" not in json.loads((config.runs / "here" / "config.json").read_text())["pipeline"]
    for name in ("there", "here"):  # in a copy, by auto
        copied = named(changed(config, "pipeline", cache="auto"), f"{name}-copied", resume=config.runs / name)
        assert train(copied).state == "done"


@pytest.mark.parametrize(
    ("augment", "setting"),
    [
        (AugmentConfig(color=True, hue=0.1), "--augment.hue 0.1"),
        (AugmentConfig(pca_noise=0.1), "--augment.pca-noise 0.1"),
        (AugmentConfig(erase=0.2), "--augment.erase-fill noise"),
        (AugmentConfig(rand_augment=2), "--augment.rand-augment 2"),
        (AugmentConfig(trivial_augment=True), "--augment.trivial-augment"),
    ],
)
def test_augmentation_that_it_does_not_draw_is_refused(augment: AugmentConfig, setting: str, config: Config) -> None:
    with pytest.raises(UserError, match=f"--pipeline.cache device: does not draw {setting}; leave one of them out"):
        train(dataclasses.replace(config, augment=augment))
    assert not list(config.runs.glob("*/config.json"))


FREE = 40 * 32 * 32 * 3 * 3  # three times what the photos take


@pytest.mark.parametrize(
    ("free", "settings", "chosen"),
    [
        (FREE, {}, True),
        (FREE - 3, {}, False),
        (FREE, {"augment": AugmentConfig(pca_noise=0.1)}, False),
        (FREE, {"augment": AugmentConfig(trivial_augment=True)}, False),
        (FREE, {"deterministic": True}, False),
        (FREE, {"cache": "decoded"}, False),
    ],
)
def test_auto_takes_it_where_a_third_of_the_cards_memory_is_enough(
    free: int, settings: dict[str, Any], chosen: bool, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU stands in for the card."""
    monkeypatch.setattr(photos, "AUTO_ON", ("cpu",))
    monkeypatch.setattr(photos, "_free_bytes", lambda device: free)
    config = changed(tiny_config, "train", epochs=1, deterministic=settings.get("deterministic", False))
    config = changed(config, "pipeline", cache=settings.get("cache", "auto"))
    run = train(dataclasses.replace(config, augment=settings.get("augment", config.augment)))
    assert (run.config.pipeline.cache == "device") == chosen
    assert run.state == "done"


def test_too_small_a_memory_is_one_line(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "_free_bytes", lambda device: 1000)
    with pytest.raises(UserError, match=r"0 MiB are free on .*; leave --pipeline.cache device out"):
        train(config)
    assert not list(config.runs.glob("*/config.json"))


def test_a_photo_that_does_not_decode_stops_it_or_is_grey(tmp_path: Path) -> None:
    data, fault = break_first_jpeg(tmp_path / "data")
    config = changed(smallest_config(data, tmp_path / "runs"), "pipeline", cache="device")
    with pytest.raises(UserError, match=fault):
        train(config)
    assert train(changed(config, "pipeline", bad_images="grey")).state == "done"


@pytest.mark.slow
def test_epochs_are_measured_and_learning_rates_found_with_it(config: Config) -> None:
    run = train(named(changed(config, "train", fit_hours=0.005), "fitted"))
    assert run.state == "done"
    assert find_lr(config).rates


@pytest.mark.slow
def test_a_network_learns_from_them_as_well(tiny_config: Config) -> None:
    """Three seeds each; the means of the val losses differ by less than the losses of the seeds do."""
    losses = dict[str, list[float]]()
    for cache in ("off", "device"):
        seeds = [changed(changed(tiny_config, "pipeline", cache=cache), "train", seed=s, epochs=6) for s in range(3)]
        losses[cache] = [train(named(each, f"{cache}-{s}")).metrics[-1]["val_loss"] for s, each in enumerate(seeds)]
    means = [statistics.mean(each) for each in losses.values()]
    assert abs(means[0] - means[1]) < max(max(each) - min(each) for each in losses.values())
    assert max(means) < 1.5, "they must have learned: five classes by chance are 1.61"
