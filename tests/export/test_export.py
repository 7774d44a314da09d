"""A run's network in other programs: what they make of the exported files equals what the run predicts."""

import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors import safe_open
from support import EVIL, changed, smallest_config, write_data

import corolla
from corolla import cli
from corolla.config import Config, ModelConfig
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import load_index
from corolla.data.transforms.eval import EvalTransform
from corolla.errors import Failure, UserError
from corolla.export import check
from corolla.export.export import Export
from corolla.export.onnx_file import load_onnx, write_onnx
from corolla.export.source import Source
from corolla.export.timm_network import timm_network
from corolla.models.factory import build_model
from corolla.models.pretrained import IMAGENET
from corolla.runs.checkpoint import ModelMeta, load_checkpoint, read_meta
from corolla.runs.folder import Run, data_of

NAMES = (EVIL, "kind </td></table>", "```", "| *kind* 3", "kind 4")
DOCS = Path(__file__).parents[2] / "docs" / "exporting.md"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run in fp32 with a moving average, on 18 photos of val and classes of ill-meant names."""
    folder = tmp_path_factory.mktemp("export")
    data = write_data(folder / "data", val=18)
    (data / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    config = changed(smallest_config(data, folder / "runs"), "train", precision="fp32", ema=0.9, epochs=1)
    return corolla.train(dataclasses.replace(config, run_name="flowers"))


@pytest.fixture(scope="module")
def predicted(run: Run) -> np.ndarray:
    """Return what the run predicts for val."""
    return corolla.predict(run, split="val", device="cpu", workers=0).predictions.probabilities


@pytest.fixture(scope="module")
def photos(run: Run) -> list[Image.Image]:
    index = load_index(data_of(run), None)
    return [Image.fromarray(sample.image) for sample in map(TFRecordDataset(index, "val").__getitem__, range(18))]


@pytest.fixture(scope="module")
def onnx_export(run: Run) -> Export:
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="the extra export is not installed")
    return corolla.export(run, to="onnx", out=str(run.folder.parent / "new" / "network.onnx"))


def as_seen(run: Run, photos: list[Image.Image]) -> np.ndarray:
    """Return the photos as the run's network sees them, N x 3 x S x S."""
    own = read_meta(load_checkpoint(run.best))
    fraction, interpolation = own.preprocessing.crop_fraction, own.preprocessing.interpolation
    transform = EvalTransform(own.input_size, crop_fraction=fraction, interpolation=interpolation)
    return np.stack([transform(np.array(photo))[0] for photo in photos]).transpose(0, 3, 1, 2)


