"""Small residual and plain networks, trained once for all tests of this folder."""

from pathlib import Path

import pytest
from support import changed, smallest_config

from corolla.runs.folder import Run
from corolla.training.train import train


@pytest.fixture(scope="session")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Two epochs of resnet20, plain20 and timm's smallest ResNet, at 32 px and a narrow width."""
    config = smallest_config(tiny_data, tmp_path_factory.mktemp("anatomy") / "runs")
    config = changed(config, "train", keep_every=1, precision="fp32")
    names = {"resnet20": 0.5, "plain20": 0.5, "timm:test_resnet": 1.0}
    return {
        name: train(changed(config, "model", name=name, width=width), experiment=name.replace(":", "-"))
        for name, width in names.items()
    }
