"""Norms of gradients: which moments and layers there are, and that the numbers are those of the loss."""

import dataclasses
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import corolla
from corolla import cli
from corolla.anatomy.gradients import Gradients
from corolla.data.index import load_index
from corolla.data.loader import load_batches
from corolla.data.sampler import TrainBatchSampler
from corolla.errors import UserError
from corolla.models.factory import build_model
from corolla.models.normalise import Normalise
from corolla.runs.checkpoint import load_checkpoint, read_meta
from corolla.runs.folder import Run
from corolla.training.datasets import build_datasets

HERE: dict[str, Any] = {"device": "cpu", "workers": 0}
SMALL: dict[str, Any] = {"batches": 2, "batch_size": 8, **HERE}


@pytest.fixture(scope="module")
def found(trained: dict[str, Run]) -> Gradients:
    """Return those of the residual and of the plain network."""
    return corolla.gradients([trained["resnet20"], trained["plain20"]], **SMALL)


def test_a_run_has_its_start_and_every_checkpoint(found: Gradients, trained: dict[str, Run]) -> None:
    best = load_checkpoint(trained["resnet20"].best)["progress"]["rows"]
    moments = list(dict.fromkeys((row.moment, row.epoch) for row in found.rows if row.network == "resnet20"))
    names = {epoch: [*["best"] * (epoch == len(best)), *["last"] * (epoch == 2)] for epoch in (1, 2)}
    said = [f"epoch {epoch} ({', '.join(of)})" if of else f"epoch {epoch}" for epoch, of in names.items()]
    assert moments == [("start", 0), (said[0], 1), (said[1], 2)]


def test_layers_come_in_the_order_of_computing(found: Gradients) -> None:
    rows = [row for row in found.rows if row.network == "resnet20" and row.moment == "start"]
    names = [row.layer for row in rows]
    assert [row.depth for row in rows] == list(range(1, 23))  # 20 layers and the projections of two blocks
    assert names[:3] == ["conv1", "layer1.0.conv1", "layer1.0.conv2"]
    assert names.index("layer2.0.downsample.0") == names.index("layer2.0.conv2") + 1
    assert [row.layer for row in rows if row.kind == "linear"] == ["fc"] == names[-1:]
    assert all(row.gradient_norm > 0 < row.weight_norm for row in rows)
    plain = [row.layer for row in found.rows if row.network == "plain20" and row.moment == "start"]
    assert plain == [name for name in names if "downsample" not in name]


@pytest.mark.parametrize("moment", ["start", "last"])
def test_the_norms_are_those_of_the_training_loss(moment: str, found: Gradients, trained: dict[str, Run]) -> None:
    """By hand: the first batches of the run, batch norms in training mode, the mean of the batches' norms."""
    run = trained["resnet20"]
    content = load_checkpoint(run.last)
    meta = read_meta(content)
    torch.manual_seed(meta.config.train.seed)
    model = build_model(meta.config.model, 5, 32)
    if moment == "last":
        model.load_state_dict(content["model"])
    photos, _ = build_datasets(meta, load_index(run.environment["data"], 32))
    batches = list(load_batches(photos, TrainBatchSampler(40, 8, 0, 0, 2), workers=0, device=torch.device("cpu")))
    normalise, sums = (
        Normalise(meta.preprocessing, channels_last=False),
        {"conv1": 0.0, "layer3.2.conv2": 0.0, "fc": 0.0},
    )
    for batch in batches:
        model.train().zero_grad()
        F.cross_entropy(model(normalise(batch.images)), batch.labels).backward()
        for name in sums:
            sums[name] += model.get_parameter(f"{name}.weight").grad.norm().item() / 2  # pyright: ignore[reportOptionalMemberAccess]
    rows = [row for row in found.rows if row.network == "resnet20" and (moment in row.moment)]
    assert {row.layer: row.gradient_norm for row in rows if row.layer in sums} == pytest.approx(sums, rel=1e-4)


def test_an_experiment_has_its_start(tiny_data: Path, tmp_path: Path, found: Gradients) -> None:
    """Which is that of the run which it would be."""
    (tmp_path / "mine.toml").write_text(
        'base = "resnet18"\n[model]\nname = "resnet20"\nwidth = 0.5\n[augment]\ncrop = "random-resized"\n'
        "area = [0.8, 1.0]\nflip = false\n"
    )
    fresh = corolla.gradients(str(tmp_path / "mine.toml"), data=tiny_data, **SMALL)
    assert {row.moment for row in fresh.rows} == {"start"}
    assert {row.run for row in fresh.rows} == {"mine"}
    of_run = [row for row in found.rows if row.network == "resnet20" and row.moment == "start"]
    assert [row.gradient_norm for row in fresh.rows] == pytest.approx([row.gradient_norm for row in of_run], rel=1e-4)