def probabilities_of(model: Any, images: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return model.eval()(images).softmax(-1).numpy()


def test_onnx_makes_of_pixels_what_the_run_predicts(
    run: Run, predicted: np.ndarray, photos: list[Image.Image], onnx_export: Export
) -> None:
    ort, done = pytest.importorskip("onnxruntime"), onnx_export
    assert (done.photos, done.num_classes) == ("18 photos of val and 2 drawn ones", 5)
    assert done.difference < 1e-5
    session = ort.InferenceSession(done.path)
    pixels = as_seen(run, photos)
    for batch in (1, 18):
        found = session.run(None, {"pixels": pixels[:batch]})[0]
        assert np.abs(found - predicted[:batch]).max() < 1e-5
    with pytest.raises(Exception, match="uint8"):  # normalised already, or divided by 255
        session.run(None, {"pixels": pixels.astype(np.float32)})
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == list(NAMES)
    assert json.loads(metadata["preprocessing"])["normalisation"] == "inside"


def test_the_example_of_the_docs_names_a_photo(
    onnx_export: Export,
    predicted: np.ndarray,
    photos: list[Image.Image],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos[3].save(tmp_path / "photo.png")
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    exec(code.replace("network.onnx", str(onnx_export.path)).replace("photo.jpg", f"{tmp_path}/photo.png"), {})
    assert capsys.readouterr().out.startswith(f"{NAMES[predicted[3].argmax()]} {predicted[3].max():.0%}")


def test_timm_loads_the_weights(run: Run, predicted: np.ndarray, photos: list[Image.Image]) -> None:
    done = corolla.export(str(run.folder), to="timm")
    assert done.path == run.folder / "export" / "flowers.safetensors"
    with safe_open(done.path, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["class_names"]) == list(NAMES)
    seen = json.loads(metadata["preprocessing"])
    mean, std = (torch.tensor(seen[name]).view(3, 1, 1) for name in ("mean", "std"))
    images = (torch.from_numpy(as_seen(run, photos)) / 255 - mean) / std
    model = eval(done.usage, {"timm": timm})  # as it is printed
    assert np.abs(probabilities_of(model, images) - predicted).max() < 1e-5


def test_a_folder_for_the_hub_is_a_whole_classifier(
    run: Run, predicted: np.ndarray, photos: list[Image.Image], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = corolla.export(run, to="hub", out=tmp_path / "flowers")
    assert {path.name for path in done.path.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    model = eval(done.usage, {"timm": timm})
    told = timm.data.resolve_model_data_config(model)  # pyright: ignore[reportAttributeAccessIssue]
    transform = timm.data.create_transform(**told, is_training=False)  # pyright: ignore[reportAttributeAccessIssue]
    images = torch.stack([transform(photo) for photo in photos])
    assert np.abs(probabilities_of(model, images) - predicted).max() < 0.01  # another resize, but for rounding
    assert model.pretrained_cfg["label_names"] == list(NAMES)
    (code,) = re.findall(r"```python\n(.*?)\n```", (done.path / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    photos[2].save(tmp_path / "photo.png")
    exec(code.replace("FOLDER", str(done.path)).replace("photo.jpg", f"{tmp_path}/photo.png"), {})
    assert capsys.readouterr().out.startswith(f"{NAMES[predicted[2].argmax()]} 0.")


def test_the_model_card_has_the_runs_own_figures_and_no_place_of_this_machine(run: Run, tmp_path: Path) -> None:
    card = (corolla.export(run, to="hub", checkpoint="last").path / "README.md").read_text(encoding="utf-8")
    row = run.metrics[-1]
    assert f"| {row['macro_f1']:.4f}, top-1 {row['top1']:.4f} (last epoch, not chosen by it) |" in card
    assert "moving average of the weights (decay 0.9)" in card
    for part in (
        "from scratch",
        "epoch 1 of 1, seed 0",
        *(run.environment["fingerprint"][split] for split in ("train", "val")),
    ):
        assert part in card
    assert str(run.folder.parent) not in card
    assert all(f"\n    {number} {name}\n" in card for number, name in enumerate(NAMES))


def test_of_an_imported_checkpoint_the_card_claims_no_training(run: Run, tmp_path: Path) -> None:
    weights = corolla.export(run, to="timm", out=tmp_path / "theirs.safetensors").path
    imported = corolla.import_checkpoint(
        weights,
        tmp_path / "imported",
        model="timm:test_efficientnet",
        classes=data_of(run) / "classes.txt",
        input_size=32,
    )
    card = (corolla.export(imported, to="hub").path / "README.md").read_text(encoding="utf-8")
    assert "| weights | trained elsewhere: the file theirs.safetensors, SHA-256 " in card
    assert "| training and score | not known here |" in card
    assert "scratch" not in card


def test_photos_are_drawn_where_the_data_are_gone(run: Run, tmp_path: Path) -> None:
    moved = shutil.copytree(run.folder, tmp_path / "moved")
    environment = json.loads((moved / "environment.json").read_text())
    (moved / "environment.json").write_text(json.dumps(environment | {"data": str(tmp_path / "gone")}))
    done = corolla.export(moved, to="timm")
    assert done.photos == "20 drawn photos (its val photos are not at hand)"
    assert done.difference < 1e-5


def test_a_network_that_came_out_otherwise_is_not_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "TOLERANCE", -1.0)  # all that is found is too much
    out = run.folder.parent / "never"
    wanted: list[tuple[Literal["timm", "hub"], str]] = [("timm", "a.safetensors"), ("hub", "a")]
    for to, name in wanted:
        with pytest.raises(
            Failure, match=r"is not this network: .* on 18 photos of val and 2 drawn ones; nothing was written"
        ):
            corolla.export(run, to=to, out=out / name)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("keywords", "line"),
    [
        ({"to": "tflite"}, "to 'tflite': onnx, timm or hub is expected"),
        ({"to": "onnx", "out": "a.txt"}, "a.txt: a name in .onnx is expected for --to onnx"),
        ({"to": "timm", "out": "best.pt"}, "best.pt: a name in .safetensors is expected for --to timm"),
        ({"to": "timm", "out": "a.SAFETENSORS"}, "a.SAFETENSORS: a name in .safetensors is expected for --to timm"),
        ({"to": "hub", "out": "{run}"}, "{run}: this folder is there already; remove it, or choose another --out"),
        ({"to": "hub", "out": "{run}/best.pt"}, "{run}/best.pt: is a file; --to hub writes a folder"),
        ({"to": "timm", "checkpoint": "first"}, "checkpoint 'first': best or last is expected"),
    ],
)
def test_what_can_not_be_exported_is_one_line(run: Run, keywords: dict[str, str], line: str) -> None:
    asked: dict[str, Any] = {name: value.format(run=run.folder) for name, value in keywords.items()}
    with pytest.raises(UserError) as refusal:
        corolla.export(run, **asked)
    assert str(refusal.value) == line.format(run=run.folder)


def test_without_the_extra_a_line_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"^--to onnx needs the package onnx: pip install 'corolla\[export\]'$"):
        corolla.export(run, to="onnx")


def test_the_command_says_what_was_compared(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["corolla", "export", str(run.folder), "--to", "timm", "--out", str(tmp_path / "a.safetensors")]
    monkeypatch.setattr(sys, "argv", words)
    assert cli.main() == 0
    said = capsys.readouterr().out
    assert re.search(r"on 18 photos of val and 2 drawn ones: probabilities differ by \S+ at most\n", said)
    monkeypatch.setattr(sys, "argv", [*words[:2], str(tmp_path), *words[3:]])
    assert cli.main() == 2


OWN = {
    "resnet18": {},
    "resnet18d": {"stem": "3x3", "avg_shortcut": True},
    "resnet18 deep": {"stem": "3x3", "activation": "silu"},
    "resnet18 gelu": {"activation": "gelu"},
    "resnet18 avg": {"avg_shortcut": True, "drop_path": 0.1, "dropout": 0.2},
    "resnet50": {"name": "resnet50"},
}


@pytest.mark.parametrize("settings", OWN.values(), ids=OWN)
@torch.inference_mode()
def test_own_resnets_are_timms(settings: dict[str, Any]) -> None:
    config = ModelConfig(**{"name": "resnet18", **settings})
    network = timm_network(config, 3, 32)
    with torch.device("meta"):  # drawing the weights of both takes most of the time
        own = build_model(config, 3, 32).eval()
        twin = timm.create_model(network.architecture, num_classes=3, **network.arguments).eval()
    state = {
        name: torch.rand(tensor.shape) / 10 - (0.05 if tensor.ndim > 1 else 0)  # weights about 0, variances above it
        for name, tensor in own.state_dict().items()
    }
    own.load_state_dict(state, assign=True)
    twin.load_state_dict(state, assign=True)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(own(images), twin(images))
    assert own(images).isfinite().all()


ONNX_ALONE = (
    {"stem": "small"},
    {"name": "plain18", "activation": "gelu"},
    {"shortcut": "A"},
    {"shortcut": "C", "width": 0.5},
    {"name": "resnet20", "shortcut": "A"},
)
FAMILIES = ("test_vit", "convnext_atto", "resnext26ts", "mobilenetv3_small_050", "edgenext_xx_small", "levit_128s")


@pytest.mark.slow
@pytest.mark.parametrize("settings", [*ONNX_ALONE, *({"name": f"timm:{name}"} for name in FAMILIES)], ids=str)
def test_networks_of_other_kinds_than_that_of_the_fast_tests_are_onnx(settings: dict[str, Any], tmp_path: Path) -> None:
    """Tracing meets attention, other norms and shortcuts of zeros, and batches of other sizes than its own."""
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="the extra export is not installed")
    config = ModelConfig(**{"name": "resnet18", **settings})
    size = 224 if "levit" in config.name else 64
    torch.manual_seed(0)
    network = build_model(config, 3, size).eval()
    meta = ModelMeta(
        config=Config(model=config), input_size=size, class_names=NAMES[:3], preprocessing=IMAGENET, fingerprint={}
    )
    source = Source(Run(tmp_path), "best", "", network, meta, [])
    write_onnx(source, tmp_path / "a.onnx")
    assert check.check_export(load_onnx(tmp_path / "a.onnx"), source).difference < 1e-5


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"name": "plain18"}, "timm has no network like plain18 with no shortcuts; --to onnx takes it"),
        ({"name": "resnet20"}, "timm has no network like resnet20 with three stages; --to onnx takes it"),
        ({"shortcut": "A"}, "with --model.shortcut A;"),
        ({"width": 0.5}, "with --model.width 0.5;"),
        ({"stem": "small"}, "with --model.stem small;"),
        ({"name": "resnet50", "stride_in_1x1": True}, "with --model.stride-in-1x1;"),
        ({"name": "timm:test_resnet", "stem": "small"}, "timm's test_resnet has no --model.stem small;"),
    ],
)
def test_a_network_that_timm_has_not_is_one_line(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError) as refusal:
        timm_network(ModelConfig(**{"name": "resnet18", **settings}), 3, 32)
    assert reason in str(refusal.value)
