"""Runs with given scores: no test here rests on what a network happens to learn."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from corolla.config import AugmentConfig, Config, ModelConfig, OptimConfig, PipelineConfig, TrainConfig
from corolla.config.experiments import find_experiment
from corolla.evaluation.predict import predict
from corolla.runs.folder import Run
from corolla.runs.writing import write_config, write_environment
from corolla.training.train import train


@pytest.fixture(scope="session")
def small(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    return Config(
        data=tiny_data,
        runs=tmp_path_factory.mktemp("runs"),
        device="cpu",
        model=ModelConfig(name="timm:test_efficientnet"),
        augment=AugmentConfig(crop="random-resized", area=(0.8, 1.0), flip=False),
        optim=OptimConfig(lr=0.02, schedule="constant"),
        train=TrainConfig(epochs=3, batch_size=8),
        pipeline=PipelineConfig(workers=0),
    )


@pytest.fixture(scope="session")
def trained(small: Config) -> Path:
    folder = train(small, experiment="trained").folder
    predict(folder, split="val", checkpoint="last", device="cpu", workers=0)
    return folder


@pytest.fixture
def copy_run(trained: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies the run as NAME-seedN of another lr or seed, which is right about the first `right` of 16 val photos."""

    def copy(name: str, *, right: int, seed: int = 0, lr: float = 0.02, runs: Path = tmp_path / "runs") -> Path:
        folder = shutil.copytree(trained, runs / f"{name}-seed{seed}")
        config = json.loads((folder / "config.json").read_text())
        config["train"]["seed"], config["optim"]["lr"] = seed, lr
        (folder / "config.json").write_text(json.dumps(config))
        result = predict(folder, split="val", checkpoint="last", device="cpu", workers=0)
        found = result.predictions
        assert found.labels is not None
        said = np.where(np.arange(len(found.labels)) < right, found.labels, (found.labels + 1) % 5)
        probabilities = np.full_like(found.probabilities, 0.02)
        probabilities[np.arange(len(said)), said] = 0.92
        dataclasses.replace(found, probabilities=probabilities).save(result.path)
        return folder

    return copy


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Makes the folder of a run as training leaves it, without having trained: only its checkpoints are missing."""

    def make(
        name: str,
        scores: Sequence[float],
        *,
        seed: int = 0,
        epochs: int = 3,
        folder: Path = tmp_path,
        config: Config | None = None,
        **facts: object,
    ) -> Run:
        base = config or dataclasses.replace(find_experiment("resnet18"), size=64, input_size=64)
        run = Run(folder / name)
        write_config(run, dataclasses.replace(base, train=dataclasses.replace(base.train, seed=seed, epochs=epochs)))
        write_environment(run, **{"experiment": "resnet18", "fingerprint": {"train": "x"}, **facts})
        common = {"lr": 0.1, "train_loss": 1.0, "val_loss": 1.0}
        rows = [{"epoch": n, "step": n, **common, "top1": s, "top5": s, "macro_f1": s} for n, s in enumerate(scores, 1)]
        (run.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (run.folder / "timing.jsonl").write_text('{"epoch": 1, "total_seconds": 90.0}\n')
        return run

    return make
