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
from corolla.training.failures import TrainingFailed
from support import break_first_jpeg, changed, corolla_process, same_content

import corolla.training.log
from corolla.config import Config, OptimConfig
from corolla.errors import UserError
from corolla.runs.checkpoint import load_checkpoint, rebuild_model
from corolla.runs.folder import locked
from corolla.training.loop import best_row, train
from corolla.training.state import TrainState


def test_a_run_folder_holds_what_the_design_says(tiny_config: Config) -> None:
    run = train(tiny_config, experiment="tiny")
    assert run.name == "tiny-seed0"
    assert run.state == "done"
    assert [set(row) for row in run.metrics] == [
        {"epoch", "step", "lr", "train_loss", "val_loss", "top1", "top5", "macro_f1"}
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
    assert all(line["images_per_s"] > 0 and line["memory_mib"] > 0 for line in timing)
    assert list((run.folder / "tensorboard").glob("events*"))
    model, description = rebuild_model(load_checkpoint(run.best))
    assert description.class_names[1] == "kind 1"
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 5)


def test_it_learns(tiny_config: Config) -> None:
    run = train(changed(tiny_config, "train", epochs=12))
    assert run.metrics[-1]["macro_f1"] > 0.8


GOLDEN = [2.125406, 1.721156, 1.492893]  # with one thread: how sums are split up changes their last bits


