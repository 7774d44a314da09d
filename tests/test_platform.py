"""A platform without what only POSIX has, such as Windows: imitated, as there is none at hand."""

import subprocess
import sys
from pathlib import Path

from support import write_data

HIDE = """
import importlib.abc, multiprocessing, os, sys

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("fcntl", "resource"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
for name in ("fcntl", "resource"):
    sys.modules.pop(name, None)
"""
# torch and others look for some of these when they are imported: they go after that.
WITHOUT = """
import torch, torchvision, timm, pandas, scipy.stats, sklearn.metrics, torch.utils.tensorboard, albumentations
for name in ("sysconf", "posix_fallocate", "setpgrp", "sched_getaffinity"):
    delattr(os, name)
multiprocessing.set_start_method("spawn", force=True)
import corolla.data.loader
corolla.data.loader.FORKS = False
"""
RUN = """
if __name__ == "__main__":
    from corolla.cli import main
    sys.exit(main())
"""


def corolla(folder: Path, *words: object, hide: str = HIDE + WITHOUT) -> str:
    script = folder / "corolla_elsewhere.py"
    script.write_text(hide + RUN)
    command = [sys.executable, str(script), *map(str, words)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_check_train_and_predict(tmp_path: Path) -> None:
    write_data(tmp_path / "data", train=16, val=8, test=6)
    assert "predict" in corolla(tmp_path, "--help", hide=HIDE)
    assert "no faults" in corolla(tmp_path, "check", "data")
    words = ["train", "resnet18", "--data", "data", "--model.name", "timm:test_resnet", "--device", "cpu"]
    words += ["--train.epochs", "1", "--train.batch-size", "8", "--pipeline.workers", "1"]
    assert "epoch   1/1" in corolla(tmp_path, *words)
    said = corolla(tmp_path, "predict", "runs/resnet18-seed0", "--device", "cpu", "--workers", "1")
    assert "wrote runs/resnet18-seed0/predictions/test-none.npz (6 images)" in said
