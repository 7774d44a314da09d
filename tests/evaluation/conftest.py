"""A run that is trained once for the tests of prediction."""

import shutil
from pathlib import Path

import pytest

from corolla.config import AugmentConfig, Config, ModelConfig, OptimConfig, PipelineConfig, TrainConfig
from corolla.runs.folder import Run
from corolla.training.train import train


@pytest.fixture(scope="session")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Ten steps in fp32, with a moving average; its input is smaller than the photos."""
    config = Config(
        data=tiny_data,
        runs=tmp_path_factory.mktemp("trained") / "runs",
        input_size=24,
        device="cpu",
        model=ModelConfig(name="timm:test_efficientnet"),
        augment=AugmentConfig(crop="random-resized", area=(0.8, 1.0), flip=False),
        optim=OptimConfig(lr=0.05, schedule="constant"),
        train=TrainConfig(epochs=2, batch_size=8, ema=0.9, precision="fp32"),
        pipeline=PipelineConfig(workers=0),
    )
    return train(config, experiment="tiny")


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """A copy of its folder, not predicted yet."""
    return Run(shutil.copytree(trained.folder, tmp_path / "runs" / trained.name))
