"""The script for a card, rehearsed on the CPU: a script that never ran does not work on the day it is needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEPS = ["scratch_best", "benches", "submission", "gpu tests", "kill and resume", "faults"]


@pytest.mark.slow
def test_every_step_runs(tmp_path: Path) -> None:
    command = ["bash", str(ROOT / "scripts/gpu_check.sh"), "--rehearse", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    for step in STEPS:
        kept = json.loads((tmp_path / f"{step.replace(' ', '-')}.json").read_text())
        assert kept["good"], kept
    assert json.loads((tmp_path / "about.json").read_text())["card"].startswith("cpu")


def test_without_a_card_it_says_so(tmp_path: Path) -> None:
    command = ["bash", str(ROOT / "scripts/gpu_check.sh"), "--out", str(tmp_path / "out")]
    environment = {"PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": "", "PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 2, done.stderr
    assert "there is no CUDA card here" in done.stdout
    assert not (tmp_path / "out").exists()
