"""`corolla import-checkpoint`: a run of others' weights, which every stage takes and of which nothing is invented."""

import argparse
import html
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from support import write_data
from torch import Tensor

import corolla
from corolla import cli
from corolla.compare.readme_table import results_table
from corolla.compare.tables import all_tables
from corolla.config import ModelConfig
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import load_index
from corolla.doctor.runs import run_findings
from corolla.errors import UserError
from corolla.importing.checkpoint_facts import class_names_of
from corolla.models.factory import build_model
from corolla.models.pretrained import num_classes_in
from corolla.runs.folder import Run
from corolla.runs.imported import check_has_training
from corolla.runs.settings import telling_settings

NETWORK = "timm:test_efficientnet"
MEAN, STD = (np.reshape(three, (3, 1, 1)) for three in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
State = dict[str, Tensor]


def weights(num_classes: int = 5, name: str = NETWORK, size: int = 32, **settings: Any) -> State:
    """Return a state dict unlike any fresh one: batch norms with statistics of their own, and sure of its classes."""
    torch.manual_seed(num_classes)
    state = build_model(ModelConfig(name=name, **settings), num_classes, size).state_dict()
    state |= {key: value + torch.rand_like(value) / 9 for key, value in state.items() if "running" in key}
    return state | {key: 40 * value for key, value in state.items() if key == "classifier.weight"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("imported") / "data")


@pytest.fixture(scope="module")
def state() -> State:
    return weights()


@pytest.fixture
def file(state: State, tmp_path: Path) -> Path:
    """Return a checkpoint as Lightning writes it."""
    path = tmp_path / "epoch=3.ckpt"
    torch.save({"epoch": 3, "state_dict": {f"model.{name}": each for name, each in state.items()}}, path)
    return path


@pytest.fixture(scope="module")
def run(data: Path, state: State, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("imported_run")
    torch.save({f"module.{name}": each for name, each in state.items()}, folder / "mine.pth")
    return corolla.import_checkpoint(
        folder / "mine.pth", folder / "runs" / "mine", model=NETWORK, data=data, input_size=32, crop_fraction=1.0
    )


def content(run: Run) -> dict[str, Any]:
    return torch.load(run.last, weights_only=True)


def same_bits(kept: State, given: State) -> bool:
    return kept.keys() == given.keys() and all(
        kept[name].dtype == each.dtype and torch.equal(kept[name], each) for name, each in given.items()
    )


def refusal(*args: Any, **how: Any) -> str:
    with pytest.raises(UserError) as error:
        corolla.import_checkpoint(*args, **how)
    assert "\n" not in str(error.value)
    assert not Path(args[1]).exists()
    return str(error.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_no_tensor_changes_by_a_bit_whatever_its_type(state: State, data: Path, tmp_path: Path, dtype: Any) -> None:
    given = {name: each.to(dtype) if each.is_floating_point() else each for name, each in state.items()}
    torch.save({"model_ema": None, "net": {f"module.net.{name}": each for name, each in given.items()}}, tmp_path / "a")
    run = corolla.import_checkpoint(tmp_path / "a", tmp_path / "run", model=NETWORK, data=data, input_size=32)
    assert same_bits(content(run)["model"], given)
    assert run.best.read_bytes() == run.last.read_bytes()


def test_an_own_network_with_its_settings(tmp_path: Path) -> None:
    given = weights(104, "resnet18", width=0.125, stem="small")
    torch.save(given, tmp_path / "own.pt")
    model = {"name": "resnet18", "width": 0.125, "stem": "small"}
    run = corolla.import_checkpoint(str(tmp_path / "own.pt"), str(tmp_path / "run"), model=model, input_size=32)
    assert same_bits(content(run)["model"], given)
    assert (run.config.model.stem, run.config.input_size, run.config.size) == ("small", 32, None)
    assert content(run)["class_names"][:2] == ["pink primrose", "hard-leaved pocket orchid"]


def test_a_network_for_small_images_has_their_size(tmp_path: Path) -> None:
    torch.save(weights(104, "resnet20"), tmp_path / "own.pt")
    run = corolla.import_checkpoint(tmp_path / "own.pt", tmp_path / "run", model="resnet20")
    assert run.config.input_size == 32


def test_probabilities_are_those_of_the_network_in_the_file(run: Run, data: Path, state: State) -> None:
    found = corolla.predict(run, split="val", device="cpu", workers=0).predictions
    records = TFRecordDataset(load_index(data, 32), "val")
    images = torch.stack([torch.from_numpy(records.image(row)) for row in range(len(found.ids))])
    normalised = (images.permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    model = build_model(ModelConfig(name=NETWORK), 5, 32).eval()
    model.load_state_dict(state)
    with torch.no_grad():
        expected = model(normalised.float()).softmax(1).numpy()
    assert list(found.ids) == list(records.split.id)
    np.testing.assert_allclose(found.probabilities, expected, atol=0.02)  # a CPU may compute it in bf16
    assert np.ptp(expected, axis=0).max() > 0.08


def test_preprocessing_is_taken_from_options_then_the_file_then_timm(
    state: State, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = argparse.Namespace(mean=[0.5, 0.4, 0.3], std=None, interpolation="bilinear", crop_pct=0.9, img_size=64)
    torch.save({"arch": "test_efficientnet", "state_dict": state, "args": arguments}, tmp_path / "timm.pth.tar")
    with caplog.at_level("INFO"):
        run = corolla.import_checkpoint(tmp_path / "timm.pth.tar", tmp_path / "run", data=data, crop_fraction=1.0)
    assert content(run)["preprocessing"] == {
        "mean": (0.5, 0.4, 0.3),
        "std": (0.229, 0.224, 0.225),
        "interpolation": "bilinear",
        "crop_fraction": 1.0,
    }
    assert run.config.input_size == 64
    said = "\n".join(caplog.messages)
    assert "given: crop fraction 1" in said
    assert "said by the file: mean 0.5 0.4 0.3, interpolation bilinear, input size 64" in said
    assert "by timm's pretrained_cfg of test_efficientnet.r160_in1k: std 0.229 0.224 0.225" in said


def test_numbers_of_numpy_are_taken_and_a_file_that_says_nonsense_is_told(
    state: State, data: Path, tmp_path: Path
) -> None:
    arguments = {"mean": [124, 116, 104], "interpolation": 3, "crop_pct": None, "img_size": True}
    torch.save({"state_dict": state, "args": arguments}, tmp_path / "a.pth")
    how: dict[str, Any] = {"model": NETWORK, "data": str(data), "input_size": np.int64(32)}
    said = refusal(tmp_path / "a.pth", tmp_path / "x", **how)
    assert said == "the file's mean 124 116 104: is for pixels from 0 to 1: divide it by 255"
    how["mean"] = np.full(3, 0.5, np.float32)
    run = corolla.import_checkpoint(tmp_path / "a.pth", tmp_path / "x", **how)
    assert content(run)["preprocessing"]["mean"] == (0.5, 0.5, 0.5)
    assert corolla.predict(run, split="val", device="cpu", workers=0).predictions.epochs is None


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffä, 1\r\nb\r\nc\r\nd\r\ne\r\n",
        '["ä, 1", "b", "c", "d", "e"]',
        '{"1": "b", "0": "ä, 1", "2": "c", "3": "d", "4": "e"}',
        '{"b": 1, "c": 2, "d": 3, "e": 4, "ä, 1": 0}',
    ],
)
def test_classes_are_lines_or_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "names").write_text(text, encoding="utf-8")
    assert class_names_of(tmp_path / "names", {}, None)[0] == ("ä, 1", "b", "c", "d", "e")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("0,rose\n1,tulip\n", "line 2, 1,tulip, has a number beside the name; names alone are expected"),
        ("label;id\nrose;0\ntulip;1\n", "line 3, tulip;1, has a number beside the name"),
        ('{"1": "rose", "2": "tulip"}', "a list of names is expected, or an object with a name to each number from 0"),
        ('{"rose": "0"}', "a list of names is expected"),
        ('["rose", ""]', "a list of names is expected"),
        ('[["n01", "tench"]]', "text is expected, not a list; a list of names is expected"),
        ('{"0": "rose",\n"1": "tulip" "2": "iris"}', "line 2"),
    ],
)
def test_classes_that_would_have_other_names_are_refused(text: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "names").write_text(text)
    with pytest.raises(UserError) as error:
        class_names_of(tmp_path / "names", {}, None)
    assert line in str(error.value)


