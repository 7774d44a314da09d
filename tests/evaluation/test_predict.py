"""Prediction with a run that was trained once for all tests of this file."""

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import break_first_jpeg, write_data

import corolla.data.dataset
import corolla.evaluation.predict
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import load_index
from corolla.data.tfrecord import encode_example, map_file, parse_example, read_records, write_tfrecord
from corolla.data.transforms.eval import EvalTransform
from corolla.data.transforms.tta import CropViews
from corolla.errors import UserError
from corolla.evaluation.compute import PredictOptions
from corolla.evaluation.predict import PredictResult, predict_split
from corolla.evaluation.predictions import Predictions
from corolla.models.factory import build_model
from corolla.models.normalise import Normalise
from corolla.runs.checkpoint import load_checkpoint, rebuild_model
from corolla.runs.folder import Run
from corolla.training.train import train

TEST_IDS = [f"{2000 + i:09x}" for i in range(11)]


def predict(run: Run, **options: Any) -> PredictResult:
    return corolla.evaluation.predict.predict(run.folder, **{"device": "cpu", "workers": 0, **options})


@torch.inference_mode()
def by_hand(run: Run, data: Path, tta: CropViews) -> NDArray[np.float32]:
    """The mean of the views' probabilities, photo by photo."""
    model, description = rebuild_model(load_checkpoint(run.best))
    preprocessing = description.preprocessing
    views = EvalTransform(24, crop_fraction=preprocessing.crop_fraction, interpolation="bilinear", tta=tta)
    normalise = Normalise(preprocessing, channels_last=False)
    photos = TFRecordDataset(load_index(data, 32), "test")
    rows = [
        torch.stack([model(normalise(view[None]))[0].softmax(0) for view in torch.from_numpy(views(photos.image(i)))])
        for i in range(len(photos))
    ]
    return torch.stack(rows).mean(1).numpy()


@pytest.mark.parametrize(("tta", "num_views"), [("none", 1), ("flip", 2), ("ten-crop", 10)])
def test_the_views_probabilities_are_averaged(tta: CropViews, num_views: int, run: Run, tiny_data: Path) -> None:
    expected = by_hand(run, tiny_data, tta)
    result = predict(run, tta=tta)
    assert result.predictions.probabilities == pytest.approx(expected, abs=1e-5)
    if num_views > 1:
        assert result.predictions.probabilities != pytest.approx(by_hand(run, tiny_data, "none"), abs=1e-3)


def test_a_labelled_split_has_its_scores(run: Run) -> None:
    """As the last epoch of training has them."""
    assert (predict(run).top1, predict(run).top5) == (None, None)
    result, row = predict(run, split="val", checkpoint="last"), run.metrics[-1]
    assert (result.macro_f1, result.top1, result.top5) == (row["macro_f1"], row["top1"], row["top5"])
    labels, values = result.predictions.labels, result.predictions.probabilities
    assert labels is not None
    kept = dataclasses.replace(
        result.predictions, probabilities=np.concatenate([values, 0 * values], axis=1), labels=labels + 5
    )
    assert dataclasses.replace(result, predictions=kept).top5 == 0


def test_the_file_holds_what_the_design_says(run: Run) -> None:
    on_test, on_val = predict(run), predict(run, split="val", tta="flip", checkpoint="last")
    assert on_test.path == run.folder / "predictions" / "test-none.npz"
    assert on_val.path == run.folder / "predictions" / "val-flip-last.npz"
    with np.load(on_test.path) as file:
        names = {"ids", "probabilities", "checkpoint", "fingerprint", "epochs", "seconds", "class_names"}
        assert set(file) == names
        assert file["ids"].tolist() == TEST_IDS
        assert file["probabilities"].shape == (11, 5)
        assert file["probabilities"].dtype == np.float32
        assert file["probabilities"].sum(1) == pytest.approx(1, abs=1e-5)
        assert str(file["checkpoint"]) == hashlib.sha256(run.best.read_bytes()).hexdigest()
    with np.load(on_val.path) as file:
        assert set(file) == names | {"labels"}
        assert file["class_names"].tolist() == [f"kind {n}" for n in range(5)]
        assert file["labels"].tolist() == [i % 5 for i in range(16)]
        assert str(file["checkpoint"]) == hashlib.sha256(run.last.read_bytes()).hexdigest()


