"""Photos that are classified: the path of a split, formats, several runs, and what is no photo."""

import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support import draw, textured, write_data

import corolla
from corolla.cli import run_command
from corolla.config.experiments import load_config
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import load_index
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import UserError
from corolla.evaluation.photo_predictions import PhotoPredictions
from corolla.runs.folder import Run

ON_CPU = {"device": "cpu", "workers": 0}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder as people have them: several formats, folders in it, a note."""
    folder = tmp_path / "photos"
    (folder / "garden").mkdir(parents=True)
    Image.fromarray(textured(1, 200)[:150]).save(folder / "large.png")
    Image.fromarray(textured(2, 40)).save(folder / "small.webp")
    (folder / "garden" / "disc.jpg").write_bytes(draw(3, 5, 32))
    (folder / "notes.txt").write_text("bought in May")
    return folder


def classify(run: Run | list[Run], photos: Path | list[Path], **options: object) -> PhotoPredictions:
    return corolla.predict(run, photos=photos, **{**ON_CPU, **options})


@pytest.mark.parametrize("tta", ["none", pytest.param("flip+multi-scale", marks=pytest.mark.slow)])
def test_a_photo_of_a_split_has_what_it_has_there(tta: str, run: Run, tiny_data: Path, tmp_path: Path) -> None:
    of_split = corolla.predict(run, split="val", tta=tta, **ON_CPU).predictions
    records = TFRecordDataset(load_index(tiny_data, 32), "val")
    for number in range(len(records)):
        (tmp_path / f"{records.split.id[number]}.jpg").write_bytes(records.jpeg(number))
    found = classify(run, tmp_path, tta=tta).to_pandas().set_index("path")
    paths = [str(tmp_path / f"{name}.jpg") for name in of_split.ids]
    assert found.loc[paths, "label"].tolist() == of_split.probabilities.argmax(1).tolist()
    assert found.loc[paths, "probability"].to_numpy() == pytest.approx(of_split.probabilities.max(1), abs=1e-5)


def test_a_grey_photo_of_a_split_too(run: Run, tiny_data: Path, tmp_path: Path) -> None:
    with Image.open(io.BytesIO(draw(2, 7, 32))) as disc:
        disc.convert("L").save(tmp_path / "grey.jpg", quality=60)
    record = encode_example(image=(tmp_path / "grey.jpg").read_bytes(), label=None, id="grey")
    (tmp_path / "data" / "tfrecords-jpeg-32x32" / "test").mkdir(parents=True)
    shutil.copy(tiny_data / "classes.txt", tmp_path / "data")
    write_tfrecord(tmp_path / "data" / "tfrecords-jpeg-32x32" / "test" / "00-32x32-1.tfrec", [record])
    of_split = corolla.predict(run, data=tmp_path / "data", **ON_CPU).predictions.probabilities
    assert classify(run, tmp_path / "grey.jpg").probabilities == pytest.approx(of_split, abs=1e-5)


def test_a_photo_lies_as_its_exif_says(run: Run, tmp_path: Path) -> None:
    upright = Image.fromarray(textured(6, 32))
    upright.save(tmp_path / "upright.png")
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    found = classify(run, [tmp_path / "upright.png", tmp_path / "turned.png"])
    assert found.probabilities[0].tolist() == found.probabilities[1].tolist()


def test_a_folder_is_searched_and_files_come_beside_the_table(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    found = classify(run, [photos, photos / "large.png"], out=tmp_path / "out" / "flowers.csv")
    assert found.paths == tuple(str(photos / name) for name in ("large.png", "small.webp", "garden/disc.jpg"))
    assert found.broken == {str(photos / "broken.jpg"): "no image"}
    table = pd.read_csv(tmp_path / "out" / "flowers.csv")
    assert list(table)[:6] == ["path", "label", "name", "probability", "name_2", "probability_2"]
    assert len(list(table)) == 2 + 2 * 5
    assert table["name"].tolist() == [f"kind {label}" for label in table["label"]]
    assert table["probability"].to_numpy() == pytest.approx(found.probabilities.max(1))
    page = (tmp_path / "out" / "flowers.html").read_text()
    surest = [page.index(f">{found.paths[photo]}<") for photo in found.surest_first]
    assert surest == sorted(surest)
    assert page.count("data:image/jpeg;base64,") == 3
    assert "broken.jpg" in page
    with Image.open(tmp_path / "out" / "flowers.png") as sheet:
        assert sheet.width > 3 * 192
    assert [path.suffix for path in found.files] == [".csv", ".png", ".html"]
    assert repr(found).startswith("<PhotoPredictions: 3 photos of 5 classes, 1 that can't be read>")
    assert "kind" in found._repr_html_()


def test_several_runs_are_averaged(run: Run, photos: Path, tmp_path: Path) -> None:
    other = Run(shutil.copytree(run.folder, tmp_path / "other"))
    shutil.copy(other.last, other.best)
    alone = [classify(each, photos, checkpoint="last").probabilities for each in (run, other)]
    assert classify([run, other], photos, checkpoint="last").probabilities == pytest.approx(np.mean(alone, 0), abs=1e-6)
    with pytest.raises(UserError, match="is named twice; every run has one vote"):
        classify([run, other, Run(run.folder / ".." / run.name)], photos)


def test_records_of_another_size_are_taken(run: Run, tmp_path: Path) -> None:
    larger = write_data(tmp_path / "larger", size=48)
    with pytest.raises(UserError, match="48"):
        corolla.predict(run, split="val", data=larger, **ON_CPU)
    found = corolla.predict(run, split="val", data=larger, size=48, **ON_CPU)
    assert len(found.to_pandas()) == 16
    assert load_config(run.folder / "config.json").size == 32


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("typo.jpg", "typo.jpg: there is no such run, photo or folder"),
        ("empty", "no photos found (jpg, png, webp, gif, tif, bmp, avif), and no run (config.json) either"),
        ("runs", "holds no photos but runs: name them, such as "),
        ("records", "holds TFRecords: predict a split of theirs with --data "),
        ("note.txt", "1 of 1 files is no photo that can be read: "),
        ("phone.heic", "1 of 1 files is no photo that can be read: "),
    ],
)
def test_what_is_no_photo_is_one_line(
    what: str, line: str, run: Run, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "records").symlink_to(tiny_data)
    (tmp_path / "note.txt").write_text("no photo")
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0 ftypheic")
    monkeypatch.setattr("corolla.evaluation.photos.compute_predictions", None)  # nothing computes
    with pytest.raises(UserError) as refusal:
        classify(run, Path(what), out=tmp_path / "out.csv")
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out.csv").exists()


def test_runs_of_other_classes_do_not_join(run: Run, photos: Path, tmp_path: Path) -> None:
    folder = write_data(tmp_path / "other", train=10, val=5, test=5)
    (folder / "classes.txt").write_text("".join(f"weed {n}\n" for n in range(5)))
    config = load_config(run.folder / "config.json")
    other = corolla.train(
        config, data=folder, runs=tmp_path / "runs", run_name="weeds", epochs=1, batch_size=4, **ON_CPU
    )
    with pytest.raises(UserError, match="weeds: was trained for other classes than"):
        classify([run, other], photos)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"split": "val"}, "a split or a data folder has no effect with photos"),
        ({"data": "here"}, "a split or a data folder has no effect with photos"),
        ({"out": "flowers.xlsx"}, "flowers.xlsx: a name in .csv is expected"),
        ({"out": "photos/large.csv"}, "large.png: is one of the photos and would be written over"),
        ({"size": 0}, "--size 0: photos become squares of 1 to 4096 pixels a side"),
        ({"size": 99999}, "--size 99999: photos become squares of"),
        ({"tta": "tencrop"}, "did you mean 'ten-crop'?"),
        ({"split": "validation"}, "--split 'validation': train, val, test or oof is expected"),
    ],
)
def test_options_that_lead_nowhere_are_refused(
    options: dict[str, str], line: str, run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    with pytest.raises(UserError, match=r"^[^\n]*$") as refusal:
        classify(run, photos, **options)
    assert line in str(refusal.value)


def test_the_command_goes_on_after_a_broken_photo(
    run: Run, photos: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="corolla")
    (photos / "cut.png").write_bytes((photos / "large.png").read_bytes()[:200])
    with pytest.raises(UserError, match=r"^1 of 4 files is no photo that can be read: .*cut\.png \(.*\)$"):
        run_command(["predict", str(run.folder), str(photos), "--device", "cpu", "--workers", "0"])
    printed = capsys.readouterr().out
    assert printed.count("kind ") == 3 * 5
    assert "%  kind" in printed
    assert "1 file that is no photo is left out: notes.txt" in caplog.text


def test_many_photos_are_a_table_as_wide_as_the_terminal(
    run: Run, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        shutil.copy(photos / "small.webp", photos / f"copy {number}.webp")
    monkeypatch.chdir(photos.parent)
    monkeypatch.setenv("COLUMNS", "60")
    assert run_command(["predict", str(run.folder), "photos", "--device", "cpu", "--workers", "0"]) == 0
    titles, *rows = capsys.readouterr().out.splitlines()
    assert titles.split() == ["likeliest", "second", "photo"]
    assert [line.count("%  kind ") for line in rows[:13]] == [2] * 13
    assert max(map(len, rows[:13])) <= 60
    assert rows[13] == "(too narrow here for: third, fourth, fifth)"


def test_the_command_predicts_val_and_test(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["predict", str(run.folder), "--device", "cpu", "--workers", "0"]) == 0
    names = {path.name for path in (run.folder / "predictions").iterdir()}
    assert {"test-none.csv", "test-none.npz", "val-none.csv", "val-none.npz"} <= names
    assert "val: macro F1" in capsys.readouterr().out
    table = pd.read_csv(run.folder / "predictions" / "val-none.csv")
    assert list(table) == ["id", "label", "name", "probability", "truth"]
    (run.folder / "predictions" / "val-none.csv").unlink()
    assert run_command(["predict", str(run.folder), "--device", "cpu", "--workers", "0"]) == 0
    assert pd.read_csv(run.folder / "predictions" / "val-none.csv").equals(table)


def test_all_runs_are_opened_before_one_computes(run: Run, tmp_path: Path) -> None:
    other = Run(shutil.copytree(run.folder, tmp_path / "other"))
    other.best.unlink()
    (tmp_path / "iris.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"other/best\.pt: there is no such checkpoint yet"):
        run_command(["predict", str(run.folder), str(other.folder), "--device", "cpu"])
    with pytest.raises(UserError, match="name at least one run's folder: corolla predict RUN"):
        run_command(["predict", str(tmp_path / "iris.jpg")])
    with pytest.raises(UserError, match="typo: there is no such run, photo or folder"):
        run_command(["predict", str(run.folder), str(tmp_path / "typo"), "--device", "cpu"])
    assert not run.predictions("val", "none").exists()


def test_what_lies_beside_runs_is_passed_over(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run.folder.parent / "comparison.csv").write_text("recipe\n")
    (run.folder.parent / "started").mkdir()
    everything = sorted(map(str, run.folder.parent.iterdir()))
    assert run_command(["predict", *everything, "--split", "val", "--device", "cpu", "--workers", "0"]) == 0
    assert "val: macro F1" in capsys.readouterr().out
    (run.folder.parent / "iris.jpg").write_bytes(draw(1, 1, 32))  # that is meant
    assert run_command(["predict", *everything, f"{run.folder.parent}/iris.jpg", "--device", "cpu"]) == 0
    assert "iris.jpg" in capsys.readouterr().out