def test_weights_of_another_network_by_the_file_and_others_that_fit_are_told(
    state: State, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both = {f"{part}.{name}": each for part in ("net", "net_average") for name, each in state.items()}
    torch.save({"arch": "tf_efficientnet_b0", "state_dict": both}, tmp_path / "two.pth")
    corolla.import_checkpoint(tmp_path / "two.pth", tmp_path / "run", model=NETWORK, data=data, input_size=32)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert any("left out, though it fits as well: " in line for line in warnings)
    assert any("it says that it is of tf_efficientnet_b0" in line for line in warnings)


def test_a_checkpoint_of_corolla_brings_its_classes_and_preprocessing(run: Run, tmp_path: Path) -> None:
    again = corolla.import_checkpoint(run.best, tmp_path / "again", model=NETWORK)
    kept, before = content(again), content(run)
    assert [kept[name] for name in ("class_names", "preprocessing", "input_size")] == [
        before[name] for name in ("class_names", "preprocessing", "input_size")
    ]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, "its classifier has 5 outputs: name their classes with --classes FILE"),
        ({"classes": "six"}, "its classifier has 5 outputs, but "),
        ({"classes": "none.txt"}, "--classes none.txt: there is no such file"),
        ({"classes": "others", "data": True}, "names other classes than "),
        ({"data": True, "model": "timm:test_vit"}, "its weights do not fit timm:test_vit: "),
        ({"data": True, "model": "timm:test_efficientnt"}, "did you mean timm:test_efficientnet"),
        ({"data": True, "model": "timm:test_efficientnet.a1"}, "the tags are r160_in1k"),
        ({"data": True, "model": ""}, "--model.name: name the checkpoint's network"),
        ({"data": True, "model": {"name": NETWORK, "dropout": 0.5}}, "--model.dropout has no effect on a checkpoint"),
        ({"data": True, "model": {"name": NETWORK, "width": 0.5}}, "--model.width has no effect without "),
        ({"data": True, "mean": (124.0, 116.0, 104.0)}, "--mean 124 116 104: is for pixels from 0 to 1"),
        ({"data": True, "mean": "0.5"}, "mean '0.5': a number is expected, not str"),
        ({"data": True, "mean": (0.5, float("nan"), 0.5)}, "--mean 0.5 nan 0.5: three numbers are expected"),
        ({"data": True, "std": (0.2, 0.0, 0.2)}, "--std 0.2 0 0.2: numbers above 0 are expected"),
        ({"data": True, "crop_fraction": 0.0}, "--crop-fraction 0: a number from 0.1 to 1"),
        ({"data": True, "input_size": 0}, "--input-size 0: "),
        ({"data": True, "interpolation": "nearest"}, "interpolation 'nearest': bilinear or bicubic is expected"),
        ({"data": True, "size": 64}, "the sizes there are 32"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_nothing(
    file: Path, data: Path, tmp_path: Path, how: dict[str, Any], said: str
) -> None:
    (tmp_path / "six").write_text("a\nb\nc\nd\ne\nf\n")
    (tmp_path / "others").write_text("a\nb\nc\nd\ne\n")
    how = {"model": NETWORK, "input_size": 32, **how}
    if "data" in how:
        how["data"] = data
    if how.get("classes") in ("six", "others"):
        how["classes"] = tmp_path / how["classes"]
    assert said in refusal(file, tmp_path / "runs" / "x", **how)


def test_a_classifier_may_be_more_than_one_layer() -> None:
    with torch.device("meta"):
        model = build_model(ModelConfig(name="timm:levit_128s"), 5, 224)
    assert num_classes_in(model, model.state_dict()) == 5


def test_files_without_a_fitting_classifier_or_of_no_weights_are_refused(
    state: State, data: Path, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"model": NETWORK, "data": data, "input_size": 32}
    torch.save({n: each for n, each in state.items() if not n.startswith("classifier")}, tmp_path / "headless.pth")
    said = refusal(tmp_path / "headless.pth", tmp_path / "x", **how)
    assert "holds no classifier" in said
    assert "--model.weights" in said
    torch.save({**state, "conv_stem.weight": state["conv_stem.weight"] * float("nan")}, tmp_path / "nan.pth")
    assert "NaN" in refusal(tmp_path / "nan.pth", tmp_path / "x", **how)
    (tmp_path / "page.pth").write_text("<html>")
    assert "web page" in refusal(tmp_path / "page.pth", tmp_path / "x", **how)
    assert "name the file" in refusal(tmp_path, tmp_path / "x", **how)


def test_positions_that_timm_would_fit_to_another_size_are_refused(data: Path, tmp_path: Path) -> None:
    torch.save(weights(5, "timm:test_vit", 64), tmp_path / "vit.pth")
    how: dict[str, Any] = {"model": "timm:test_vit", "data": data}
    assert "pos_embed is (1, 17, 64), which timm would change" in refusal(tmp_path / "vit.pth", tmp_path / "x", **how)
    run = corolla.import_checkpoint(tmp_path / "vit.pth", tmp_path / "x", **how, input_size=64)
    assert same_bits(content(run)["model"], weights(5, "timm:test_vit", 64))


def test_a_folder_that_holds_something_is_not_written_into(file: Path, run: Run, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds a run already"):
        corolla.import_checkpoint(file, run, model=NETWORK, data=data)
    with pytest.raises(UserError, match="holds other files"):
        corolla.import_checkpoint(file, tmp_path, model=NETWORK, data=data)
    with pytest.raises(UserError, match="is a run already"):
        corolla.import_checkpoint(run, tmp_path / "x", model=NETWORK, data=data)


def test_the_command_line_makes_the_run_and_says_how_it_is_made_again(
    file: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import-checkpoint", str(file), str(tmp_path / "run"), "--model.name", NETWORK, "--data", str(data)]
    assert cli.run_command([*words, "--mean", "0.5", "0.5", "0.5", "--input-size", "32"]) == 0
    assert f"next: corolla predict {tmp_path / 'run'}" in capsys.readouterr().out
    run = Run(tmp_path / "run")
    assert list(json.loads((run.folder / "config.json").read_text())) == ["size", "input_size", "model"]
    imported = run.imported
    assert imported is not None
    assert imported["command"].startswith(f"corolla import-checkpoint {file}")
    assert "--mean 0.5 0.5 0.5 --std 0.229 0.224 0.225 --input-size 32" in imported["command"]


def test_training_into_it_is_refused(run: Run, data: Path, tmp_path: Path) -> None:
    small: dict[str, Any] = {"data": data, "device": "cpu", "workers": 0, "epochs": 1, "batch_size": 16}
    with pytest.raises(UserError, match="holds an imported checkpoint") as error:
        corolla.train("transfer_best", runs=run.folder.parent, run_name=run.name, **small)
    command = str(error.value).rpartition(": ")[2].split()
    assert command[:5] == ["corolla", "train", "transfer_best", "--init-from", str(run.folder)]
    with pytest.raises(UserError, match="holds an imported checkpoint"):
        corolla.train("transfer_best", runs=tmp_path, resume=run, **small)


@pytest.mark.slow
def test_the_command_that_the_refusal_names_trains_from_its_weights(run: Run, tmp_path: Path) -> None:
    """Slow as it trains: the refusal itself is tested above."""
    with pytest.raises(UserError) as error:
        check_has_training(run)
    command = str(error.value).rpartition(": ")[2].split()
    words = ["--runs", str(tmp_path), "--train.epochs", "1", "--device", "cpu", "--pipeline.workers", "0"]
    assert cli.run_command([*command[1:], *words]) == 0
    trained = Run(tmp_path / f"{run.name}-trained")
    assert (trained.state, trained.imported) == ("done", None)


def test_no_epochs_are_refused_with_the_command_that_makes_a_run_without(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        corolla.train("transfer_best", data=data, runs=tmp_path, epochs=0)
    assert str(error.value).startswith("settings: train.epochs = 0: ")
    assert str(error.value).endswith("corolla import-checkpoint")


def test_what_is_unknown_of_its_training_is_said_and_not_invented(
    run: Run, state: State, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({name: each * 1.01 for name, each in state.items()}, "other.pth")
    other = corolla.import_checkpoint("other.pth", "runs/other", model=NETWORK, data=data, input_size=32)
    comparison = corolla.compare([run, other], num_resamples=20, device="cpu", workers=0)
    assert "other was imported, and what it was trained with is unknown" in " ".join(comparison.verdict)
    assert len(comparison.recipes) == 2  # not two seeds of one
    tables = all_tables(comparison)
    for name in ("epochs", "minutes", "images", "images_per_s", "memory_mib"):
        assert np.all(pd.isna(tables["cost"][name]))
    assert np.all(pd.isna(tables["runs"][["epochs", "seed", "best epoch (chosen on val)"]]))
    assert np.all(pd.isna(tables["course"][["train loss", "val loss", "gap", "epochs to 50%", "minutes to 50%"]]))
    assert cli.run_command(["runs", "runs", "--csv", "runs.csv", "--state", "imported"]) == 0
    (row,) = pd.read_csv("runs.csv").to_dict("records")
    assert (row["name"], row["weights"], row["state"]) == ("other", "imported", "imported")
    assert pd.isna([row[name] for name in ("seed", "epochs", "of", "best F1", "last F1", "minutes")]).all()
    assert "other, imported | unknown | unknown" in results_table([other.folder])
    assert repr(other).endswith("other.pth; its training is unknown>")
    known = {"model": NETWORK, "weights": "imported", "px": 32}
    assert telling_settings(other) == known | dict.fromkeys(("lr", "epochs", "batch"), "unknown")


def test_a_submission_says_null_of_what_is_unknown(
    run: Run, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for split in ("val", "test"):
        corolla.predict(run, split=split, device="cpu", workers=0)
    corolla.submission_from_runs(run, tmp_path / "a.csv", method="mean", adjust=True, data=data)
    (made,) = json.loads((tmp_path / "a.json").read_text())["runs"]
    unknown = ("experiment", "git_commit", "seed", "epochs", "seconds", "fingerprint")
    assert [made[name] for name in unknown] == [None] * len(unknown)
    assert run.imported is not None
    assert made["imported_sha256"] == run.imported["sha256"]
    assert "what it was trained with is unknown" in caplog.text
    assert "how often " in caplog.text


def test_the_doctor_tells_of_it_and_how_it_is_mended(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "mine")
    (_, found) = run_findings(tmp_path)
    assert (found.state, "imported from " in found.text) == ("ok", True)
    (tmp_path / "mine" / "best.pt").write_bytes(b"")
    (_, found) = run_findings(tmp_path)
    assert str(found.remedy).endswith("the two are the same")
    (tmp_path / "mine" / "last.pt").write_bytes(b"")
    assert all("corolla import-checkpoint " in str(found.remedy) for found in list(run_findings(tmp_path))[1:])


@pytest.mark.slow
def test_the_report_has_the_command_that_imports_it_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow for its figures: the tables of the same comparison are tested above."""
    monkeypatch.chdir(tmp_path)
    assert cli.run_command(["compare", str(run.folder), "--device", "cpu", "--workers", "0"]) == 0
    (page,) = tmp_path.glob("comparisons/*/comparison.html")
    (command,) = re.findall(r"corolla (import-checkpoint [^\n<]*)", page.read_text())
    assert cli.run_command(shlex.split(html.unescape(command))) == 0
    assert same_bits(content(Run(Path("again/mine")))["model"], content(run)["model"])


def test_what_it_is_stands_in_the_checkpoint_too(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "mine")
    copy = Run(tmp_path / "mine")
    (copy.folder / "environment.json").unlink()
    assert copy.imported == {"file": "mine.pth", "sha256": (run.imported or {})["sha256"]}
    assert "imported from mine.pth" in repr(copy)
    torch.save({**content(run), "imported": 5}, copy.last)
    copy.best.unlink()
    assert copy.imported is None
