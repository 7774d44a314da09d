"""Where a run starts: its own checkpoint, a copy of another run, a checkpoint, weights, or nothing."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support import changed, corolla_process, everything_on, same_content, stop_at, write_data

import corolla.device
import corolla.training.loop
import corolla.training.train
from corolla.compare.compare import compare
from corolla.config import Config, OptimConfig, PipelineConfig, TrainConfig
from corolla.data.loader import Batch
from corolla.errors import UserError
from corolla.evaluation.metrics import Metrics
from corolla.evaluation.predict import predict
from corolla.files import sha256
from corolla.runs.checkpoint import load_checkpoint
from corolla.runs.copy import copy_run
from corolla.runs.folder import Run
from corolla.training import stop
from corolla.training.state import TrainState
from corolla.training.train import train

STEPS = 5  # an epoch; there are three


@pytest.fixture(autouse=True)
def notes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "corolla")


@pytest.fixture(scope="module", autouse=True)
def first_epoch_is_best() -> Iterator[None]:
    """So that best.pt can only come from the session that the first epoch was in."""
    evaluate = corolla.training.loop.evaluate

    def worse_and_worse(state: TrainState, *args: Any, **kwargs: Any) -> Metrics | None:
        metrics = evaluate(state, *args, **kwargs)
        return metrics and dataclasses.replace(metrics, macro_f1=1 / (1 + len(state.progress.history)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corolla.training.loop, "evaluate", worse_and_worse)
        yield


@pytest.fixture(scope="module")
def earlier(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The settings that the earlier sessions ran."""
    return everything_on(
        Config(
            data=tiny_data,
            runs=tmp_path_factory.mktemp("earlier"),
            device="cpu",
            train=TrainConfig(batch_size=8, keep_every=1),
            pipeline=PipelineConfig(workers=0),
        )
    )


@pytest.fixture(scope="module")
def undisturbed(earlier: Config) -> Run:
    return train(earlier, experiment="undisturbed")


@pytest.fixture(scope="module")
def session(earlier: Config) -> Iterator[Callable[[int], Run]]:
    """The run of a session that ended after so many steps, as its notebook's output is mounted: elsewhere, read-only,
    and with what a kill may have left in it."""
    made: dict[int, Run] = {}

    def until(step: int) -> Run:
        if step not in made:
            run = train(earlier, experiment=f"session{step}", on_step=stop_at(step))
            predict(run.folder, split="val", device="cpu", workers=0) if run.best.exists() else None
            made[step] = mounted(run)
        return made[step]

    yield until
    for run in made.values():
        run.folder.chmod(0o755)
        for path in run.folder.rglob("*"):
            path.chmod(0o755)


def mounted(run: Run) -> Run:
    folder = run.folder.parent / "input" / "my-notebook-output" / "runs" / run.name
    shutil.copytree(run.folder, folder)
    environment = {**run.environment, "data": "/kaggle/input/elsewhere"}
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / ".best.pt.7.tmp").write_bytes(b"half")
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return Run(folder)


def content(run: Run) -> dict[str, str]:
    return {str(path.relative_to(run.folder)): sha256(path) for path in run.folder.rglob("*") if path.is_file()}


def here(config: Config, source: Run, tmp_path: Path, **changes: Any) -> Config:
    """The command in the later session."""
    return dataclasses.replace(config, runs=tmp_path / "runs", run_name="here", resume=source.folder, **changes)


def assert_equal(run: Run, undisturbed: Run) -> None:
    assert run.state == "done"
    assert (run.folder / "metrics.jsonl").read_bytes() == (undisturbed.folder / "metrics.jsonl").read_bytes()
    for name in ("last.pt", "best.pt", *(f"epoch-00{n}.pt" for n in (1, 2, 3))):
        assert same_content(run.folder / name, undisturbed.folder / name)
    assert load_checkpoint(run.last)["progress"]["inherited"] == 0


