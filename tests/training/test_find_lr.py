"""The learning-rate range test: its curve, what it proposes, and that it leaves no run."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import changed, smallest_config

import corolla
from corolla.cli import run_command
from corolla.commands.train import _without
from corolla.config import Config
from corolla.errors import UserError
from corolla.training import find_lr as module
from corolla.training.find_lr import LearningRates, find_lr


@pytest.fixture(scope="module", autouse=True)
def fewer_steps() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STEPS", 20)
        yield


@pytest.fixture
def config(tiny_data: Path, tmp_path: Path) -> Config:
    """Settings with two steps an epoch."""
    return changed(smallest_config(tiny_data, tmp_path / "runs"), "train", batch_size=16)


@pytest.fixture(scope="module")
def plain(tiny_data: Path) -> LearningRates:
    """The test of these settings."""
    return find_lr(changed(smallest_config(tiny_data, Path("runs")), "train", batch_size=16))


def test_it_goes_round_on_few_photos_and_keeps_nothing(config: Config, tmp_path: Path) -> None:
    found = find_lr(changed(config, "train", ema=0.9, mixup=0.2), experiment="tiny")
    assert found.name == "tiny-seed0"
    assert len(found.rates) > 2 * 2  # more than the epochs have
    assert found.rates[0] == pytest.approx(1e-6)
    steps = [after / before for before, after in zip(found.rates, found.rates[1:], strict=False)]
    assert steps == pytest.approx([steps[0]] * len(steps))
    assert not list(tmp_path.iterdir())


def test_neither_workers_nor_the_lr_of_the_settings_change_it_but_the_seed_does(
    config: Config, plain: LearningRates
) -> None:
    again = changed(changed(config, "pipeline", workers=2), "optim", lr=3.0, schedule="cosine")
    assert find_lr(again) == plain
    assert find_lr(changed(config, "train", seed=1)).losses != plain.losses


@pytest.mark.parametrize("name", ["sgd", pytest.param("adamw", marks=pytest.mark.slow)])
def test_it_ends_where_the_loss_diverges(name: str, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOWEST", 1e-2)
    monkeypatch.setattr(module, "HIGHEST", 1e9)
    with_head = changed(changed(config, "train", head_epochs=1), "optim", name=name)
    found = find_lr(with_head)
    assert found.diverged
    assert "it diverged at" in found.summary
    assert found == find_lr(changed(config, "optim", name=name))  # of the whole network: the head alone stands more


def test_the_rate_is_that_of_the_option_also_where_it_is_scaled(
    config: Config, plain: LearningRates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOWEST", 1e-5)
    monkeypatch.setattr(module, "HIGHEST", 1e2)
    scaled = find_lr(changed(config, "optim", lr_batch=160))  # the batch has 16 images, a tenth of it
    assert scaled.losses == pytest.approx(plain.losses, rel=1e-4)
    assert scaled.rates == pytest.approx([10 * rate for rate in plain.rates[: len(scaled.rates)]])


def made(losses: list[float]) -> LearningRates:
    smoothed: list[float] = []
    for number in range(len(losses)):
        smoothed.append(module._smooth(losses[: number + 1], smoothed))
    rates = tuple(1e-6 * 10 ** (number / 20) for number in range(len(losses)))
    return LearningRates("mine", rates, tuple(losses), tuple(smoothed))


def test_a_tenth_of_the_rate_of_the_lowest_loss_is_proposed() -> None:
    found = made([4.0] * 60 + [4.0 - 0.05 * n for n in range(60)] + [1.05 + 0.2 * n for n in range(30)])
    assert 110 < found.lowest < 135
    assert found.proposed == pytest.approx(found.rates[found.lowest] / 10, rel=0.05)
    assert f"--optim.lr {found.proposed:g}, a tenth of" in found.summary
    assert list(found.to_pandas()) == ["step", "lr", "loss", "smoothed"]


def test_a_loss_that_hardly_falls_gives_no_proposal() -> None:
    found = made([4.0 - 0.0001 * n for n in range(100)] + [50.0])
    assert found.proposed is None
    assert "no learning rate to propose, as the loss hardly fell" in found.summary


def test_the_noise_of_few_photos_neither_ends_it_nor_gives_a_proposal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", 200)
    found = made([0.4, 2.8, 1.9, 0.9] * 25)
    assert found.lowest >= 9
    assert found.proposed is None


def test_the_command_writes_the_curve_and_names_the_next_command(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "LEAST_FALL", -10.0)  # so that there is a proposal after so few steps
    (tmp_path / "tiny.toml").write_text('[model]\nname = "timm:test_efficientnet"\n[train]\nbatch_size = 8\n')
    words = ["train", "tiny.toml", "--data", str(config.data), "--device", "cpu", "--pipeline.workers", "0"]
    for _ in range(2):
        assert run_command([*words, "--optim.lr", "7", "--find-lr"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["learning-rates", "tiny.toml"]
    folder = tmp_path / "learning-rates" / "tiny-seed0"
    assert sorted(path.name for path in folder.iterdir()) == ["curve.csv", "curve.png"]
    assert not folder.with_name("tiny-seed0-2").exists()  # the same test is the same curve
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"next: corolla train tiny.toml --data {config.data} --device cpu --pipeline.workers 0")
    assert last.rpartition(" ")[0].endswith("--optim.lr")


def test_a_run_lends_its_settings_and_is_not_touched(config: Config, tmp_path: Path) -> None:
    run = corolla.train(changed(config, "train", epochs=1), run_name="mine")
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    found = find_lr(run, device="cpu")
    assert found.name == "mine"
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before
    begun = find_lr(changed(config, "train", epochs=1), init_from=run.folder)
    assert begun.losses != found.losses
    with pytest.raises(UserError, match="--resume goes on with one: leave it out"):
        find_lr(config, resume=run.folder)
    with pytest.raises(UserError, match=r"--train\.fit-hours chooses"):
        find_lr(run, fit_hours=1.0, epochs=3)
    (run.folder / "environment.json").write_text(json.dumps({**run.environment, "data": "/elsewhere/photos"}))
    for start in (find_lr, corolla.train):
        with pytest.raises(UserError, match=r"mine: was trained on /elsewhere/photos, which is not here; .* --data F"):
            start(run)


def test_interrupted_it_leaves_nothing(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from corolla.training import failures

    def update(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(failures, "update", update)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        find_lr(config)
    assert not list(tmp_path.iterdir())


def test_words_of_the_command_line_are_left_out_with_their_values() -> None:
    words = ["--find-lr", "--data", "d", "--optim.lr", "0.1", "--optim.lr=3", "--optim.lr-batch", "8"]
    assert _without(words, "--find-lr", "--optim.lr") == ["--data", "d", "--optim.lr-batch", "8"]
