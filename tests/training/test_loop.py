"""Training through its public function: what it writes, that it is exact, and what it refuses."""

import dataclasses
import json
import math
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import changed, corolla_process, everything_on, one_thread, same_content, stop_at, write_data

import corolla.training.log
from corolla.config import Config
from corolla.data.loader import Batch
from corolla.errors import UserError
from corolla.evaluation.metrics import metrics_of_probabilities
from corolla.evaluation.predict import predict
from corolla.evaluation.predictions import Predictions
from corolla.runs.checkpoint import load_checkpoint, rebuild_model
from corolla.runs.folder import exclusive
from corolla.training.loop import TrainingFailed
from corolla.training.state import TrainState
from corolla.training.train import train


def test_a_run_folder_holds_what_the_design_says(tiny_config: Config) -> None:
    run = train(tiny_config, experiment="tiny")
    assert run.name == "tiny-seed0"
    assert run.state == "done"
    assert [set(row) for row in run.metrics] == [
        {"epoch", "step", "lr", "train_loss", "val_loss", "top1", "top5", "macro_f1", "train_top1"}
    ] * 2
    assert [(row["epoch"], row["step"]) for row in run.metrics] == [(1, 5), (2, 10)]
    assert run.config == dataclasses.replace(
        tiny_config, data=Path("data"), runs=Path("runs"), device="auto", size=32, input_size=32,
        pipeline=dataclasses.replace(tiny_config.pipeline, workers=None),
    )  # fmt: skip
    environment = run.environment
    assert environment["experiment"] == "tiny"
    assert environment["data"] == str(tiny_config.data.resolve())
    assert len(environment["started"]) == 1
    assert set(environment["fingerprint"]) == {"train", "val", "test"}
    timing = [json.loads(line) for line in (run.folder / "timing.jsonl").read_text().splitlines()]
    assert all(line["images_per_s"] > 0 and line["memory_mib"] > 0 and line["images"] == 40 for line in timing)
    assert list(run.folder.glob("events*"))
    model, description = rebuild_model(load_checkpoint(run.best))
    assert description.class_names[1] == "kind 1"
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 5)


def test_it_leaves_what_its_last_weights_say_of_val(tiny_config: Config) -> None:
    """To the bit what predict makes of last.pt."""
    run = train(changed(tiny_config, "train", epochs=1, ema=0.9, channels_last=True))
    left = predict(run, split="val", checkpoint="last", device="cpu", workers=0)
    assert not left.made
    left.path.unlink()
    made = predict(run, split="val", checkpoint="last", device="cpu", workers=0)
    assert made.made
    for field in dataclasses.fields(Predictions):
        assert np.array_equal(getattr(left.predictions, field.name), getattr(made.predictions, field.name)), field.name


def test_it_learns(tiny_config: Config) -> None:
    """The training photos alone: what it says of others is chance with so few."""
    run = train(changed(changed(tiny_config, "model", name="resnet18", width=0.125), "train", epochs=6))
    assert run.metrics[-1]["train_loss"] < 0.7 * run.metrics[0]["train_loss"]


GOLDEN = [2.125406, 1.721156, 1.492893]  # with one thread: how sums are split up changes their last bits


def test_golden_losses(tiny_config: Config) -> None:
    """A refactor keeps these; whoever changes them on purpose says why."""
    losses: list[float] = []

    class Enough(Exception):
        """Before a checkpoint of 90 MB is written."""

    def record(state: TrainState, batch: Batch, lr: float, loss: torch.Tensor) -> None:
        losses.append(loss.item())
        if len(losses) == len(GOLDEN):
            raise Enough

    config = changed(tiny_config, "model", name="resnet18")
    config = changed(changed(config, "train", precision="fp32", epochs=1), "optim", lr=0.001)
    with one_thread(), pytest.raises(Enough):
        train(config, on_step=record)
    assert losses == pytest.approx(GOLDEN, rel=1e-3)


def test_two_runs_are_the_same_bits(tiny_config: Config) -> None:
    first, second = (train(everything_on(tiny_config), experiment=name) for name in ("first", "second"))
    assert first.metrics == second.metrics
    assert same_content(first.last, second.last)


