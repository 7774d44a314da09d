"""Runs travel as flat files with a manifest, and come back as they were or not at all."""

import importlib.metadata
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from package_index import PackageIndex

from corolla.config import Config, ModelConfig, OptimConfig, PipelineConfig, TrainConfig
from corolla.errors import UserError
from corolla.files import sha256
from corolla.importing.checkpoint import import_checkpoint
from corolla.kaggle import pack_runs
from corolla.kaggle.bundle import MANIFEST, Bundle, find_bundle, read_bundle, restore_runs
from corolla.kaggle.notebook_members import ensemble_of_runs
from corolla.kaggle.pack_runs import pack as pack_ensemble
from corolla.kaggle.write_notebook import write_notebook
from corolla.runs.folder import Run
from corolla.training.train import train

HOW: dict[str, Any] = {"checkpoint": "best", "tta": "flip", "method": "vote", "name": "petals"}


def pack(runs: list[Path], folder: Path, *, name: str, wheels: Sequence[Path] = (), **how: Any) -> Bundle:
    """Pack runs that are joined as `how` says."""
    return pack_ensemble(ensemble_of_runs(runs, **how), folder, name=name, wheels=wheels)


@pytest.fixture(scope="module")
def run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = Config(
        data=tiny_data,
        runs=tmp_path_factory.mktemp("trained"),
        device="cpu",
        model=ModelConfig(name="timm:test_efficientnet"),
        optim=OptimConfig(lr=0.005),
        train=TrainConfig(epochs=1, batch_size=8),
        pipeline=PipelineConfig(workers=0),
    )
    return train(config, experiment="tiny").folder


