"""A command imports nothing heavy before it has anything to do: torch takes seconds."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import write_data

from corolla.config.experiments import find_experiment
from corolla.evaluation.predict import predict
from corolla.training.train import train

HEAVY = {"torch", "torchvision", "timm"}
SPY = f"""
import sys
from corolla.cli import main
status = main()
print("IMPORTED", *sorted(set({sorted(HEAVY)}) & sys.modules.keys()))
sys.exit(status)
"""


def imported(folder: Path, *words: object, status: int = 0) -> set[str]:
    """Which of HEAVY a command imports in a process of its own, in `folder`."""
    result = subprocess.run(
        [sys.executable, "-c", SPY, *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "KAGGLE_CONFIG_DIR": str(folder), "HOME": str(folder)},
    )
    assert result.returncode == status, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("IMPORTED")]
    return set(line.split()[1:])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a run that is trained and predicted, and a submission."""
    folder = tmp_path_factory.mktemp("finished")
    write_data(folder / "data")
    (folder / "net.toml").write_text(
        'base = "resnet18"\nsize = 32\n[model]\nname = "timm:test_efficientnet"\n[train]\nepochs = 1\nbatch_size = 8\n'
        "[pipeline]\nworkers = 0\n"
    )
    base = find_experiment(str(folder / "net.toml"))
    config = dataclasses.replace(base, data=folder / "data", runs=folder / "runs", device="cpu")
    run = train(config, experiment="net")
    (run.folder / "report.html").touch()
    for split in ("val", "test"):
        predict(run.folder, split=split, device="cpu", workers=0)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["train", "net.toml", "--data", "data"],
        ["predict", "runs/net-seed0", "--split", "test"],
        *(
            pytest.param(words, marks=pytest.mark.slow)
            for words in (
                ["ensemble", "runs/net-seed0", "--out", "new.csv"],
                ["ensemble", "runs/net-seed0", "--out", "new.csv", "--method", "weighted", "--adjust"],
                ["score", "data/test_labels.csv", "data/test_labels.csv"],
                ["runs"],
                ["table", "runs/net-seed0"],
                ["stats", "data"],
                ["check", "data"],
                ["synth", "drawn", "--size", "32", "--share", "0.0001"],
            )
        ),
    ],
    ids=lambda words: " ".join(words[:1]),
)
def test_without_a_network_there_is_no_torch(words: list[str], finished: Path) -> None:
    assert imported(finished, *words) == set()


def test_submit_asks_kaggle_before_it_imports_torch(finished: Path) -> None:
    """Without credentials it ends there."""
    (finished / "mine.csv").write_bytes((finished / "data" / "test_labels.csv").read_bytes())
    words = ["submit", "mine.csv", "--competition", "some-competition", "--data", "data"]
    assert imported(finished, *words, status=2) == set()


@pytest.mark.slow
def test_the_check_sees_torch(finished: Path) -> None:
    words = ["predict", "runs/net-seed0", "--split", "val", "--tta", "flip", "--device", "cpu"]
    assert "torch" in imported(finished, *words)
    assert np.load(finished / "runs" / "net-seed0" / "predictions" / "val-flip.npz")["ids"].size == 16