def test_nothing_of_a_run_is_changed(trained: dict[str, Run]) -> None:
    run = trained["timm:test_resnet"]
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    corolla.gradients(run, **{**SMALL, "batches": 1})
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before


def test_a_start_that_is_unknown_is_left_out_and_said(
    trained: dict[str, Run], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Weights from a file that is gone."""
    run = trained["timm:test_resnet"]
    content = load_checkpoint(run.last)
    content["config"]["model"]["weights"] = str(tmp_path / "gone.pt")
    twin = tmp_path / "twin"
    twin.mkdir()
    for name in ("config.json", "environment.json"):
        (twin / name).write_bytes((run.folder / name).read_bytes())
    torch.save({key: value for key, value in content.items() if key != "path"}, twin / "last.pt")
    with caplog.at_level(logging.INFO):
        rows = corolla.gradients(twin, **{**SMALL, "batches": 1}).rows
    assert {row.moment for row in rows} == {"epoch 2 (last)"}
    assert "twin: its start is left out: no weights at " in caplog.text


def test_the_table_and_the_figure_say_everything(found: Gradients) -> None:
    table = found.to_pandas()
    assert list(table) == [field.name for field in dataclasses.fields(found.rows[0])]
    assert len(table) == len(found.rows)
    assert len(found.sentences) == 6
    axes = found.figure().axes
    assert [each.get_yscale() for each in axes] == ["log", "log"]
    assert [[np.size(line.get_xdata()) for line in each.lines] for each in axes] == [3 * [20, 2], 3 * [20, 0]]


def test_the_command_writes_a_table_and_a_figure(
    trained: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["gradients", str(trained["timm:test_resnet"].folder), "--batches", "1", "--batch-size", "8"]
    out = tmp_path / "mine" / "flow"
    monkeypatch.setattr(sys, "argv", ["corolla", *words, "--out", str(out), "--device", "cpu", "--workers", "0"])
    assert cli.main() == 0
    assert f"wrote {out}.csv {out}.png" in capsys.readouterr().out
    assert {"moment", "depth", "gradient_norm"} < set(pd.read_csv(f"{out}.csv"))
    assert Image.open(f"{out}.png").width > 400


def test_runs_of_one_name_are_written_among_the_comparisons(
    trained: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their paths, by which the table tells them apart, led to a folder beside the runs."""
    run = trained["timm:test_resnet"]
    shutil.copytree(run.folder, tmp_path / run.name)
    monkeypatch.chdir(tmp_path)
    words = ["gradients", str(run.folder), str(tmp_path / run.name), "--batches", "1", "--batch-size", "8"]
    monkeypatch.setattr(sys, "argv", ["corolla", *words, "--device", "cpu", "--workers", "0"])
    assert cli.main() == 0
    assert [path.parent.name for path in tmp_path.glob("comparisons/*/gradients.csv")] == [
        f"{run.name}-vs-{run.name}-gradients"
    ]
    monkeypatch.setattr(sys, "argv", ["corolla", *words[:2], *words[3:], "--device", "cpu", "--out", "mine.csv"])
    assert cli.main() == 0
    assert "wrote mine.csv mine.png" in capsys.readouterr().out


def test_what_cannot_be_is_a_line(trained: dict[str, Run], tmp_path: Path) -> None:
    def refusal(*arguments: Any, **options: Any) -> str:
        with pytest.raises(UserError) as caught:
            corolla.gradients(*arguments, **{**SMALL, **options})
        assert "\n" not in str(caught.value)
        return str(caught.value)

    run = trained["resnet20"]
    assert refusal([]) == "name at least one run's folder, or an experiment"
    assert refusal(run, size=32) == f"{run.folder}: --size is for experiments, a run has its own: leave it out"
    assert "--batch-size 1: at least 2 is expected" in refusal(run, batch_size=1)
    assert "resnet18" in refusal("resnet19")
    assert refusal([run, run]) == f"{run.folder}: is named twice"
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.json").write_bytes((run.folder / "config.json").read_bytes())
    assert "there is no checkpoint yet" in refusal(empty)
