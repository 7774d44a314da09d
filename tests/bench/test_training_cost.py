"""The expected cost of a training, from a few measured steps: the arithmetic behind it."""

from pathlib import Path
from typing import Any

import pytest

from corolla.bench import training_cost as module
from corolla.bench.options import BenchOptions
from corolla.bench.training_cost import TrainingCost, training_cost
from corolla.commands.bench import bench
from corolla.errors import UserError

RECIPE = """
base = "scratch_best"
[model]
name = "timm:test_efficientnet"
[augment]
start_size = 16
[train]
epochs = 4
repeat = 2
batch_size = 16
head_epochs = 0
"""


@pytest.fixture
def cost(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingCost:
    monkeypatch.setattr(module, "LEAST_S", 0.01)
    (recipe := tmp_path / "mine.toml").write_text(RECIPE)
    return training_cost(str(recipe), BenchOptions(data=tiny_data, device="cpu", workers=0, cache_dir=tmp_path))


def test_epochs_cost_by_their_sizes(cost: TrainingCost) -> None:
    own = 80 / cost.images_per_s  # five whole batches of 16 out of 40 photos, each shown twice
    beside = cost.val_s + cost.save_s
    assert len(set(cost.epoch_s[:3])) == 1  # of 16 px
    assert cost.epoch_s[3] == pytest.approx(own + beside)
    assert cost.seconds == pytest.approx(sum(cost.epoch_s))


def test_what_it_says_has_time_memory_disk_and_kaggle(cost: TrainingCost) -> None:
    text = "\n".join(cost.lines())
    assert "40 + 16 of val" in text
    for word in ("an epoch", "4 epochs", "memory", "disk", "on Kaggle"):
        assert word in text
    assert 1e5 < cost.checkpoint_bytes < 1e8
    assert cost.memory_bytes > 1e8
    assert cost.cache_bytes == 56 * 32 * 32 * 3
    assert cost.as_dict()["seconds"] == cost.seconds


def test_no_such_data_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no TFRecords in"):
        training_cost("transfer_best", BenchOptions(data=tmp_path, device="cpu"))


@pytest.mark.parametrize("options", [{"batch_size": 8}, {"pairs": 3}, {"compile": True}])
def test_options_that_the_experiment_decides_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no effect with cost, which takes what the experiment says"):
        bench("cost", options=BenchOptions(data=tmp_path, **options))
