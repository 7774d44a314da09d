"""corolla runs and corolla report: tables made from run folders."""

import dataclasses
import time
from pathlib import Path

import pandas as pd
import pytest

from corolla.commands.runs import runs
from corolla.compare.readme_table import BEGIN, END, command_of, results_table, update_readme
from corolla.compare.run_table import list_runs
from corolla.config import Config
from corolla.config.experiments import find_experiment
from corolla.errors import UserError
from corolla.evaluation.metrics import macro_f1
from corolla.evaluation.predict import predict
from corolla.runs.folder import Run, exclusive, write_config, write_environment
from corolla.training.train import train


def make_run(folder: Path, name: str, config: Config, scores: list[float], experiment: str = "resnet18") -> Run:
    """A run's folder as training leaves it, without having trained."""
    import json

    run = Run(folder / name)
    write_config(run, config)
    write_environment(run, experiment=experiment, fingerprint={"train": "x"})
    rows = [
        {"epoch": n, "step": n, "lr": 0.1, "train_loss": 1.0, "val_loss": 1.0, "top1": s, "top5": s, "macro_f1": s}
        for n, s in enumerate(scores, 1)
    ]
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run.folder / "timing.jsonl").write_text('{"epoch": 1, "total_seconds": 90.0}\n')
    return run


def with_seed(seed: int, epochs: int = 3) -> Config:
    base = find_experiment("resnet18")
    return dataclasses.replace(
        base, size=64, input_size=64, train=dataclasses.replace(base.train, seed=seed, epochs=epochs)
    )


def test_every_state_is_told(tiny_config: Config, tmp_path: Path) -> None:
    folder = tiny_config.runs
    train(dataclasses.replace(tiny_config, run_name="done"), experiment="tiny")
    make_run(folder, "stopped", with_seed(0), [0.1, 0.3]).last.write_bytes((folder / "done/last.pt").read_bytes())
    make_run(folder, "cut", with_seed(0), [0.1]).last.write_bytes(b"cut")
    (folder / "broken").mkdir()
    (folder / "broken/config.json").write_text("{")
    table = list_runs(folder).set_index("name")
    assert table["state"].to_dict() == {"broken": "damaged", "cut": "damaged", "done": "done", "stopped": "stopped"}
    assert (table.loc["stopped", "best F1"], table.loc["stopped", "at"], table.loc["stopped", "minutes"]) == (
        0.3,
        2,
        1.5,
    )
    assert "config.json" in table.loc["broken", "fault"]
    assert list_runs(folder, state="damaged")["name"].tolist() == ["broken", "cut"]
    assert list_runs(folder, experiment="tiny")["name"].tolist() == ["done"]
    assert list_runs(folder, sort="last F1", reverse=True)["name"].tolist()[0] in ("stopped", "done")


def test_the_csv_says_how_each_run_is_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path, "first", with_seed(1), [0.1, 0.3])
    assert runs(tmp_path, csv=tmp_path / "out/runs.csv") == 0
    assert "corolla train" not in capsys.readouterr().out, "a screen is not that wide"
    (row,) = pd.read_csv(tmp_path / "out/runs.csv").to_dict("records")
    assert (row["command"], row["seed"]) == ("corolla train resnet18 --size 64 --train.epochs 3", 1)


def test_what_was_predicted_has_a_column(tiny_config: Config) -> None:
    folder = tiny_config.runs
    run = train(dataclasses.replace(tiny_config, run_name="first"))
    make_run(folder, "second", with_seed(0), [0.1])
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


def test_a_run_under_way_is_seen_and_not_disturbed(tmp_path: Path) -> None:
    import subprocess
    import sys

    run = make_run(tmp_path, "busy", with_seed(0), [0.1])
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


def test_a_look_does_not_take_the_lock_of_this_process(tmp_path: Path) -> None:
    import subprocess
    import sys

    run = make_run(tmp_path, "own", with_seed(0), [0.1])
    code = "import sys; from pathlib import Path; from corolla.compare.run_table import list_runs\n"
    code += "print(list_runs(Path(sys.argv[1])).state[0])"
    with exclusive(run.folder):
        assert list_runs(tmp_path)["state"].tolist() == ["running"]
        seen = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True).stdout
    assert seen == "running\n"


@pytest.mark.parametrize(
    ("name", "content"), [("environment.json", "[]"), ("metrics.jsonl", '{"epoch": 1}\n'), ("metrics.jsonl", "3\n")]
)
def test_whatever_a_file_holds_the_run_is_listed(name: str, content: str, tmp_path: Path) -> None:
    run = make_run(tmp_path, "odd", with_seed(0), [0.1])
    (run.folder / name).write_text(content)
    assert list_runs(tmp_path)["state"].tolist() == ["damaged"]


def test_a_line_that_a_kill_has_cut_is_passed_over(tmp_path: Path) -> None:
    run = make_run(tmp_path, "cut", with_seed(0), [0.1])
    (run.folder / "timing.jsonl").write_text('{"epoch": 1, "total_seconds": 60.0}\n{"epoch": 2, "tot')
    assert list_runs(tmp_path)[["state", "minutes"]].to_numpy().tolist() == [["stopped", 1.0]]
    assert run.timing == [{"epoch": 1, "total_seconds": 60.0}]


def test_a_hundred_runs_are_quick(tmp_path: Path) -> None:
    for number in range(100):
        make_run(tmp_path, f"run{number}", with_seed(number), [0.1] * 30)
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


def test_the_results_are_means_over_seeds_with_the_command(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, f"r{seed}", with_seed(seed, epochs=2), [0.9, 0.5 + seed / 10]) for seed in range(3)]
    lone = make_run(tmp_path, "lone", with_seed(0, epochs=1), [0.25])
    for run in [*runs, lone]:
        run.last.touch()
    table = results_table([run.folder for run in [*runs, lone, lone]])
    first, second = table.splitlines()[2:]
    assert "| 0, 1, 2 | 2 | 0.600 ± 0.100 | 0.600 ± 0.100 | 0.900 ± 0.000 | 2 |" in first
    assert "`corolla train resnet18 --size 64 --train.epochs 2`" in first
    assert "| 0.250 | 0.250 | 0.250 |" in second
    with pytest.raises(UserError, match="no run is in this folder"):
        results_table([tmp_path])
    with pytest.raises(UserError, match="has 1 of 9 epochs; finish it first"):
        results_table([make_run(tmp_path, "begun", with_seed(0, epochs=9), [0.25]).folder])


def test_the_command_gives_the_same_config(tmp_path: Path) -> None:
    import shlex

    import tyro

    config = dataclasses.replace(
        with_seed(0), augment=dataclasses.replace(with_seed(0).augment, color=True, area=(0.3, 0.9), flip=False)
    )
    words = shlex.split(command_of(make_run(tmp_path, "r", config, [0.1])))
    parsed = tyro.cli(Config, default=find_experiment(words[2]), args=words[3:])
    assert dataclasses.replace(parsed, input_size=64) == config


def test_the_table_goes_between_the_marks(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# a\n{BEGIN}\nold\n{END}\nrest\n")
    update_readme(readme, "| new |")
    assert readme.read_text() == f"# a\n{BEGIN}\n| new |\n{END}\nrest\n"
    readme.write_text("# nothing\n")
    with pytest.raises(UserError, match="say where the table goes"):
        update_readme(readme, "| new |")
    assert readme.read_text() == "# nothing\n"