@pytest.mark.parametrize("step", [2, *(pytest.param(step, marks=pytest.mark.slow) for step in (STEPS, 2 * STEPS + 3))])
def test_a_copy_goes_on_as_if_in_place(
    step: int,
    earlier: Config,
    session: Callable[[int], Run],
    undisturbed: Run,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Before the first epoch's end, at it (evaluated by the later session), and with the best epoch behind it."""
    source = session(step)
    before = content(source)
    config = here(earlier, source, tmp_path)
    run = train(config)
    assert f"going on with a copy of {source.folder} in {run.folder}" in caplog.text
    assert_equal(run, undisturbed)
    assert content(source) == before
    assert run.environment["started"][:-1] == source.environment["started"]
    assert run.environment["resumed_from"] == str(source.folder)
    assert run.environment["data"] == str(earlier.data.resolve())
    timing = [json.loads(line)["epoch"] for line in (run.folder / "timing.jsonl").read_text().splitlines()]
    assert timing == [1, 2, 3]
    assert all(path.stat().st_mode & 0o200 for path in run.folder.rglob("*"))
    assert not list(run.folder.rglob("*.tmp"))
    copied = {name for name in before if name.startswith(("predictions/", "events.out"))}
    assert copied <= set(content(run))
    assert len(copied) == (1 if step <= STEPS else 3)  # events; and predictions, as .npz and as .csv


def test_the_copys_own_checkpoint_wins(
    earlier: Config,
    session: Callable[[int], Run],
    undisturbed: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Three sessions, the last without the first one's folder."""
    config = here(earlier, session(2), tmp_path)
    assert train(config, on_step=stop_at(8)).state == "stopped"
    caplog.clear()
    run = train(dataclasses.replace(config, resume=tmp_path / "not mounted any more"))
    said = caplog.text
    assert "copy of" not in said
    assert "resuming" in said
    assert_equal(run, undisturbed)
    assert len(run.environment["started"]) == 3
    assert run.environment["resumed_from"] == str(config.resume)


def test_a_finished_run_is_copied_and_finished(
    earlier: Config, undisturbed: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = content(undisturbed)
    run = train(here(earlier, undisturbed, tmp_path))
    said = caplog.text
    assert said.index("going on with a copy of") < said.index("this run is finished (3 epochs)")
    assert_equal(run, undisturbed)
    assert content(undisturbed) == before
    unlike = {name for name, digest in before.items() if content(run).get(name) != digest}
    assert unlike == {"environment.json"}
    assert run.environment["started"] == undisturbed.environment["started"]


def test_the_input_size_of_the_earlier_session_is_the_default(
    earlier: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = train(dataclasses.replace(earlier, runs=tmp_path, input_size=24), on_step=stop_at(2))
    run = train(here(earlier, source, tmp_path, size=32))
    assert "going on with a copy of" in caplog.text
    assert run.config.input_size == 24


def test_a_copy_with_more_epochs_goes_on_by_the_schedule_of_the_new_length(
    earlier: Config, session: Callable[[int], Run], tmp_path: Path
) -> None:
    cosine = changed(earlier, "optim", schedule="cosine")
    source = train(dataclasses.replace(cosine, runs=tmp_path / "earlier"), experiment="short")
    longer = changed(here(cosine, source, tmp_path), "train", epochs=5)
    run = train(longer)
    assert run.state == "done"
    assert [row["step"] for row in run.metrics] == [5, 10, 15, 20, 25]
    assert run.metrics[:3] == source.metrics
    assert run.metrics[3]["lr"] > source.metrics[2]["lr"]  # which was nearly 0 at its end
    assert run.config.train.epochs == 5
    assert source.config.train.epochs == 3
    assert run.environment["resumed_from"] == str(source.folder)
    assert run.environment["lengthened_from"] == [3]
    straight = train(dataclasses.replace(changed(cosine, "train", epochs=5), runs=tmp_path / "straight"))
    told = compare([run.folder, straight.folder], device="cpu", workers=0)
    assert len(told.recipes) == 2, "they are not two seeds of one recipe"
    (caution,) = [line for recipe in told.recipes for line in recipe.cautions]
    assert "was lengthened from 3 to 5 epochs" in caution


@pytest.mark.parametrize("what", ["other photos", "other names"])
def test_a_finished_run_of_other_data_is_not_finished(undisturbed: Run, what: str, tmp_path: Path) -> None:
    """The same command after the data were written anew: the run is of what lay there before."""
    folder = write_data(tmp_path / "data", train=32)
    if what == "other names":
        folder = write_data(tmp_path / "names")
        (folder / "classes.txt").write_text("\n".join(f"sort {n}" for n in range(5)) + "\n")
    config = dataclasses.replace(undisturbed.config, data=folder, runs=undisturbed.folder.parent, device="cpu")
    before = content(undisturbed)
    with pytest.raises(UserError, match=r"its (train images|classes \(classes.txt\)) are not those that .*last.pt was"):
        train(config, experiment="undisturbed")
    assert content(undisturbed) == before


def test_a_run_that_has_begun_is_not_taken_for_the_copy_of_another(
    earlier: Config, session: Callable[[int], Run], undisturbed: Run, tmp_path: Path
) -> None:
    config = here(earlier, session(2), tmp_path)
    run = train(config, on_step=stop_at(3))
    before = content(run)
    with pytest.raises(UserError, match=r"holds a run that goes on from .*, not from .*leave --resume out"):
        train(dataclasses.replace(config, resume=undisturbed.folder))
    with pytest.raises(UserError, match=r"holds a run of its own, not from"):
        train(dataclasses.replace(earlier, run_name=undisturbed.name, resume=run.folder))
    assert content(run) == before
    assert train(dataclasses.replace(config, resume=run.folder)).state == "done", "itself is what is meant"


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("optim", {"lr": 0.01}, r"optim\.lr is 0\.1, now 0\.01"),
        ("train", {"epochs": 2}, r"train\.epochs is 3, now 2"),
        ("train", {"epochs": 9, "seed": 1}, r"train\.seed is 0, now 1"),
    ],
)
def test_a_copy_with_other_settings_is_refused(
    section: str,
    values: dict[str, Any],
    said: str,
    earlier: Config,
    session: Callable[[int], Run],
    tmp_path: Path,
) -> None:
    config = changed(here(earlier, session(2 * STEPS + 3), tmp_path), section, **values)
    with pytest.raises(UserError, match=f"--resume .* has other settings .*{said}.* use --init-from$"):
        train(config)
    assert not (config.runs / "here").exists()


def test_resume_says_what_it_cannot_go_on_with(earlier: Config, session: Callable[[int], Run], tmp_path: Path) -> None:
    source = session(STEPS)
    begun = dataclasses.replace(earlier, runs=tmp_path, run_name="x")
    for change, message in (
        ({"resume": source.last}, r"is a checkpoint; --resume takes a run's folder, --init-from a checkpoint"),
        ({"resume": tmp_path / "nowhere"}, r"no run is in this folder"),
        ({"resume": source.folder, "init_from": source.folder}, r"give one of the two"),
        ({"resume": source.folder, "resume_from": source.folder}, r"give one of the two"),
        ({"init_from": tmp_path / "none.pt"}, r"--init-from .*none\.pt: there is no checkpoint"),
    ):
        with pytest.raises(UserError, match=message):
            train(dataclasses.replace(begun, **change))
    (tmp_path / "text.pt").write_text("not a checkpoint")
    with pytest.raises(UserError, match=r"text\.pt: not a readable checkpoint"):
        train(dataclasses.replace(begun, init_from=tmp_path / "text.pt"))


def test_a_new_run_from_a_checkpoint_starts_at_epoch_1(earlier: Config, undisturbed: Run, tmp_path: Path) -> None:
    before = content(undisturbed)
    config = dataclasses.replace(earlier, runs=tmp_path, run_name="new", init_from=undisturbed.folder)
    config = changed(changed(config, "optim", lr=1e-6), "train", ema=0.0)
    states: list[torch.Tensor] = []

    def record(state: TrainState, batch: Batch, lr: float, loss: torch.Tensor) -> None:
        weight = next(iter(state.model.parameters()))
        if not states:
            states.extend((weight.detach().clone(), state.optimizer.state[weight]["momentum_buffer"].clone()))

    run = train(config, on_step=record)
    assert [row["epoch"] for row in run.metrics] == [1, 2, 3]
    assert run.config.init_sha256 == sha256(undisturbed.last)
    assert run.environment["init_from"] == str(undisturbed.last)
    assert content(undisturbed) == before
    source = load_checkpoint(undisturbed.last)
    first = next(iter(source["model"].values()))
    assert torch.allclose(states[0], first, atol=1e-4)  # after one step at a learning rate of a millionth
    momentum = source["optimizer"]["state"][0]["momentum_buffer"]
    assert torch.nn.functional.cosine_similarity(states[1].flatten(), momentum.flatten(), dim=0) > 0.1
    # The same command goes on, also where the checkpoint is gone by then; its hash stands in config.json.
    again = train(dataclasses.replace(config, init_from=tmp_path / "gone"))
    assert again.state == "done"
    for other in ({"init_from": None}, {"init_from": undisturbed.best}):
        with pytest.raises(UserError, match=r"holds a run of another config \(init_sha256 is "):
            train(dataclasses.replace(config, **other))
    assert train(dataclasses.replace(config, init_sha256=f" {run.config.init_sha256.upper()}\n")).state == "done"
    with pytest.raises(UserError, match=r"init_sha256.*64 hexadecimal digits"):
        train(dataclasses.replace(config, init_sha256=run.config.init_sha256[:12]))
    with pytest.raises(UserError, match=r"starts from the checkpoint with the SHA-256 [0-9a-f]{12}.*--init-from"):
        train(dataclasses.replace(run.config, data=earlier.data, runs=tmp_path, run_name="again", device="cpu"))
    wrong = dataclasses.replace(run.config, data=earlier.data, runs=tmp_path, run_name="again", device="cpu")
    with pytest.raises(UserError, match=r"its SHA-256 is .* as asked for"):
        train(dataclasses.replace(wrong, init_from=undisturbed.best))


def test_a_run_from_a_checkpoint_goes_on_in_a_copy(earlier: Config, undisturbed: Run, tmp_path: Path) -> None:
    """Without the checkpoint, which its own has replaced."""
    config = dataclasses.replace(earlier, runs=tmp_path, run_name="new", init_from=undisturbed.folder)
    stopped = train(config, on_step=stop_at(7))
    run = train(dataclasses.replace(earlier, runs=tmp_path, run_name="copy", resume=stopped.folder))
    assert run.state == "done"
    assert run.config == stopped.config
    assert train(dataclasses.replace(earlier, runs=tmp_path, run_name="copy", resume=stopped.folder)).state == "done"


def test_a_checkpoint_for_a_run_that_began_without_one_is_refused(earlier: Config, undisturbed: Run) -> None:
    config = dataclasses.replace(earlier, run_name=undisturbed.name, init_from=undisturbed.best)
    with pytest.raises(UserError, match="holds a run that did not begin with --init-from; leave it out"):
        train(config)


def test_weights_beside_a_checkpoint_have_no_effect(
    earlier: Config, undisturbed: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = changed(earlier, "model", weights=str(tmp_path / "none.pt"))
    config = changed(dataclasses.replace(config, runs=tmp_path, init_from=undisturbed.folder), "train", epochs=1)
    with pytest.raises(UserError, match=r"^--model\.weights has no effect with --init-from: leave it out"):
        train(config, explicit=["model.weights"])
    assert train(config).state == "done"
    assert "note: --model.weights has no effect with --init-from" in caplog.text


def test_a_start_that_failed_says_nothing_of_the_next_one(earlier: Config, undisturbed: Run, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "environment.json").write_text(json.dumps({"init_from": "another.pt", "resumed_from": "x"}))
    config = dataclasses.replace(earlier, runs=tmp_path, run_name="new", init_from=undisturbed.folder)
    run = train(changed(config, "train", epochs=1))
    assert run.environment["init_from"] == str(undisturbed.last)
    assert run.environment["resumed_from"] is None


def test_another_optimizer_or_another_network_from_a_checkpoint(
    earlier: Config, undisturbed: Run, tmp_path: Path
) -> None:
    config = dataclasses.replace(earlier, runs=tmp_path, run_name="adamw", init_from=undisturbed.best)
    adamw = dataclasses.replace(config, optim=OptimConfig(name="adamw", lr=1e-4, schedule="cosine"))
    assert train(changed(adamw, "train", epochs=1)).state == "done"
    with pytest.raises(UserError, match=r"best\.pt: its network is not resnet18 as configured: "):
        train(changed(dataclasses.replace(config, run_name="other"), "model", name="resnet18", drop_path=0.0))


def test_another_number_of_classes_from_a_checkpoint(earlier: Config, undisturbed: Run, tmp_path: Path) -> None:
    """The classifier starts anew, and with it its momentum."""
    data = write_data(tmp_path / "data")
    (data / "classes.txt").write_text("".join(f"kind {n}\n" for n in range(7)))
    config = dataclasses.replace(earlier, data=data, runs=tmp_path, run_name="seven", init_from=undisturbed.folder)
    run = train(changed(config, "train", epochs=1))
    assert run.state == "done"
    assert len(load_checkpoint(run.last)["class_names"]) == 7


def test_a_crop_fraction_of_its_own_is_not_dropped_in_silence(earlier: Config, tmp_path: Path) -> None:
    """It is in the checkpoint's preprocessing, where nothing tells it from the weights' own."""
    source = train(changed(dataclasses.replace(earlier, runs=tmp_path / "earlier"), "augment", crop_fraction=0.9))
    new = dataclasses.replace(earlier, runs=tmp_path, run_name="new", init_from=source.folder)
    with pytest.raises(UserError, match=r"last\.pt: was trained with --augment\.crop-fraction 0\.9; give it again, or"):
        train(new)
    run = train(changed(new, "augment", crop_fraction=1.0))
    assert load_checkpoint(run.last)["preprocessing"]["crop_fraction"] == 1.0


def test_the_old_option_still_works_and_says_which_of_the_two_to_use(
    earlier: Config, session: Callable[[int], Run], undisturbed: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = session(2 * STEPS + 3)
    old = dataclasses.replace(earlier, runs=tmp_path, run_name="same", resume_from=source.folder)
    assert_equal(train(old), undisturbed)
    assert f"--resume-from goes with the next release; for this, use --resume {source.folder}" in caplog.text
    caplog.clear()
    run = train(changed(dataclasses.replace(old, run_name="other"), "optim", lr=0.01))
    assert f"for a new run from these weights, use --init-from {source.folder}" in caplog.text
    assert [row["epoch"] for row in run.metrics] == [1, 2, 3]
    assert run.config.init_sha256 == sha256(source.last)


def test_other_data_are_refused_before_anything_is_copied(
    earlier: Config, session: Callable[[int], Run], tmp_path: Path
) -> None:
    config = here(earlier, session(2), tmp_path, data=write_data(tmp_path / "other", train=48))
    with pytest.raises(UserError, match="train images are not those"):
        train(config)
    assert not (config.runs / "here").exists()


@pytest.mark.parametrize("split", ["train", "val"])
def test_data_without_a_split_that_it_needs_are_told_before_anything_is_made(
    split: str, tiny_data: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data, ignore=shutil.ignore_patterns(split))
    with pytest.raises(UserError, match=f"{split}: no .tfrec files, but the split {split} is needed$"):
        train("transfer_best", data=data, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_another_share_of_the_photos_is_refused(earlier: Config, session: Callable[[int], Run], tmp_path: Path) -> None:
    """Its epochs have another length, so that none would ever be over."""
    config = changed(here(earlier, session(2), tmp_path), "train", share=0.5)
    with pytest.raises(UserError, match=r"has other settings \(train\.share is 1\.0, now 0\.5\)"):
        train(config)


def test_wherever_copying_fails_nothing_is_taken_for_the_run(
    session: Callable[[int], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure before each file gets its name; then all of it again."""
    source, rename = session(2 * STEPS + 3), Path.replace
    names: list[str] = []

    class Crash(Exception):
        pass

    def crash_at(number: int) -> Callable[[Path, Path], Path]:
        def counted(self: Path, target: Path) -> Path:
            if len(names) == number:
                raise Crash
            names.append(target.name)
            return rename(self, target)

        return counted

    monkeypatch.setattr(Path, "replace", crash_at(-1))
    copy_run(source, Run(tmp_path / "whole"), source.config)
    order = list(names)
    assert order[-3:] == ["environment.json", "config.json", "last.pt"]
    run = Run(tmp_path / "here")
    for number in range(len(order)):
        names.clear()
        monkeypatch.setattr(Path, "replace", crash_at(number))
        with pytest.raises(Crash):
            copy_run(source, run, source.config)
        assert run.state == "new"
        assert (run.folder / "config.json").exists() == (number == len(order) - 1)
    monkeypatch.setattr(Path, "replace", rename)
    copy_run(source, run, source.config)
    assert content(run) == content(Run(tmp_path / "whole"))


KILLED = """
import shutil, sys, time
import corolla.runs.copy
from corolla.cli import run_command
copyfile = shutil.copyfile
def slow(source, target):
    if source.name == sys.argv[1]:
        target.write_bytes(source.read_bytes()[:1000])
        print("halfway", flush=True)
        time.sleep(600)
    return copyfile(source, target)
shutil.copyfile = slow
run_command(sys.argv[2:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
def test_killed_while_copying(
    name: str, earlier: Config, session: Callable[[int], Run], undisturbed: Run, tmp_path: Path
) -> None:
    source = session(2 * STEPS + 3)
    before = content(source)
    config = here(earlier, source, tmp_path)
    options = ["--data", config.data, "--runs", config.runs, "--run-name", "here", "--resume", source.folder]
    command = ["train", str(source.folder / "config.json"), *map(str, options), "--device", "cpu"]
    with corolla_process([sys.executable, "-c", KILLED, name, *command]) as process:
        assert process.stdout is not None
        assert "halfway\n" in iter(process.stdout.readline, ""), "it ended before"
        process.kill()
        process.wait()
    run = Run(config.runs / "here")
    assert list(run.folder.glob(".last.pt.*.tmp"))
    assert run.state == "new"
    assert not (run.folder / "config.json").exists()
    assert_equal(train(config), undisturbed)
    assert not list(run.folder.rglob("*.tmp"))
    assert content(source) == before


def test_training_says_which_gpu_is_idle_and_when_a_session_ends(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def budget_of(max_hours: float | None) -> stop.Budget:
        return stop.time_budget(max_hours, environ={"KAGGLE_KERNEL_RUN_TYPE": "Batch"}, used=lambda: 20)

    monkeypatch.setattr(corolla.training.train, "time_budget", budget_of)
    monkeypatch.setattr(stop, "LEAST_HOURS", 1e-9)
    monkeypatch.setattr(corolla.device, "idle_gpus", lambda device, number: f"idle beside {device}" * number)
    assert train(tiny_config).state == "stopped"
    said = caplog.text
    assert "idle beside cpu" in said
    assert "20.0 h of this one are over" in said
    assert train(changed(tiny_config, "train", max_hours=1.0)).state == "done"


def test_a_second_gpu_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    from corolla.device import idle_gpus

    for count in (0, 1):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert idle_gpus(torch.device("cuda")) is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert idle_gpus(torch.device("cuda")) == (
        "cuda:1 (Tesla T4) is idle: a run in 2 parts uses all (--train.accumulate 2; batch norm then sees a part at a "
        "time, which decides the result), or train another beside it with --device cuda:1 --run-name NAME"
    )
    assert idle_gpus(torch.device("cuda:1")) is None  # the one that follows this advice: cuda:0 is at work
    assert idle_gpus(torch.device("cpu")) is None
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert (idle_gpus(torch.device("cuda")) or "").startswith("cuda:1 (Tesla T4), cuda:2 (Tesla T4) are idle: ")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # of two machines, which have four processes
    assert (idle_gpus(torch.device("cuda:0"), 4) or "").startswith("cuda:2 (Tesla T4) is idle: a run in 5 parts uses")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert idle_gpus(torch.device("cuda:0"), 3) is None
