"""A platform without what only POSIX has, such as Windows: imitated, as there is none at hand."""

import subprocess
import sys
from pathlib import Path

import pytest
from support import write_data

SCRIPT = """
import importlib.abc, multiprocessing, os, sys

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("fcntl", "resource"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
for name in ("fcntl", "resource"):
    sys.modules.pop(name, None)
import asyncio  # looks for os.sysconf when it is imported (Python 3.12), and others import it
if __name__ == "__main__":  # others look for what follows when they are imported, so it goes after that
    import torch, torchvision, timm, pandas, torch.utils.tensorboard
for name in ("sysconf", "posix_fallocate", "setpgrp", "sched_getaffinity"):
    delattr(os, name)
multiprocessing.set_start_method("spawn", force=True)
import corolla.data.loader
corolla.data.loader.FORKS = False
if __name__ == "__main__":
    from corolla.cli import main
    for words in COMMANDS:
        sys.argv = ["corolla", *words]
        if status := main():
            sys.exit(status)
"""


@pytest.mark.slow
def test_check_train_and_predict(tmp_path: Path) -> None:
    write_data(tmp_path / "data", train=16, val=8, test=6)
    training = ["train", "resnet18", "--data", "data", "--model.name", "timm:test_efficientnet", "--device", "cpu"]
    training += ["--train.epochs", "1", "--train.batch-size", "8", "--pipeline.workers", "1"]
    commands = [["--help"], ["check", "data"], training, ["predict", "runs/resnet18-seed0", "--device", "cpu"]]
    script = tmp_path / "corolla_elsewhere.py"
    script.write_text(f"COMMANDS = {commands}\n{SCRIPT}")
    result = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    for text in (
        "usage: corolla STAGE",
        "no faults",
        "epoch   1/1",
        "wrote runs/resnet18-seed0/predictions/test-none.npz",
    ):
        assert text in said
