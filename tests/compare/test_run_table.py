"""corolla runs: all runs of a folder in a table."""

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from support import set_history

from corolla.commands.runs import runs
from corolla.compare.run_table import list_runs
from corolla.config import Config
from corolla.errors import UserError
from corolla.evaluation.metrics import macro_f1
from corolla.evaluation.predict import predict
from corolla.runs.folder import Run, exclusive
from corolla.training.train import train


def test_every_state_is_told(tiny_config: Config, make_run: Callable[..., Run]) -> None:
    folder = tiny_config.runs
    train(dataclasses.replace(tiny_config, run_name="done"), experiment="tiny")
    stopped = make_run("stopped", [0.1, 0.3], folder=folder)
    stopped.last.write_bytes((folder / "done/last.pt").read_bytes())
    set_history(stopped, stopped.copied_metrics)
    make_run("cut", [0.1], folder=folder).last.write_bytes(b"cut")
    (folder / "broken").mkdir()
    (folder / "broken/config.json").write_text("{")
    table = list_runs(folder).set_index("name")
    assert table["state"].to_dict() == {"broken": "damaged", "cut": "damaged", "done": "done", "stopped": "stopped"}
    assert table.loc["stopped", ["best F1", "at", "minutes"]].tolist() == [0.3, 2, 1.5]
    assert "config.json" in str(table.loc["broken", "fault"])
    assert table.loc["cut", "fault"] == "last.pt is empty or cut; corolla doctor says how to fix it"
    assert list_runs(folder, state="damaged")["name"].tolist() == ["broken", "cut"]
    assert list_runs(folder, experiment="tiny")["name"].tolist() == ["done"]
    made = list_runs(folder, experiment="resnet18", sort="last F1", reverse=True)
    assert made["name"].tolist() == ["stopped", "cut"]


def test_the_csv_says_how_each_run_is_made_again(
    make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("first", [0.1, 0.3], seed=1)
    assert runs(tmp_path, csv=tmp_path / "out/runs.csv") == 0
    assert "corolla train" not in capsys.readouterr().out, "a screen is not that wide"
    (row,) = pd.read_csv(tmp_path / "out/runs.csv").to_dict("records")
    assert (row["command"], row["seed"]) == ("corolla train resnet18 --size 64 --train.epochs 3", 1)


def test_what_was_predicted_has_a_column(tiny_config: Config, make_run: Callable[..., Run]) -> None:
    folder = tiny_config.runs
    run = train(dataclasses.replace(tiny_config, run_name="first"))
    make_run("second", [0.1], folder=folder)
    for checkpoint in ("best", "last"):
        result = predict(run.folder, split="val", tta="flip", checkpoint=checkpoint, device="cpu", workers=0)
        table = list_runs(folder, tta="flip", checkpoint=checkpoint, sort="flip")
        assert result.predictions.labels is not None
        expected = macro_f1(result.predictions.labels, result.predictions.probabilities.argmax(1))
        assert table["flip"].tolist() == [expected, pytest.approx(float("nan"), nan_ok=True)]
    assert list_runs(folder, tta="ten-crop")["ten-crop"].isna().tolist() == [True, True]
    run.best.write_bytes(run.last.read_bytes() + b"more")  # trained on since
    assert list_runs(folder, tta="flip")["flip"].isna().tolist() == [True, True]
    run.predictions("val", "flip").write_bytes(b"cut")
    assert list_runs(folder, tta="flip")["flip"].isna().tolist() == [True, True]
    with pytest.raises(UserError, match="--tta ten"):
        list_runs(folder, tta="ten")


def test_a_run_under_way_is_seen_and_not_disturbed(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run("busy", [0.1])
    code = f"""
import sys, time
from pathlib import Path
from corolla.runs.folder import exclusive
with exclusive(Path({str(run.folder)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert list_runs(tmp_path)["state"].tolist() == ["running"]
    finally:
        process.communicate()
    assert list_runs(tmp_path)["state"].tolist() == ["stopped"]
    with exclusive(run.folder):
        pass


def test_a_look_does_not_take_the_lock_of_this_process(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run("own", [0.1])
    code = "import sys; from pathlib import Path; from corolla.compare.run_table import list_runs\n"
    code += "print(list_runs(Path(sys.argv[1])).state[0])"
    with exclusive(run.folder):
        assert list_runs(tmp_path)["state"].tolist() == ["running"]
        seen = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True).stdout
    assert seen == "running\n"


@pytest.mark.parametrize(
    ("name", "content"), [("environment.json", "[]"), ("metrics.jsonl", '{"epoch": 1}\n'), ("metrics.jsonl", "3\n")]
)
def test_whatever_a_file_holds_the_run_is_listed(
    name: str, content: str, make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = make_run("odd", [0.1])
    (run.folder / name).write_text(content)
    assert list_runs(tmp_path)["state"].tolist() == ["damaged"]


def test_a_line_that_a_kill_has_cut_is_passed_over(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run("cut", [0.1])
    (run.folder / "timing.jsonl").write_text('{"epoch": 1, "total_seconds": 60.0}\n{"epoch": 2, "tot')
    assert list_runs(tmp_path)[["state", "minutes"]].to_numpy().tolist() == [["stopped", 1.0]]
    assert run.timing == [{"epoch": 1, "total_seconds": 60.0}]


@pytest.mark.slow
def test_a_hundred_runs_are_quick(make_run: Callable[..., Run], tmp_path: Path) -> None:
    for number in range(100):
        make_run(f"run{number}", [0.1] * 30, seed=number)
    start = time.process_time()
    assert len(list_runs(tmp_path)) == 100
    assert time.process_time() - start < 10, "no checkpoint is loaded"


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        list_runs(tmp_path / "none")
    with pytest.raises(UserError, match="--sort colour: the columns are name"):
        list_runs(tmp_path, sort="colour")
    with pytest.raises(UserError, match="--state odd"):
        list_runs(tmp_path, state="odd")