def test_golden_losses(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refactor keeps these; whoever changes them on purpose says why."""
    losses: list[float] = []
    update = TrainState.update

    def recorded(self: TrainState, *args: Any) -> torch.Tensor:
        loss = update(self, *args)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(TrainState, "update", recorded)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train(changed(changed(tiny_config, "train", precision="fp32", epochs=1), "optim", lr=0.001))
    finally:
        torch.set_num_threads(threads)
    assert losses[:3] == pytest.approx(GOLDEN, rel=1e-3)


def test_two_runs_are_the_same_bits(tiny_config: Config) -> None:
    first, second = (train(everything_on(tiny_config), experiment=name) for name in ("first", "second"))
    assert first.metrics == second.metrics
    assert same_content(first.last, second.last)


@pytest.mark.parametrize("step", [2, 5, 8])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_resumed_is_as_if_never_stopped(
    step: int, number: int, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In mid-epoch, at an epoch's end, with workers changed on the way."""
    config = everything_on(tiny_config)
    undisturbed = train(config, experiment="undisturbed")
    with monkeypatch.context() as patch:
        stop_at(patch, step, number)
        stopped = train(config, experiment="stopped")
    assert stopped.state == "stopped"
    assert load_checkpoint(stopped.last)["progress"]["step"] == step
    resumed = train(changed(config, "pipeline", workers=2), experiment="stopped")
    assert resumed.state == "done"
    assert len(resumed.environment["started"]) == 2
    assert (resumed.folder / "metrics.jsonl").read_bytes() == (undisturbed.folder / "metrics.jsonl").read_bytes()
    assert same_content(resumed.last, undisturbed.last)
    assert same_content(resumed.best, undisturbed.best)


def test_the_time_budget_stops_with_a_checkpoint(tiny_config: Config) -> None:
    config = changed(tiny_config, "train", max_hours=1e-9)
    run = train(config)
    assert run.state == "stopped"
    assert run.last.exists()
    assert train(changed(tiny_config, "train", max_hours=None)).state == "done"


def test_a_finished_run_is_left_alone(tiny_config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tiny_config)
    before = run.last.read_bytes(), (run.folder / "environment.json").read_bytes()
    assert train(tiny_config).state == "done"
    assert "is finished" in capsys.readouterr().out
    assert (run.last.read_bytes(), (run.folder / "environment.json").read_bytes()) == before


def test_another_config_is_refused_by_its_fields(tiny_config: Config) -> None:
    run = train(tiny_config)
    before = run.last.read_bytes()
    with pytest.raises(UserError, match=r"optim.lr is 0.005, now 0.5.*choose another --run-name"):
        train(changed(tiny_config, "optim", lr=0.5))
    assert run.last.read_bytes() == before


def test_other_images_are_refused(tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from support import write_data

    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        train(tiny_config)
    other = write_data(tmp_path / "other", train=48)
    with pytest.raises(UserError, match="train images are not those"):
        train(dataclasses.replace(tiny_config, data=other))


def test_a_moved_data_folder_is_the_same_data(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        train(tiny_config)
    moved = shutil.copytree(tiny_config.data, tmp_path / "moved")
    assert train(dataclasses.replace(tiny_config, data=moved)).state == "done"


def test_one_process_at_a_time(tiny_config: Config) -> None:
    code = (
        "import sys, time, pathlib\nfrom corolla.runs.folder import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n    print('locked', flush=True)\n    time.sleep(60)\n"
    )
    folder = tiny_config.runs / "custom-seed0"
    with corolla_process([sys.executable, "-c", code, str(folder)]) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match="another process is training into this folder"):
            train(tiny_config)
        holder.kill()
        holder.wait()
        with locked(folder):
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
    update = TrainState.update

    def recorded(self: TrainState, *args: Any) -> torch.Tensor:
        loss = update(self, *args)
        weights.append(torch.cat([p.detach().flatten() for p in self.model.parameters()]))
        return loss

    monkeypatch.setattr("corolla.training.losses.F.cross_entropy", poisoned)
    monkeypatch.setattr(TrainState, "update", recorded)
    with pytest.raises(TrainingFailed) as caught:
        train(tiny_config)
    message = str(caught.value)
    assert message.startswith("step 7: the loss is nan at lr 0.005; nothing was updated and ")
    ids = message.rsplit("Images of the step: ", 1)[1].split(", ")
    assert len(ids) == 8
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


def test_a_bad_image_stops_the_run_or_is_grey(tiny_config: Config, tmp_path: Path) -> None:
    data, line = break_first_jpeg(tmp_path / "broken")
    config = dataclasses.replace(tiny_config, data=data)
    with pytest.raises(UserError) as caught:
        train(config)
    assert str(caught.value).startswith(line)
    assert train(changed(config, "pipeline", bad_images="grey"), experiment="grey").state == "done"


def test_accumulation_is_one_update(tiny_config: Config) -> None:
    """Without batch statistics, four parts give the gradient of the whole."""
    config = changed(tiny_config, "model", name="timm:vit_tiny_patch16_224")
    config = dataclasses.replace(changed(config, "train", precision="fp32", epochs=1))
    whole, parts = (train(changed(config, "train", accumulate=n), experiment=f"parts{n}").metrics[0] for n in (1, 4))
    assert parts["train_loss"] == pytest.approx(whole["train_loss"], rel=1e-4)
    assert parts["val_loss"] == pytest.approx(whole["val_loss"], rel=1e-3)


def test_keep_every_keeps_checkpoints(tiny_config: Config) -> None:
    run = train(changed(tiny_config, "train", epochs=4, keep_every=2))
    assert sorted(path.name for path in run.folder.glob("epoch-*.pt")) == ["epoch-002.pt", "epoch-004.pt"]


def test_best_is_the_first_of_the_best() -> None:
    rows = [
        {"macro_f1": 0.5, "val_loss": 2.0},
        {"macro_f1": 0.7, "val_loss": 1.5},
        {"macro_f1": 0.7, "val_loss": 1.0},
    ]
    assert best_row(rows, "macro_f1") is rows[1]
    assert best_row(rows, "val_loss") is rows[2]


def test_resume_from_goes_on_with_other_settings(tiny_config: Config) -> None:
    first = train(tiny_config, experiment="first")
    config = changed(tiny_config, "train", epochs=4)
    config = dataclasses.replace(
        config, resume_from=first.last, run_name="second", optim=OptimConfig(lr=0.005, schedule="cosine")
    )
    second = train(config)
    assert second.name == "second"
    assert second.metrics[:2] == first.metrics
    assert [row["step"] for row in second.metrics] == [5, 10, 15, 20]
    assert second.metrics[2]["lr"] < 0.005
    assert second.environment["resumed_from"] == str(first.last)


def test_resume_from_with_the_same_settings_is_resuming(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    config = everything_on(tiny_config)
    undisturbed = train(config, experiment="undisturbed")
    with monkeypatch.context() as patch:
        stop_at(patch, 7)
        stopped = train(config, experiment="stopped")
    copied = train(dataclasses.replace(config, resume_from=stopped.folder, run_name="copied"))
    assert copied.metrics == undisturbed.metrics
    assert same_content(copied.last, undisturbed.last)


def test_resume_from_has_a_best_of_its_own(tiny_config: Config) -> None:
    """However good the first run was: best.pt is chosen among the epochs of this one."""
    first = train(changed(tiny_config, "train", epochs=6), experiment="first")
    config = changed(changed(tiny_config, "train", epochs=7), "optim", lr=1.0)  # ruins it
    second = train(dataclasses.replace(config, resume_from=first.folder, run_name="second"))
    assert second.metrics[6]["macro_f1"] < max(row["macro_f1"] for row in second.metrics)
    assert same_content(second.best, second.last)


def test_resume_from_keeps_the_input_size(tiny_config: Config) -> None:
    first = train(dataclasses.replace(tiny_config, input_size=24), experiment="first")
    config = dataclasses.replace(changed(tiny_config, "train", epochs=3), resume_from=first.last, run_name="second")
    assert train(config).config.input_size == 24


def test_a_start_that_fails_does_not_take_the_name(tiny_config: Config) -> None:
    with pytest.raises(UserError, match="no model is called"):
        train(changed(tiny_config, "model", name="resnet43"))
    assert train(tiny_config).state == "done"


def test_other_class_names_are_refused(tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        train(tiny_config)
    moved = Path(shutil.copytree(tiny_config.data, tmp_path / "moved"))
    (moved / "classes.txt").write_text("".join(f"kind {n}\n" for n in (1, 0, 2, 3, 4)))
    with pytest.raises(UserError, match=r"its classes \(classes\.txt\) are not those"):
        train(dataclasses.replace(tiny_config, data=moved))


def test_one_start_at_a_time_within_a_process(tiny_config: Config) -> None:
    with (
        locked(tiny_config.runs / "custom-seed0"),
        pytest.raises(UserError, match="this process is training into this folder already"),
    ):
        train(tiny_config)


def test_resume_from_with_another_batch_size_starts_at_an_epochs_end(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, 8)
        stopped = train(changed(tiny_config, "train", keep_every=1), experiment="stopped")
    config = dataclasses.replace(changed(tiny_config, "train", batch_size=10), run_name="bigger")
    with pytest.raises(UserError, match=r"is in mid-epoch \(step 8\)"):
        train(dataclasses.replace(config, resume_from=stopped.last))
    run = train(dataclasses.replace(config, resume_from=stopped.folder / "epoch-001.pt", run_name="bigger2"))
    assert [row["step"] for row in run.metrics] == [5, 8]


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("train", {"epochs": 2}, "has finished 2 epochs; ask for more"),
        ("model", {"name": "resnet34"}, "its network is not resnet34 as configured"),
    ],
)
def test_resume_from_refuses(section: str, values: dict[str, Any], message: str, tiny_config: Config) -> None:
    first = train(tiny_config, experiment="first")
    config = changed(changed(tiny_config, "train", epochs=3), section, **values)
    with pytest.raises(UserError, match=message):
        train(dataclasses.replace(config, resume_from=first.last, run_name="second"))


def test_a_foreign_file_is_no_checkpoint(tiny_config: Config, tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("not a checkpoint")
    with pytest.raises(UserError, match=r"text\.pt: not a readable checkpoint"):
        train(dataclasses.replace(tiny_config, resume_from=tmp_path / "text.pt", run_name="x"))
    with pytest.raises(UserError, match="there is no such checkpoint"):
        train(dataclasses.replace(tiny_config, resume_from=tmp_path / "none.pt", run_name="y"))


def test_transfer_from_an_own_run_keeps_its_preprocessing(tiny_config: Config) -> None:
    first = train(changed(tiny_config, "train", epochs=8), experiment="first")
    config = changed(tiny_config, "model", weights=str(first.folder))
    second = train(changed(config, "augment", crop_fraction=1.0), experiment="second")
    preprocessing = [load_checkpoint(run.last)["preprocessing"] for run in (first, second)]
    assert preprocessing[0]["mean"] == preprocessing[1]["mean"]
    assert [values["crop_fraction"] for values in preprocessing] == [0.875, 1.0]
    assert second.metrics[0]["train_loss"] < first.metrics[0]["train_loss"]


def test_scratch_uses_the_data_sets_own_statistics(tiny_config: Config) -> None:
    from corolla.data.statistics import stats

    run = train(changed(tiny_config, "train", epochs=1))
    color = stats(tiny_config.data).color
    preprocessing = load_checkpoint(run.last)["preprocessing"]
    assert tuple(preprocessing["mean"]) == color.mean
    assert tuple(preprocessing["std"]) == color.std


def test_tensorboard_has_loss_per_step_and_metrics_per_epoch(tiny_config: Config) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(changed(tiny_config, "train", log_steps=1))
    events = EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    assert {"step/train_loss", "step/lr", "epoch/val_loss", "epoch/top1", "epoch/top5", "epoch/macro_f1"} <= set(
        events.Tags()["scalars"]
    )
    assert [point.step for point in events.Scalars("step/train_loss")] == list(range(1, 11))
    assert [point.value for point in events.Scalars("epoch/top1")] == pytest.approx(
        [row["top1"] for row in run.metrics]
    )


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
    from corolla.evaluation.predict import predict

    config = changed(tiny_config, "model", name="timm:vit_tiny_patch16_224")
    run = train(changed(config, "train", batch_size=7, precision="fp32"))
    result = predict(run.folder, split="val", checkpoint="last", device="cpu", workers=0)
    assert result.predictions.labels is not None
    chosen = result.predictions.probabilities[np.arange(16), result.predictions.labels]
    assert run.metrics[-1]["val_loss"] == pytest.approx(float(-np.log(chosen).mean()), rel=1e-4)
