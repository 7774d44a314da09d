"""Experiments trained on fractions of the data."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import draw

from corolla.compare.data_efficiency import data_efficiency, data_efficiency_figure, data_efficiency_summary
from corolla.config import Config
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import UserError
from corolla.runs.folder import Run

TINY = '[model]\nname = "timm:test_efficientnet"\n[train]\nbatch_size = 8\n[optim]\nlr = 0.02\n'


@pytest.mark.slow
def test_fractions_of_the_data(small: Config, tmp_path: Path) -> None:
    (toml := tmp_path / "tiny.toml").write_text(TINY)
    (other := tmp_path / "other$$.toml").write_text('base = "tiny.toml"\n[optim]\nlr = 0.001\n')
    changes = dataclasses.replace(small, runs=tmp_path / "runs")
    table = data_efficiency([str(toml), str(other)], [1.0, 0.25], seeds=[0, 1], changes=changes, epochs=1)
    assert table[["experiment", "share", "photos"]].drop_duplicates().to_numpy().tolist() == [
        ["tiny", 0.25, 10],
        ["tiny", 1.0, 40],
        ["other$$", 0.25, 10],
        ["other$$", 1.0, 40],
    ]
    run = Run(tmp_path / "runs/tiny-share0.25-seed1")
    assert json.loads((run.folder / "config.json").read_text())["train"]["share"] == 0.25
    assert run.metrics[-1]["step"] == 10 // 8
    summary = data_efficiency_summary(table)
    assert summary["share"].tolist() == [0.25, 1.0]
    assert {"tiny", "other$$", "tiny sd", "other$$ sd"} <= set(summary.columns)
    figure = data_efficiency_figure(table)
    assert len(figure.axes[0].lines) == 4
    figure.savefig(tmp_path / "figure.png")
    with pytest.raises(UserError, match="fractions above 0 and up to 1"):
        data_efficiency([str(toml)], [0.0])


def relabelled(folder: Path, split: str) -> None:
    """Correct the first label of a split, in place."""
    path = next((folder / "tfrecords-jpeg-32x32" / split).iterdir())
    count = int(path.stem.split("-")[-1])
    write_tfrecord(
        path, [encode_example(image=draw(i % 5, i, 32), label=(i + (i == 0)) % 5, id=f"{i:x}") for i in range(count)]
    )


def renamed(folder: Path, name: str) -> None:
    """Call the first class otherwise."""
    path = folder / "classes.txt"
    path.write_text(path.read_text().replace("kind 0", name))


@pytest.mark.parametrize(("change", "what"), [(relabelled, "train"), (relabelled, "val"), (renamed, "rose")])
def test_a_run_of_other_data_is_not_joined(
    change: Callable[[Path, str], None], what: str, small: Config, trained: Path, tmp_path: Path
) -> None:
    """The others are not trained for hours first."""
    (toml := tmp_path / "tiny.toml").write_text(TINY)
    shutil.copytree(trained, tmp_path / "runs" / "tiny-share1-seed1")
    shutil.copytree(small.data, tmp_path / "data")
    change(tmp_path / "data", what)
    changes = dataclasses.replace(small, data=tmp_path / "data", runs=tmp_path / "runs")
    with pytest.raises(UserError, match=r"share1-seed1: was trained with other data than .*data holds now") as caught:
        data_efficiency([str(toml)], [0.25, 1.0], seeds=[0, 1], changes=changes, epochs=1)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["tiny-share1-seed1"]


def test_the_command_trains_fractions(
    small: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from corolla.cli import run_command

    monkeypatch.chdir(tmp_path)
    (toml := tmp_path / "tiny.toml").write_text(TINY)
    arguments = ["compare", str(toml), "--fractions", "0.5", "1", "--epochs", "1", "--data", str(small.data)]
    arguments += ["--runs", str(tmp_path / "runs"), "--workers", "0", "--device", "cpu"]
    assert run_command(arguments) == 0
    assert "0.500" in capsys.readouterr().out
    written = tmp_path / "comparisons" / "tiny-fractions"
    assert (written / "comparison-shares.png").read_bytes().startswith(b"\x89PNG")
    assert len((written / "comparison-shares.csv").read_text().splitlines()) == 3