@torch.inference_mode()
def test_the_moving_average_predicts(run: Run, tiny_data: Path) -> None:
    content = load_checkpoint(run.best)
    photos = TFRecordDataset(load_index(tiny_data, 32), "test")
    _, description = rebuild_model(content)
    view = EvalTransform(24, crop_fraction=description.preprocessing.crop_fraction)
    images = torch.from_numpy(np.concatenate([view(photos.image(i)) for i in range(11)]))
    pixels = Normalise(description.preprocessing, channels_last=False)(images)
    of = {}
    for weights in ("ema", "model"):
        model = build_model(description.config.model, 5, 24)
        model.load_state_dict(content[weights])
        of[weights] = model.eval()(pixels).softmax(1).numpy()
    probabilities = predict(run).predictions.probabilities
    assert probabilities == pytest.approx(of["ema"], abs=1e-5)
    assert probabilities != pytest.approx(of["model"], abs=1e-3)


def test_neither_batch_size_nor_workers_matter(run: Run, tmp_path: Path) -> None:
    other = Run(shutil.copytree(run.folder, tmp_path / "other"))
    first = predict(run, split="val", tta="flip", batch_size=3)
    second = predict(other, split="val", tta="flip", batch_size=16, workers=2)
    assert first.predictions.ids.tolist() == second.predictions.ids.tolist()
    assert first.predictions.probabilities == pytest.approx(second.predictions.probabilities, abs=1e-5)