@pytest.mark.parametrize("step", [pytest.param(2, marks=pytest.mark.slow), 5, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_stopped_and_resumed_is_as_if_never_stopped(
    step: int, number: int, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In mid-epoch, at an epoch's end, with workers changed on the way."""
    config = everything_on(tiny_config)
    undisturbed = train(config, experiment="undisturbed")
    stopped = train(config, experiment="stopped", on_step=stop_at(step, number))
    assert stopped.state == "stopped"
    assert load_checkpoint(stopped.last)["progress"]["step"] == step
    resumed = train(changed(config, "pipeline", workers=2), experiment="stopped")
    assert resumed.state == "done"
    assert len(resumed.environment["started"]) == 2
    assert (resumed.folder / "metrics.jsonl").read_bytes() == (undisturbed.folder / "metrics.jsonl").read_bytes()
    assert same_content(resumed.last, undisturbed.last)
    assert same_content(resumed.best, undisturbed.best)


def test_an_epoch_with_repeats_is_longer(tiny_config: Config) -> None:
    """One epoch of 40 photos, three times each, in batches of 8."""
    config = changed(changed(tiny_config, "train", epochs=1, repeat=3), "optim", schedule="cosine", warmup_epochs=0.2)
    shown: list[int] = []
    rates: list[float] = []

    def record(state: TrainState, batch: Batch, lr: float, loss: torch.Tensor) -> None:
        shown.extend(batch.indices.tolist())
        rates.append(lr)

    run = train(config, on_step=record)
    assert [(row["epoch"], row["step"]) for row in run.metrics] == [(1, 15)]
    assert np.bincount(shown).tolist() == [3] * 40
    assert all(sorted(shown[first : first + 40]) == list(range(40)) for first in (0, 40, 80))
    assert rates.index(max(rates)) == 3, "3 of 15 steps of warm-up"
    assert rates[-1] < 0.02 * max(rates), "the cosine ends with the epoch"
    assert json.loads((run.folder / "config.json").read_text())["train"]["repeat"] == 3


@pytest.mark.slow
def test_an_epoch_with_repeats_resumes_in_its_middle(tiny_config: Config) -> None:
    """Stopped in the second showing."""
    config = changed(everything_on(tiny_config), "train", epochs=1, repeat=3)
    undisturbed = train(config, experiment="undisturbed")
    assert train(config, experiment="stopped", on_step=stop_at(7)).state == "stopped"
    resumed = train(changed(config, "pipeline", workers=2), experiment="stopped")
    assert same_content(resumed.last, undisturbed.last)


def test_the_time_budget_stops_with_a_checkpoint(tiny_config: Config) -> None:
    config = changed(tiny_config, "train", max_hours=1e-9)
    run = train(config)
    assert run.state == "stopped"
    assert run.last.exists()
    assert train(changed(tiny_config, "train", max_hours=None)).state == "done"


def test_a_finished_run_is_left_alone(tiny_config: Config, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "corolla")
    run = train(tiny_config)
    before = run.last.read_bytes(), (run.folder / "environment.json").read_bytes()
    assert train(tiny_config).state == "done"
    assert "is finished" in caplog.text
    assert (run.last.read_bytes(), (run.folder / "environment.json").read_bytes()) == before


def test_another_config_is_refused_by_its_fields(tiny_config: Config) -> None:
    run = train(tiny_config)
    before = run.last.read_bytes()
    with pytest.raises(UserError, match=r"optim.lr is 0.005, now 0.5.*choose another --run-name"):
        train(changed(tiny_config, "optim", lr=0.5))
    assert run.last.read_bytes() == before


def test_other_images_are_refused(tiny_config: Config, tmp_path: Path) -> None:
    train(tiny_config, on_step=stop_at(3))
    other = write_data(tmp_path / "other", train=48)
    with pytest.raises(UserError, match="train images are not those"):
        train(dataclasses.replace(tiny_config, data=other))


def test_a_moved_data_folder_is_the_same_data(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny_config, on_step=stop_at(3))
    moved = shutil.copytree(tiny_config.data, tmp_path / "moved")
    assert train(dataclasses.replace(tiny_config, data=moved)).state == "done"


def test_one_process_at_a_time(tiny_config: Config) -> None:
    code = (
        "import sys, time, pathlib\nfrom corolla.runs.folder import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1])):\n    print('locked', flush=True)\n    time.sleep(60)\n"
    )
    folder = tiny_config.runs / "custom-seed0"
    with corolla_process([sys.executable, "-c", code, str(folder)]) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match="another process is training into this folder"):
            train(tiny_config)
        holder.kill()
        holder.wait()
        with exclusive(folder):
            pass  # the lock died with its process


def test_a_loss_that_is_not_finite_stops_before_the_update(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    cross_entropy = torch.nn.functional.cross_entropy
    calls = 0

    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return cross_entropy(*args, **kwargs) * (math.nan if calls == 7 else 1.0)

    weights: list[torch.Tensor] = []

    def record(state: TrainState, batch: Batch, lr: float, loss: torch.Tensor) -> None:
        weights.append(torch.cat([p.detach().flatten() for p in state.model.parameters()]))

    monkeypatch.setattr("corolla.training.losses.F.cross_entropy", poisoned)
    with pytest.raises(TrainingFailed) as caught:
        train(tiny_config, on_step=record)
    message = str(caught.value)
    assert message.startswith("step 7: the loss is nan at lr 0.005; nothing was updated and ")
    assert "; most likely the learning rate is too high: try a lower --optim.lr, " in message
    number, *ids = message.rsplit("Images of the step: ", 1)[1].removesuffix(" and others").split(", ")
    assert (number, len(ids)) == ("8", 3)
    assert all(int(name, 16) < 40 for name in ids)
    assert len(weights) == 10  # the host looks at the next log step
    assert not torch.equal(weights[4], weights[5])
    assert all(torch.equal(weights[5], later) for later in weights[6:])
    assert load_checkpoint(tiny_config.runs / "custom-seed0" / "last.pt")["progress"]["step"] == 5


def test_weights_that_are_not_finite_are_not_saved(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient may overflow where the loss did not."""
    step, calls = torch.optim.SGD.step, 0

    def overflowing(self: torch.optim.SGD) -> None:
        nonlocal calls
        calls += 1
        if calls == 10:  # the last step of the second epoch: nothing but a look at the weights tells
            self.param_groups[0]["params"][0].grad.fill_(math.inf)
        step(self)

    monkeypatch.setattr(torch.optim.SGD, "step", overflowing)
    with pytest.raises(TrainingFailed, match=r"weights' norm is (nan|inf)"):
        train(tiny_config)
    content = load_checkpoint(tiny_config.runs / "custom-seed0" / "last.pt")
    assert content["progress"]["step"] == 5
    assert all(torch.isfinite(tensor).all() for tensor in content["model"].values())


def test_a_start_that_fails_does_not_take_the_name(tiny_config: Config) -> None:
    with pytest.raises(UserError, match="no model is called"):
        train(changed(tiny_config, "model", name="resnet43"))
    assert train(tiny_config).state == "done"


def test_transfer_from_an_own_run_keeps_its_preprocessing(tiny_config: Config) -> None:
    first = train(tiny_config, experiment="first")
    config = changed(tiny_config, "model", weights=str(first.folder))
    second = train(changed(config, "augment", crop_fraction=1.0), experiment="second")
    preprocessing = [load_checkpoint(run.last)["preprocessing"] for run in (first, second)]
    assert preprocessing[0]["mean"] == preprocessing[1]["mean"]
    assert [values["crop_fraction"] for values in preprocessing] == [0.875, 1.0]
    before, after = (next(iter(load_checkpoint(run.last)["model"].values())) for run in (first, second))
    assert torch.nn.functional.cosine_similarity(before.flatten(), after.flatten(), dim=0) > 0.9


def test_scratch_uses_the_data_sets_own_statistics(tiny_config: Config) -> None:
    from corolla.data.statistics import stats

    run = train(changed(tiny_config, "train", epochs=1))
    color = stats(tiny_config.data).color
    preprocessing = load_checkpoint(run.last)["preprocessing"]
    assert tuple(preprocessing["mean"]) == color.mean
    assert tuple(preprocessing["std"]) == color.std


@pytest.mark.parametrize("choice", ["train+val", "imagenet"])
def test_scratch_may_use_other_statistics_which_travel_with_the_weights(choice: str, tiny_config: Config) -> None:
    from corolla.data.statistics import stats
    from corolla.models.pretrained import IMAGENET

    run = train(changed(changed(tiny_config, "train", epochs=1), "augment", normalise=choice))
    expected = IMAGENET if choice == "imagenet" else stats(tiny_config.data, splits=("train", "val")).color
    preprocessing = load_checkpoint(run.last)["preprocessing"]
    assert (tuple(preprocessing["mean"]), tuple(preprocessing["std"])) == (expected.mean, expected.std)
    assert preprocessing["crop_fraction"] == 0.875
    left = predict(run, split="val", checkpoint="last", device="cpu", workers=0).predictions
    assert left.probabilities.shape == (16, 5)
    with pytest.raises(UserError, match=r"another config \(augment\.normalise"):
        train(changed(tiny_config, "train", epochs=1))


def test_tensorboard_has_loss_per_step_and_metrics_per_epoch(tiny_config: Config) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(changed(tiny_config, "train", log_steps=1))
    events = EventAccumulator(str(run.folder))
    events.Reload()
    by_epoch = {f"by_epoch/{name}" for name in ("val_loss", "top1", "top5", "macro_f1")}
    assert {"step/train_loss", "step/lr"} | by_epoch <= set(events.Tags()["scalars"])
    assert [point.step for point in events.Scalars("step/train_loss")] == list(range(1, 11))
    top1 = events.Scalars("by_epoch/top1")
    assert [point.step for point in top1] == [1, 2]
    assert [point.value for point in top1] == pytest.approx([row["top1"] for row in run.metrics])


@pytest.mark.parametrize("where", ["before the checkpoint", "between checkpoint and metrics"])
def test_a_failure_around_the_epochs_end_neither_loses_nor_doubles_a_line(
    where: str, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In process; the same with SIGKILL is in test_kill.py."""
    undisturbed = train(tiny_config, experiment="undisturbed")

    class Crash(Exception):
        pass

    def crash(*_: Any, **__: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        if where == "before the checkpoint":
            patch.setattr(TrainState, "save", crash)
        else:
            patch.setattr(corolla.training.log.RunLog, "epoch", crash)
        with pytest.raises(Crash):
            train(tiny_config, experiment="crashed")
    run = train(tiny_config, experiment="crashed")
    assert run.metrics == undisturbed.metrics
    assert same_content(run.last, undisturbed.last)


def test_validation_metrics_count_every_image_once(tiny_config: Config) -> None:
    """16 val images in batches of 7: no mean of batch means, no padding."""
    run = train(changed(tiny_config, "train", batch_size=7))
    result = predict(run.folder, split="val", checkpoint="last", device="cpu", workers=0)
    assert result.predictions.labels is not None
    chosen = result.predictions.probabilities[np.arange(16), result.predictions.labels]
    assert run.metrics[-1]["val_loss"] == pytest.approx(float(-np.log(chosen).mean()), rel=1e-6)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_validation_and_prediction_are_one_arithmetic(ema: float, tiny_config: Config) -> None:
    """Not one of the figures differs between an epoch's line and `corolla predict` with that epoch's weights."""
    run = train(changed(changed(tiny_config, "model", name="resnet18", width=0.25), "train", ema=ema))
    found = predict(run.folder, split="val", checkpoint="last", device="cpu", workers=0).predictions
    assert found.labels is not None
    scores = metrics_of_probabilities(found.probabilities, found.labels)
    last = run.metrics[-1]
    assert (last["val_loss"], last["top1"], last["macro_f1"]) == (scores.loss, scores.top1, scores.macro_f1)
