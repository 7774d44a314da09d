"""A notebook predicts as the CSV was made: the same checkpoints, views, weights and powers, or it is not sent."""

import dataclasses
import io
import json
import logging
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from standin import StandIn
from support import changed, smallest_config

import corolla
from corolla.cli import run_command
from corolla.ensemble.fit import fit_rule
from corolla.ensemble.rules import EnsembleRule, Method
from corolla.errors import UserError
from corolla.evaluation.predict import predict
from corolla.kaggle.from_runs import submission_from_runs
from corolla.kaggle.notebook import predict_submission
from corolla.kaggle.notebook_members import ensemble_of_csv
from corolla.kaggle.pack_runs import pack
from corolla.kaggle.submit_notebook import submit_notebook
from corolla.kaggle.waiting import Waiting
from corolla.training.train import train

pytestmark = pytest.mark.timeout(180)
SLUG = "tpu-getting-started"


@pytest.fixture(scope="module")
def runs(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two small runs, predicted with flip on val and test, the first one's last epoch with the centre crop as well."""
    folders = []
    for seed in (0, 1):
        config = changed(smallest_config(tiny_data, tmp_path_factory.mktemp("runs")), "train", seed=seed, epochs=1)
        run = train(dataclasses.replace(config, run_name=f"net {seed}"))
        for split in ("val", "test"):
            predict(run, split=split, tta="flip", device="cpu", workers=0)
        folders.append(run.folder)
    predict(folders[0], split="test", checkpoint="last", device="cpu", workers=0)
    return folders


@pytest.fixture(autouse=True)
def no_input(no_wheels: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert no_wheels is None
    monkeypatch.setenv("COROLLA_KAGGLE_INPUT", "")  # predict_submission sets it


def on_kaggle(dataset: Path, data: Path, place: Path) -> bytes:
    """Return the CSV that the notebook's function writes with a dataset and the competition attached."""
    (place / "input" / "competitions").mkdir(parents=True)
    (place / "input" / "competitions" / SLUG).symlink_to(data)
    shutil.copytree(dataset, place / "input" / "runs")
    where: dict[str, Any] = {"input_root": place / "input", "device": "cpu", "workers": 0}
    return predict_submission(competition=SLUG, out=place / "submission.csv", **where).read_bytes()


def fitted_csv(runs: list[Path], out: Path) -> Path:
    return submission_from_runs(runs, out, method="weighted", adjust=True).path


def own_views_csv(runs: list[Path], out: Path) -> Path:
    """Two kinds of views of one run, of two checkpoints, and a run as such."""
    files = [runs[0] / "predictions" / name for name in ("test-flip.npz", "test-none-last.npz")]
    return submission_from_runs([files[0], runs[1], files[1]], out, method="geometric").path


@pytest.mark.parametrize("make", [fitted_csv, own_views_csv])
def test_the_notebook_writes_the_csv_that_it_is_made_of(
    make: Callable[[list[Path], Path], Path], runs: list[Path], tiny_data: Path, tmp_path: Path
) -> None:
    csv = make(runs, tmp_path / "here.csv")
    bundle = pack(ensemble_of_csv(csv), tmp_path / "pack", name="petals")
    assert on_kaggle(bundle.folder, tiny_data, tmp_path / "kaggle") == csv.read_bytes()
    told = csv.with_suffix(".json"), tmp_path / "kaggle" / "submission.json"
    here, there = (json.loads(path.read_text()) for path in told)
    assert {key: here[key] for key in ("method", "weights", "tau", "prior")}.items() <= there.items()
    if make is own_views_csv:
        assert [(run["name"], run["checkpoint"], run["tta"]) for run in bundle.runs] == [
            ("net 0", "best", "flip"),
            ("net 1", "best", "flip"),
            ("net 0-2", "last", "none"),
        ]
        assert bundle.how == "best and last, flip and none, geometric"


@pytest.mark.parametrize("adjust", [False, True])
@pytest.mark.parametrize("method", get_args(Method))
def test_a_rule_in_json_predicts_the_same(method: Method, adjust: bool) -> None:
    rng = np.random.default_rng(0)
    members = [rng.dirichlet(np.ones(7), 300).astype(np.float32) for _ in range(3)]
    prior = rng.dirichlet(np.ones(7)) if adjust and method != "vote" else None
    rule = fit_rule(members, rng.integers(0, 7, 300), method, prior)
    read = EnsembleRule.read(json.loads(json.dumps(rule.described())))
    np.testing.assert_array_equal(read.predict(members), rule.predict(members))
    assert read.described() == rule.described()


def refusal(csv: Path) -> str:
    with pytest.raises(UserError) as refused:
        ensemble_of_csv(csv)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def rewritten(csv: Path, **changes: Any) -> Path:
    """Change the JSON beside a CSV; None: the key is gone."""
    made = json.loads(csv.with_suffix(".json").read_text()) | changes
    kept = {key: value for key, value in made.items() if value is not None}
    csv.with_suffix(".json").write_text(json.dumps(kept))
    return csv


def test_other_checkpoints_are_not_sent_and_the_line_makes_them_again(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for run in runs:
        shutil.copytree(run, tmp_path / "runs" / run.name)
    mine = [Path("runs") / run.name for run in runs]
    csv = submission_from_runs(mine, "mine.csv", method="greedy").path
    content = torch.load(mine[1] / "best.pt", weights_only=True)
    torch.save({**content, "saved": "again"}, mine[1] / "best.pt")
    line = refusal(csv)
    assert line.startswith("mine.csv: runs/net 1/best.pt is another checkpoint than the one that it was made with; ")
    for command in line.partition("make it again: ")[2].split(" && "):
        words = shlex.split(command)[1:]
        assert run_command([*words, "--device", "cpu"] if words[0] == "predict" else words) == 0
    assert [member.run.name for member in ensemble_of_csv(csv).members] == ["net 0", "net 1"]
    monkeypatch.chdir("/")
    assert ensemble_of_csv(tmp_path / csv).members[0].run.folder == tmp_path / mine[0]
    monkeypatch.chdir(tmp_path)
    (mine[1] / "best.pt").unlink()
    assert "was made with runs/net 1/best.pt, which is not there; put it back, or make it again: " in refusal(csv)
    shutil.rmtree(mine[1])
    assert "was made with runs/net 1: no run is in this folder" in refusal(csv)


def test_a_csv_that_says_too_little_is_not_sent(runs: list[Path], tiny_data: Path, tmp_path: Path) -> None:
    csv = fitted_csv(runs, tmp_path / "a.csv")
    labels = submission_from_runs([csv], tmp_path / "b.csv", method="vote", data=tiny_data).path
    assert "a.csv is among its members, and a notebook predicts with runs alone; join these" in refusal(labels)
    shutil.copyfile(csv.with_suffix(".json"), tmp_path / "kept")
    assert refusal(rewritten(csv, prior=None)).startswith(f"{tmp_path}/a.json: prior is missing; make it again: ")
    for changes, message in (
        ({"weights": [1.0]}, "has 1 weights for 2 members"),
        ({"weights": [-1.0, 2.0]}, "are numbers that are not negative"),
        ({"weights": "much"}, "weights: a list is expected"),
        ({"method": "guess"}, "method: 'guess' is not known"),
        ({"folders": ["one"]}, "has 2 runs in 1 folders"),
        ({"runs": [{"run": "a"}, {"run": "b"}]}, "checkpoint_sha256 is missing"),
    ):
        shutil.copyfile(tmp_path / "kept", csv.with_suffix(".json"))
        assert message in refusal(rewritten(csv, **changes))
    shutil.copyfile(tmp_path / "kept", csv.with_suffix(".json"))
    csv.write_text(csv.read_text() + "\n")
    assert "a.json beside it is of another CSV, or of this one before it was changed, so none can" in refusal(csv)
    csv.with_suffix(".json").unlink()
    assert "no a.json beside it says which runs have made it, so none can be sent" in refusal(csv)
    assert "there is no such file" in refusal(tmp_path / "none.csv")


def test_the_json_of_an_early_version_is_enough_where_nothing_was_adjusted(runs: list[Path], tmp_path: Path) -> None:
    csv = submission_from_runs(runs, tmp_path / "a.csv", method="mean").path
    members = ensemble_of_csv(csv).members
    of_runs = json.loads(csv.with_suffix(".json").read_text())["runs"]
    early = [{key: run[key] for key in ("run", "checkpoint_sha256")} for run in of_runs]
    assert ensemble_of_csv(rewritten(csv, runs=early, prior=None)).members == members
    assert [(member.tta, member.checkpoint) for member in members] == [("flip", "best")] * 2


def test_what_the_refusal_of_a_csv_proposes_sends_its_predictions_once(
    server: StandIn, runs: list[Path], tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    server.notebooks_only = True
    csv = fitted_csv(runs, Path("my best.csv"))
    with pytest.raises(UserError, match="takes notebooks only") as refused:
        run_command(["submit", str(csv), "--competition", SLUG])
    command = str(refused.value).partition("as a notebook: ")[2]
    assert command == f"corolla submit 'my best.csv' --notebook --competition {SLUG}"
    assert run_command(shlex.split(command)[1:]) == 0
    assert f"{SLUG}: submission " in capsys.readouterr().out
    (dataset,), (submission,) = server.datasets.values(), server.submissions
    assert submission["description"].startswith("my best [")
    sent = tmp_path / "sent"
    sent.mkdir()
    for name, content in dataset.versions[0]:
        (sent / name).write_bytes(content)
    assert on_kaggle(sent, tiny_data, tmp_path / "kaggle") == csv.read_bytes()
    assert run_command(shlex.split(command)[1:]) == 0
    assert "already there, submission " in capsys.readouterr().out
    words = ["submit", "--notebook", *map(str, runs), "--method", "weighted", "--adjust", "--competition", SLUG]
    assert run_command(words) == 0, "the same by its runs"
    assert "already there, submission " in capsys.readouterr().out
    assert (len(server.submissions), len(server.kernels)) == (1, 1)
    (row,) = (tmp_path / "submissions/ledger.csv").read_text().splitlines()[1:]
    made = json.loads(Path("my best.json").read_text())
    assert f"net 0 net 1,{made['val_macro_f1']:.5f}," in row


def test_a_submission_in_python_is_its_csv(server: StandIn, runs: list[Path], tmp_path: Path, caplog: Any) -> None:
    server.notebooks_only = True
    made = corolla.submission_from_runs(runs, tmp_path / "a.csv", method="mean")
    assert repr(made).startswith(f"<Submission: {tmp_path}/a.csv, mean of net 0, net 1: 11 photos, macro F1 on val 0.")
    where: dict[str, Any] = {"competition": SLUG, "ledger": tmp_path / "ledger.csv"}
    with caplog.at_level(logging.INFO, logger="corolla"):
        done = corolla.submit_notebook(made, **where)
    assert (done.sent, done.entry.message) == (True, "a")
    assert done.summary.startswith(f"{SLUG}: submission {done.entry.ref} of ")
    assert list(done.to_pandas()["tag"]) == [done.entry.tag]
    told = [record.message for record in caplog.records if " min: version 1 of " in record.message]
    assert [line.partition(" min:")[0] for line in told] == ["QUEUED, 0", "RUNNING, 0", "COMPLETE, 0"]
    refused: list[dict[str, Any]] = [{"tta": "none"}, {"method": "vote"}, {"adjust": True}, {"checkpoint": "last"}]
    for options in refused:
        with pytest.raises(UserError, match=rf"^--{next(iter(options))} has no effect with a CSV, whose a\.json says"):
            submit_notebook(made, **where, **options)
    assert not submit_notebook(str(made.path), **where).sent


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("a.csv b.csv", "name either a CSV to submit, or with --notebook a CSV or runs"),
        ("--notebook", "name what the notebook is made of"),
        ("--notebook a.csv run", "a.csv: is no folder of a run; a notebook is made of one CSV, or of runs alone"),
        ("run", "run: is no CSV; runs are sent as a notebook: corolla submit --notebook run"),
        ("a.csv --wait nan", "--wait nan: a number of minutes is expected"),
        ("--notebook a.csv --wait -1", "--wait -1: a number of minutes is expected"),
        ("a.csv --adjust", "--adjust has no effect without --notebook: leave it out"),
        ("--notebook a.npz", "a.npz: there is no such file"),
    ],
)
def test_what_is_no_csv_and_no_run_is_one_line(
    words: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    with pytest.raises(UserError, match=f"^{re.escape(line)}"):
        run_command(["submit", *words.split()])


def test_waiting_is_one_line_in_a_terminal(monkeypatch: pytest.MonkeyPatch, no_sleep: list[float], caplog: Any) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    with Waiting("version 1") as waiting:
        for state, seconds in (("QUEUED", 61), ("RUNNING", 60), ("RUNNING", 0)):
            waiting.show(state)
            time.sleep(seconds)
    assert no_sleep
    assert not caplog.records
    before, _, _ = screen.getvalue().partition("RUNNING, 2 min: version 1")
    assert "QUEUED, 0 min: version 1" in before
    assert "RUNNING, 1 min: version 1" in before
    assert "\n" not in before
