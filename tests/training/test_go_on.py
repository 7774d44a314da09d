"""A run that is named by its folder goes on as it was begun; with other settings the line says how to train on."""

import dataclasses
import json
from pathlib import Path

import pytest
from support import changed, smallest_config, stop_at

import corolla
from corolla.cli import run_command
from corolla.errors import UserError
from corolla.runs.folder import Run
from corolla.training.train import train


@pytest.fixture(scope="module")
def stopped(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was stopped in its first epoch."""
    runs = tmp_path_factory.mktemp("go-on") / "runs"
    return train(smallest_config(tiny_data, runs), experiment="tiny", run_name="mine", on_step=stop_at(3))


def test_a_folder_goes_on_where_it_is(stopped: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # neither data/ nor runs/ is here
    assert stopped.state == "stopped"
    assert run_command(["train", str(stopped.folder), "--device", "cpu", "--pipeline.workers", "0"]) == 0
    assert stopped.state == "done"
    assert stopped.environment["experiment"] == "tiny"
    assert corolla.train(stopped, device="cpu").folder == stopped.folder
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        (("--train.epochs", "5"), "to go on with it in a copy: --resume {run} --run-name mine-5-epochs"),
        (("--optim.lr", "0.3"), "choose another --run-name; with --init-from {run} it begins from these weights"),
        (("--train.epochs", "1"), "choose another --run-name; with --init-from {run} it begins from these weights"),
    ],
)
def test_other_settings_are_refused_with_the_option_that_is_meant(
    option: tuple[str, str], remedy: str, stopped: Run
) -> None:
    with pytest.raises(UserError) as refusal:
        run_command(["train", str(stopped.folder), "--device", "cpu", "--pipeline.workers", "0", *option])
    assert str(refusal.value).endswith(remedy.format(run=stopped.folder))


def test_the_line_for_more_epochs_can_be_pasted(stopped: Run, tiny_data: Path) -> None:
    config = changed(smallest_config(tiny_data, stopped.folder.parent), "train", epochs=3)
    with pytest.raises(UserError, match=r"train\.epochs is 2, now 3") as refusal:
        train(dataclasses.replace(config, run_name="mine"))
    *_, resume, name = str(refusal.value).rpartition("in a copy: ")[2].split()[1::2]
    train(dataclasses.replace(config, resume=Path(resume), run_name=name))
    assert len(Run(stopped.folder.with_name("mine-3-epochs")).metrics) == 3


def test_data_that_are_elsewhere_now_are_told(stopped: Run, tiny_data: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "from-kaggle")
    run.folder.mkdir()
    for name in ("config.json", "best.pt", "last.pt"):
        (run.folder / name).write_bytes((stopped.folder / name).read_bytes())
    environment = stopped.environment | {"data": "/kaggle/input/tpu-getting-started"}
    (run.folder / "environment.json").write_text(json.dumps(environment))
    with pytest.raises(
        UserError, match=r"was trained on /kaggle/input/tpu-getting-started, which is not here; .*--data"
    ):
        corolla.predict(run, split="val", device="cpu", workers=0)
    assert len(corolla.predict(run, split="val", data=tiny_data, device="cpu", workers=0).to_pandas()) == 16
