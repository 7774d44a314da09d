"""A whole session by the commands that a user types, and a download that is killed again and again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from standin import StandIn

from corolla.doctor import doctor
from corolla.kaggle.fetch import STAGING, bytes_in

pytestmark = pytest.mark.timeout(400)
TRAIN = ["--model.name", "timm:test_efficientnet", "--train.epochs", "2", "--train.batch-size", "8"]
TRAIN += ["--pipeline.workers", "0", "--device", "cpu", "--input-size", "32"]


def corolla(environment: dict[str, str], folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "corolla", *map(str, arguments)]
    environment = {**environment, "OMP_NUM_THREADS": "1", "COLUMNS": "300"}  # the tables are whole
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
    return done


@pytest.mark.slow
def test_a_whole_session(
    standin: StandIn, kaggle_home: Path, tmp_path: Path, competition_files: Callable[..., dict[str, bytes]]
) -> None:
    standin.files = competition_files(records=8)
    standin.files = {name: body for name, body in standin.files.items() if "192x192" not in name}
    environment, here = standin.environment(kaggle_home), tmp_path / "here"
    here.mkdir()
    assert "signed in as fake-user" in corolla(environment, here, "doctor").stdout
    corolla(environment, here, "download")
    assert "train 16, val 16, test 16" in corolla(environment, here, "doctor").stdout
    corolla(environment, here, "check", "data")
    corolla(environment, here, "train", "resnet18", *TRAIN)
    for split in ("val", "test"):
        corolla(environment, here, "predict", "runs/resnet18-seed0", "--split", split, "--device", "cpu")
    said = corolla(environment, here, "ensemble", "runs/resnet18-seed0", "--out", "submissions/first.csv").stdout
    assert "next: corolla submit submissions/first.csv" in said
    said = corolla(environment, here, "submit", "submissions/first.csv", "--message", "first").stdout
    assert "public score" in said
    standin.leaderboard = [{"teamId": 1, "teamName": "x", "submissionDate": "2026-01-02T03:04:05Z", "score": "0.9"}]
    assert "resnet18-seed0" in corolla(environment, here, "submissions").stdout
    assert "teams by score" in corolla(environment, here, "leaderboard").stdout
    ledger = (here / "submissions/ledger.csv").read_text()
    assert "resnet18-seed0" in ledger
    assert "complete" in ledger
    standin.notebooks_only = True
    said = corolla(environment, here, "submit", "--notebook", "runs/resnet18-seed0", "--tta", "flip").stdout
    assert "public score" in said
    assert len(standin.submissions) == 2
    assert len((here / "submissions/ledger.csv").read_text().splitlines()) == 3


@pytest.mark.slow
def test_a_download_killed_at_twenty_points_ends_in_the_right_files(
    standin: StandIn, kaggle_home: Path, tmp_path: Path, competition_files: Callable[..., dict[str, bytes]]
) -> None:
    standin.files = competition_files(files_per_split=6, big=True)
    standin.add_fault("storage", "trickle", at=65536, pause_s=0.01, times=None)
    to = tmp_path / "data"
    wanted = {name: body for name, body in standin.files.items() if "192x192" not in name}
    total, kills = sum(map(len, wanted.values())), 0
    command = [sys.executable, "-m", "corolla", "download", "--to", str(to)]
    for point in range(1, 21):
        process = subprocess.Popen(command, env=standin.environment(kaggle_home), stderr=subprocess.PIPE)
        while process.poll() is None and bytes_in(to) < total * point / 21:
            time.sleep(0.002)
        kills += process.poll() is None
        os.kill(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.communicate()
        for name, body in wanted.items():
            assert not (to / name).exists() or (to / name).read_bytes() == body, "only whole files have their names"
    done = subprocess.run(command, env=standin.environment(kaggle_home), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    files = {p.relative_to(to).as_posix(): p.read_bytes() for p in to.rglob("*") if p.is_file()}
    files = {name: body for name, body in files.items() if STAGING not in name and name != "competition.json"}
    assert files == wanted
    assert kills >= 15, "it was fast enough to end before some of the kills"


@pytest.mark.slow
def test_the_doctor_asks_kaggle(in_process: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> dict[str, str]:
        findings = doctor(data=tmp_path / "data", runs=tmp_path / "runs", online=True).findings
        return {finding.text: finding.state for finding in findings if finding.area == "Kaggle"}

    assert said() == {"signed in as fake-user": "ok"}
    monkeypatch.setenv("KAGGLE_KEY", "wrong")
    ((text, state),) = said().items()
    assert (state, "(401)" in text) == ("fault", True)
    assert "wrong" not in text
    monkeypatch.setenv("KAGGLE_KEY", in_process.key)
    in_process.add_fault("GetCompetition", "status", code=503, times=None)
    ((text, state),) = said().items()
    assert (state, "whether the credentials work is not known" in text) == ("note", True)
