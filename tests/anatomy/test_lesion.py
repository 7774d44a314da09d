"""Lesions of small trained networks: what is cut, that it is scored right, and how it is told."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image

import corolla
from corolla import cli
from corolla.anatomy.lesion import Lesions
from corolla.config import ModelConfig
from corolla.errors import Failure, UserError
from corolla.evaluation.predict import predict
from corolla.models.factory import build_model
from corolla.runs.checkpoint import load_checkpoint
from corolla.runs.folder import Run

HERE: dict[str, Any] = {"device": "cpu", "workers": 0}
NAMES = ("resnet20", "plain20")


@pytest.fixture(scope="module")
def lesions(trained: dict[str, Run]) -> Lesions:
    """Return those of the residual and of the plain network."""
    return corolla.lesion([trained["resnet20"], trained["plain20"]], draws=2, **HERE)


def test_the_whole_network_scores_as_it_is_predicted(trained: dict[str, Run], lesions: Lesions) -> None:
    for name in NAMES:
        found = predict(trained[name], split="val", checkpoint="last", **HERE)
        (whole,) = [row for row in lesions.rows if row.network == name and row.kind == "whole"]
        assert (whole.macro_f1, whole.top1) == (found.macro_f1, found.top1)


def test_each_block_is_left_out_once(lesions: Lesions) -> None:
    ones = {name: [row.block for row in lesions.rows if row.network == name and row.kind == "one"] for name in NAMES}
    assert ones["resnet20"] == [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)]
    assert ones["plain20"] == [name for name in ones["resnet20"] if name not in ("layer2.0", "layer3.0")]
    assert len(lesions.notes) == 1
    assert lesions.notes[0].endswith(
        "plain20-seed0: layer2.0, layer3.0 change the shape and have no shortcut: they stay"
    )


def test_the_draws_are_the_seeds_and_of_the_residual_network_alone(trained: dict[str, Run], lesions: Lesions) -> None:
    drawn = [row for row in lesions.rows if row.kind in ("random", "order")]
    assert {row.network for row in drawn} == {"resnet20"}
    assert sorted({row.k for row in drawn if row.k}) == list(range(1, 10))
    assert sum(row.k == 9 for row in drawn) == 1  # there is but one way to leave all out
    taus = [row.tau for row in drawn if row.tau is not None]
    assert taus
    assert all(-1 < tau < 1 for tau in taus)
    again = corolla.lesion(trained["resnet20"], draws=2, **HERE)
    assert again.rows == tuple(row for row in lesions.rows if row.network == "resnet20")
    other = corolla.lesion(trained["resnet20"], draws=2, seed=1, **HERE)
    assert [row.tau for row in other.rows] != [row.tau for row in again.rows]


def test_a_score_is_that_of_the_network_with_the_weights_of_the_branch_zero(
    trained: dict[str, Run], lesions: Lesions, tmp_path: Path
) -> None:
    """One block without its branch, made by hand and predicted as any run."""
    run = trained["resnet20"]
    content = load_checkpoint(run.last)
    for part in ("weight", "bias"):
        content["model"][f"layer2.0.bn2.{part}"].zero_()
    (tmp_path / "cut").mkdir()
    for name in ("config.json", "environment.json"):
        (tmp_path / "cut" / name).write_bytes((run.folder / name).read_bytes())
    torch.save({key: value for key, value in content.items() if key != "path"}, tmp_path / "cut" / "last.pt")
    expected = predict(tmp_path / "cut", split="val", checkpoint="last", **HERE)
    (row,) = [row for row in lesions.rows if row.network == "resnet20" and row.block == "layer2.0"]
    assert (row.macro_f1, row.top1) == (expected.macro_f1, expected.top1)


def test_timms_resnets_have_blocks_too(trained: dict[str, Run]) -> None:
    found = corolla.lesion(trained["timm:test_resnet"], draws=1, **HERE)
    assert [row.block for row in found.rows if row.kind == "one"] == [f"layer{stage}.0" for stage in (1, 2, 3, 4)]
    assert [row.k for row in found.rows if row.kind == "random"] == [1, 2, 3, 4]


def test_the_table_says_everything(lesions: Lesions) -> None:
    table = lesions.to_pandas()
    assert list(table) == ["run", "network", "kind", "block", "k", "tau", "draw", "macro_f1", "top1"]
    assert len(table) == len(lesions.rows)
    assert str(table["k"].dtype) == "Int64"
    assert len(lesions.sentences) == 2
    assert lesions.sentences[0].startswith("resnet20-seed0 (resnet20): macro F1 0.")
    assert "; one of 7 blocks left out: median 0." in lesions.sentences[1]
    assert [axes.get_xlabel() for axes in lesions.figure().axes] == [
        "block left out",
        "blocks left out at random",
        "Kendall's tau of the order",
    ]


def test_the_command_writes_a_table_and_a_figure(
    trained: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = str(trained["plain20"].folder)
    monkeypatch.setattr(sys, "argv", ["corolla", "lesion", folder, "--device", "cpu", "--workers", "0"])
    for _ in range(2):  # the same result goes to the same place
        assert cli.main() == 0
    said = capsys.readouterr().out
    place = tmp_path / "comparisons" / "plain20-seed0-lesions"
    assert "wrote comparisons/plain20-seed0-lesions/lesions.csv comparisons/plain20-seed0-lesions/lesions.png" in said
    assert [path.name for path in (tmp_path / "comparisons").iterdir()] == [place.name]
    table = pd.read_csv(place / "lesions.csv")
    assert set(table["kind"]) == {"whole", "one"}
    assert Image.open(place / "lesions.png").width > 500


def test_runs_of_one_name_are_told_apart(trained: dict[str, Run], tmp_path: Path) -> None:
    run = trained["plain20"]
    twin = tmp_path / run.name
    twin.mkdir()
    for path in run.folder.iterdir():
        if path.suffix in (".pt", ".json"):
            (twin / path.name).write_bytes(path.read_bytes())
    found = corolla.lesion([run, twin], draws=1, **HERE)
    assert list(dict.fromkeys(row.run for row in found.rows)) == [str(run.folder), str(twin)]


def copy_of(run: Run, folder: Path) -> Run:
    shutil.copytree(run.folder, folder)
    return Run(folder)


def test_a_run_that_has_learned_from_val_has_no_lesions_on_it(trained: dict[str, Run], tmp_path: Path) -> None:
    run = copy_of(trained["plain20"], tmp_path / "all")
    values = json.loads((run.folder / "config.json").read_text())
    values["train"]["on"] = "train+val"
    (run.folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"has learned from val \(--train\.on train\+val\)"):
        corolla.lesion(run, **HERE)


def test_a_network_without_numbers_has_no_lesions(trained: dict[str, Run], tmp_path: Path) -> None:
    """Its first class would be said of every photo, as if that were a score."""
    run = copy_of(trained["plain20"], tmp_path / "diverged")
    content = torch.load(run.last, weights_only=True)
    content["model"] = {
        name: each * float("nan") for name, each in content["model"].items() if each.is_floating_point()
    } | {name: each for name, each in content["model"].items() if not each.is_floating_point()}
    torch.save(content, run.last)
    with pytest.raises(Failure, match=r"last\.pt: its network gives no finite numbers"):
        corolla.lesion(run, **HERE)


def test_what_cannot_be_is_a_line(trained: dict[str, Run], tmp_path: Path) -> None:
    def refusal(*arguments: Any, **options: Any) -> str:
        with pytest.raises(UserError) as caught:
            corolla.lesion(*arguments, **{**HERE, **options})
        assert "\n" not in str(caught.value)
        return str(caught.value)

    run = trained["resnet20"]
    assert refusal([]) == "name at least one run's folder"
    assert "its test photos have no labels to score by" in refusal(run, split="test")
    assert "--draws 0: at least 1 is expected" in refusal(run, draws=0)
    assert "--draws 1000000: 10,000 at most is expected" in refusal(run, draws=10**6)
    assert "--seed -1: at least 0 is expected" in refusal(run, seed=-1)
    assert "--workers -1: at least 0 is expected" in refusal(run, workers=-1)
    assert refusal([run, run.folder / ".." / run.name]).endswith("is named twice")
    other = tmp_path / "other"
    other.mkdir()
    for name in ("config.json", "environment.json"):
        (other / name).write_bytes((run.folder / name).read_bytes())
    assert "last.pt: there is no such checkpoint yet" in refusal(other)
    content = load_checkpoint(run.last)
    content["config"]["model"] = {"name": "timm:densenet121"}
    content["model"] = build_model(ModelConfig(name="timm:densenet121"), 5, 32).state_dict()
    torch.save({key: value for key, value in content.items() if key != "path"}, other / "last.pt")
    assert refusal(other) == (
        f"{other}: no residual blocks that can be cut are found in timm:densenet121, and it is none of the own plain "
        "networks: take a ResNet"
    )