def test_predicted_once_is_enough(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = predict(run)
    before = first.path.read_bytes(), first.path.stat().st_mtime_ns
    monkeypatch.setattr("corolla.runs.checkpoint.rebuild_model", None)
    second = predict(run)
    assert (first.made, second.made) == (True, False)
    assert (second.path.read_bytes(), second.path.stat().st_mtime_ns) == before
    assert np.array_equal(second.predictions.probabilities, first.predictions.probabilities)


@pytest.mark.parametrize("tta", ["ten-crop", "random-2+multi-scale"])
def test_several_runs_take_one_pass_over_the_photos(
    tta: str, run: Run, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs with other sizes and views of their own, each with the very numbers that it has alone."""
    other = train(run.config, data=tiny_data, run_name="larger", epochs=1, input_size=40, runs=tmp_path, device="cpu")
    copy = Run(shutil.copytree(run.folder, tmp_path / "copy"))
    runs, options = [run, other, copy], PredictOptions(split="test", tta=tta, device="cpu", workers=0, batch_size=640)
    alone = [corolla.evaluation.predict.predict(each, options) for each in runs]
    for result in alone:
        result.path.unlink()
    decoded = list[int]()
    decode = corolla.data.dataset.decode_photo
    monkeypatch.setattr(
        corolla.data.dataset, "decode_photo", lambda *args, **how: decoded.append(1) or decode(*args, **how)
    )
    together = predict_split(runs, options)
    assert len(decoded) == 11  # each photo once
    for one, result in zip(alone, together, strict=True):
        assert result.path == one.path
        assert result.predictions.probabilities.tobytes() == one.predictions.probabilities.tobytes()
    assert not any(result.made for result in predict_split(runs, options))


def test_another_checkpoint_is_predicted_again(run: Run, tiny_data: Path, tmp_path: Path) -> None:
    first = predict(run, checkpoint="last")
    train_more = dataclasses.replace(run.config.train, epochs=3)
    config = dataclasses.replace(run.config, data=tiny_data, runs=tmp_path / "runs", train=train_more, device="cpu")
    longer = train(dataclasses.replace(config, resume_from=run.last, run_name="longer"))
    shutil.copy(longer.last, run.last)
    second = predict(run, checkpoint="last")
    assert second.made
    assert second.predictions.checkpoint != first.predictions.checkpoint
    assert not np.allclose(second.predictions.probabilities, first.predictions.probabilities)
    assert not predict(run, checkpoint="last").made


@pytest.mark.parametrize("damage", ["empty", "cut", "a bit", "text", "array", "other keys"])
def test_a_damaged_file_is_made_again(damage: str, run: Run) -> None:
    first = predict(run)
    whole = first.path.read_bytes()
    if damage == "array":
        with first.path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif damage == "other keys":
        np.savez(first.path, x=np.zeros(3))
    else:
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        first.path.write_bytes({"empty": b"", "cut": whole[:-100], "a bit": bytes(flipped), "text": b"hello"}[damage])
    with pytest.raises(UserError, match=r"test-none\.npz: not a readable file of predictions"):
        Predictions.load(first.path)
    assert predict(run).made
    assert first.path.read_bytes() == whole


def test_the_data_may_have_moved(run: Run, tiny_data: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(tiny_data, tmp_path / "moved")
    environment = run.folder / "environment.json"
    environment.write_text(environment.read_text().replace(str(tiny_data.resolve()), str(tmp_path / "gone")))
    with pytest.raises(UserError, match="gone"):
        predict(run)
    assert predict(run, data=moved).predictions.ids.tolist() == TEST_IDS


def test_other_photos_are_predicted_anew(run: Run, tmp_path: Path) -> None:
    first = predict(run)
    second = predict(run, data=write_data(tmp_path / "other", test=7))
    assert second.made
    assert second.predictions.ids.tolist() == TEST_IDS[:7]
    assert second.predictions.probabilities == pytest.approx(first.predictions.probabilities[:7], abs=1e-5)


def test_corrected_labels_are_predicted_anew(run: Run, tiny_data: Path, tmp_path: Path) -> None:
    """The same ids and photos; only the records tell."""
    first = predict(run, split="val")
    other = shutil.copytree(tiny_data, tmp_path / "corrected")
    labels = []
    for path in sorted((other / "tfrecords-jpeg-32x32" / "val").iterdir()):
        buffer = map_file(path)
        corrected = []
        for found in [parse_example(buffer, record.start, record.end) for record in read_records(path, buffer)]:
            assert found.label is not None
            labels.append((found.label + 1) % 5)
            image = bytes(buffer[found.image_offset : found.image_offset + found.image_length])
            corrected.append(encode_example(image=image, label=labels[-1], id=found.id))
        path.unlink()  # it is mapped
        write_tfrecord(path, corrected)
    second = predict(run, split="val", data=other)
    assert second.made
    assert second.predictions.ids.tolist() == first.predictions.ids.tolist()
    assert second.predictions.labels is not None
    assert second.predictions.labels.tolist() == labels
    assert not predict(run, split="val", data=other).made


def test_a_missing_run_names_those_beside_it(run: Run) -> None:
    with pytest.raises(UserError, match=r"nothing: no run is in this folder; in .*runs there are: tiny-seed0$"):
        predict(Run(run.folder.with_name("nothing")))


def test_a_run_without_its_first_epoch_is_told(run: Run) -> None:
    run.best.unlink()
    with pytest.raises(UserError, match=r"best\.pt: there is no such checkpoint yet; train"):
        predict(run)


def test_other_classes_are_refused(run: Run, tmp_path: Path) -> None:
    other = write_data(tmp_path / "other")
    (other / "classes.txt").write_text("".join(f"weed {n}\n" for n in range(5)))
    with pytest.raises(UserError, match=r"other: its classes are not those that .*best\.pt was trained for$"):
        predict(run, data=other)
    assert not run.predictions("test", "none").exists()


def test_a_bad_jpeg_stops_or_is_grey(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, line = break_first_jpeg(tmp_path / "data")
    with pytest.raises(UserError) as caught:
        predict(run, split="train", data=data)
    assert str(caught.value).startswith(line)
    assert len(str(caught.value).splitlines()) == 1
    assert not run.predictions("train", "none").exists()
    result = predict(run, split="train", data=data, bad_images="grey")
    assert len(result.predictions.ids) == 40
    assert line in caplog.text


def test_a_missing_device_is_told(run: Run) -> None:
    with pytest.raises(UserError, match="--device cuda:99: this machine has no such device"):
        predict(run, device="cuda:99")