@pytest.fixture(scope="module")
def packed(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return pack([run], tmp_path_factory.mktemp("pack"), **HOW)


@pytest.fixture
def attached(packed: Bundle, tmp_path: Path) -> Path:
    """As Kaggle mounts it, but writable."""
    place = tmp_path / "input" / "datasets" / "somebody" / "petals"
    shutil.copytree(packed.folder, place)
    return place


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wheels are tested elsewhere; here they only take time."""
    monkeypatch.setattr(pack_runs, "lacking_for_prediction", dict)


def copy_run(run: Path, target: Path) -> Path:
    return Path(shutil.copytree(run, target))


def test_round_trip(run: Path, attached: Path, tmp_path: Path) -> None:
    (restored,) = restore_runs(attached, tmp_path / "runs")
    assert restored == tmp_path / "runs" / run.name
    assert {path.name for path in restored.iterdir()} == {"config.json", "environment.json", "metrics.jsonl", "best.pt"}
    for path in restored.iterdir():
        assert path.read_bytes() == (run / path.name).read_bytes()
    assert restore_runs(attached, tmp_path / "runs") == [restored], "twice is once"


def test_the_dataset_is_flat_and_listed(packed: Bundle, run: Path) -> None:
    there = {path.name for path in packed.folder.iterdir()}
    assert all(path.is_file() for path in packed.folder.iterdir())
    assert there == {*packed.manifest["files"], MANIFEST}
    assert any(name.startswith("corolla-") and name.endswith(".whl") for name in there)
    assert any(name.startswith("simplejpeg-") for name in there)
    assert (packed.name, packed.how, packed.rule.method) == ("petals", "best, flip, vote", "vote")
    assert packed.competition == "tpu-getting-started"
    assert packed.num_bytes == sum(path.stat().st_size for path in packed.folder.iterdir() if path.name != MANIFEST)
    (facts,) = packed.runs
    assert (facts["checkpoint"], facts["tta"], facts["size"]) == ("best", "flip", None)
    row = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert (facts["name"], facts["epochs"], facts["val_macro_f1"]) == (run.name, 1, row["macro_f1"])


def test_equal_packs_have_equal_hashes(packed: Bundle, run: Path, tmp_path: Path) -> None:
    assert pack([run], tmp_path, **HOW).sha256 == packed.sha256
    assert pack([run], tmp_path, **HOW).sha256 == packed.sha256, "over an earlier one"
    assert pack([run], tmp_path, **{**HOW, "tta": "none"}).sha256 != packed.sha256


@pytest.mark.parametrize("how", ["other byte", "cut", "missing"])
def test_each_tampered_file_is_refused_by_name(attached: Path, tmp_path: Path, how: str) -> None:
    for name in read_bundle(attached).manifest["files"]:
        path = attached / name
        content = path.read_bytes()
        if how == "missing":
            path.unlink()
        else:
            middle = len(content) // 2
            other = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            path.write_bytes(other if how == "other byte" else content[:-1])
        with pytest.raises(UserError, match="version attached is not the one packed") as refused:
            restore_runs(attached, tmp_path / "runs")
        assert str(refused.value).startswith(f"{path}: ")
        assert "\n" not in str(refused.value)
        assert not (tmp_path / "runs").exists()
        path.write_bytes(content)
    assert restore_runs(attached, tmp_path / "runs")


def test_find(packed: Bundle, attached: Path, tmp_path: Path) -> None:
    root = tmp_path / "input"
    assert find_bundle(root, packed.sha256) == attached
    assert find_bundle(root, None) == attached
    second = root / "petals"
    shutil.copytree(attached, second)
    (second / MANIFEST).write_text((second / MANIFEST).read_text().replace("flip", "none"))
    assert find_bundle(root, packed.sha256) == attached
    (second / MANIFEST).write_text('{"format": 0}')
    assert find_bundle(root, packed.sha256) == attached
    with pytest.raises(UserError, match="several bundles"):
        find_bundle(root, None)
    with pytest.raises(UserError, match="version attached is not the one packed"):
        find_bundle(root, "0" * 64)
    with pytest.raises(UserError, match="attach the dataset"):
        find_bundle(tmp_path / "nowhere", None)


def test_find_leaves_the_records_alone(packed: Bundle, tmp_path: Path) -> None:
    inside = tmp_path / "competitions" / "tpu-getting-started" / "tfrecords-jpeg-32x32"
    shutil.copytree(packed.folder, inside)
    with pytest.raises(UserError, match="attach the dataset"):
        find_bundle(tmp_path, None)


def test_manifests_of_others_are_refused(attached: Path, tmp_path: Path) -> None:
    manifest = json.loads((attached / MANIFEST).read_text())
    for change, message in (
        ({"format": 99}, "pack the runs again"),
        ({"runs": [{**manifest["runs"][0], "name": "../x"}]}, "not the name of a file"),
        ({"files": {**manifest["files"], "../x": {"size": 1, "sha256": ""}}}, "not the name of a file"),
        ({"runs": [{**manifest["runs"][0], "files": {"best.pt": "other.pt"}}]}, "is not among its files"),
    ):
        (attached / MANIFEST).write_text(json.dumps({**manifest, **change}))
        with pytest.raises(UserError, match=message):
            restore_runs(attached, tmp_path / "runs")
    (attached / MANIFEST).write_text("{")
    with pytest.raises(UserError, match=r"is no valid JSON .*; pack the runs again"):
        read_bundle(attached)


@pytest.mark.usefixtures("no_wheels")
def test_odd_and_equal_names(run: Path, tmp_path: Path) -> None:
    names = ["Blüte (1) %x", "Blüte (1) %x", "Bl te [1] %x", "-- ", "a b", "A_b"]
    folders = [copy_run(run, tmp_path / str(number) / name) for number, name in enumerate(names)]
    packed = pack(folders, tmp_path / "pack", **HOW)
    assert [facts["name"] for facts in packed.runs][:2] == [names[0], f"{names[0]}-2"]
    assert all(name.isascii() and " " not in name for name in packed.manifest["files"])
    restored = restore_runs(packed.folder, tmp_path / "runs")
    assert len({folder.name for folder in restored}) == len(names)
    assert all(sha256(folder / "best.pt") == sha256(run / "best.pt") for folder in restored)


def test_wheels_are_for_kaggles_python_and_outlive_the_index(
    run: Path, tmp_path: Path, package_index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle's hash says whether it was submitted: an index that is away for an hour must not change it."""
    for name in ("google-crc32c", "simplejpeg"):
        package_index.add(name, importlib.metadata.version(name), "cp312-cp312-manylinux2014_x86_64")
    packed = pack([run], tmp_path / "pack", **HOW)
    own, *others = sorted(name for name in packed.manifest["files"] if name.endswith(".whl"))
    assert own.startswith("corolla-")
    assert [name.partition("-")[0] for name in others] == ["google_crc32c", "simplejpeg"]
    assert all("-cp312-" in name for name in others)
    assert packed.num_bytes - (packed.folder / f"{run.name}--best.pt").stat().st_size < 1_000_000
    assert pack([run], tmp_path / "elsewhere", **HOW).sha256 == packed.sha256
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert pack([run], tmp_path / "pack", **HOW).sha256 == packed.sha256


@pytest.mark.usefixtures("no_wheels")
def test_wheels_for_another_python_go_along(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "simplejpeg-1.9.0-cp312-cp312-manylinux2014_x86_64.whl"
    other.write_bytes(b"wheel")
    packed = pack([run], tmp_path / "pack", **HOW, wheels=[other])
    assert packed.manifest["files"][other.name] == {"size": 5, "sha256": sha256(other)}


@pytest.mark.usefixtures("no_wheels")
def test_last(run: Path, tmp_path: Path) -> None:
    packed = pack([run], tmp_path / "pack", **{**HOW, "checkpoint": "last"})
    (restored,) = restore_runs(packed.folder, tmp_path / "runs")
    assert sha256(restored / "last.pt") == sha256(run / "last.pt")
    assert not (restored / "best.pt").exists()


@pytest.mark.usefixtures("no_wheels")
def test_checkpoints_are_links_that_training_on_does_not_change(run: Path, tmp_path: Path) -> None:
    own = copy_run(run, tmp_path / "run")
    packed = pack([own], tmp_path / "pack", **HOW)
    (name,) = (name for name in packed.manifest["files"] if name.endswith(".pt"))
    assert (packed.folder / name).samefile(own / "best.pt")


@pytest.mark.usefixtures("no_wheels")
def test_runs_that_cannot_be_packed(run: Path, tmp_path: Path) -> None:
    def refused(runs: list[Path], message: str) -> None:
        with pytest.raises(UserError, match=message):
            pack(runs, tmp_path / "pack", **HOW)

    refused([], "at least one")
    refused([tmp_path / "none"], "no run is in this folder")
    refused([run, run.parent / "." / run.name], "named twice")
    without = copy_run(run, tmp_path / "without")
    (without / "best.pt").unlink()
    refused([without], r"best\.pt: there is no such checkpoint")
    (without / "best.pt").write_bytes(b"PK")
    refused([without], "not a readable checkpoint")


@pytest.mark.usefixtures("no_wheels")
def test_other_classes_are_refused(run: Path, tmp_path: Path) -> None:
    import torch

    other = copy_run(run, tmp_path / "other")
    content = torch.load(other / "best.pt", weights_only=True)
    content["class_names"] = content["class_names"][::-1]
    torch.save(content, other / "best.pt")
    with pytest.raises(UserError, match="was trained for other classes than"):
        pack([run, other], tmp_path / "pack", **HOW)


@pytest.mark.parametrize("name", ["diary.txt", ".secret.tmp", ".notes.2024.tmp"])
@pytest.mark.usefixtures("no_wheels")
def test_foreign_files_are_neither_uploaded_nor_deleted(name: str, run: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / name).write_text("mine")
    with pytest.raises(UserError, match=f"{re.escape(name)}: was not packed by corolla"):
        pack([run], tmp_path, **HOW)
    assert (tmp_path / "dataset" / name).read_text() == "mine"


@pytest.mark.usefixtures("no_wheels")
def test_an_imported_run_is_packed_with_its_epochs_unknown(run: Path, tiny_data: Path, tmp_path: Path) -> None:
    imported = import_checkpoint(run / "best.pt", tmp_path / "mine", model="timm:test_efficientnet", data=tiny_data)
    bundle = pack([imported.folder], tmp_path / "pack", **HOW)
    assert [(each["epochs"], each["val_macro_f1"]) for each in bundle.runs] == [(None, None)]
    names = dict.fromkeys(("owner", "slug", "title"), "petals")
    folder = write_notebook(tmp_path, bundle, **names, dataset="petals/petals", competition="petals")
    assert "| mine | best | flip | unknown |  |" in "".join(path.read_text() for path in folder.glob("*.ipynb"))
    (restored,) = restore_runs(bundle.folder, tmp_path / "runs")
    assert Run(restored).imported == imported.imported
