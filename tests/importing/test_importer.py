"""`corolla import`: every layout becomes the same data folder, wherever the photos lie."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from support import smooth

from corolla.commands.import_ import import_
from corolla.config import AugmentConfig, Config, ModelConfig, OptimConfig, PipelineConfig, TrainConfig
from corolla.data.check import check
from corolla.data.index import Index, load_index
from corolla.data.tfrecord import map_file
from corolla.errors import UserError
from corolla.files import natural_key
from corolla.importing import importer as module
from corolla.importing.importer import Imported, import_photos
from corolla.importing.pixels import Pixels, to_jpeg
from corolla.training.train import train

SIZE = 32


def write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    smooth(seed).save(path)


def class_folders(folder: Path, counts: dict[str, int], *, first: int = 0, backwards: bool = False) -> Path:
    paths = [folder / name / f"{number}.jpg" for name, count in counts.items() for number in range(count)]
    seeds = list(enumerate(paths, first))
    for seed, path in reversed(seeds) if backwards else seeds:
        write(path, seed)
    return folder


def run(folder: Path, out: Path, **how: object) -> Imported:
    return import_photos(folder, out, **({"size": SIZE, "progress": False} | how))  # pyright: ignore[reportArgumentType]


def jpegs(index: Index) -> dict[str, bytes]:
    """Id → JPEG, of all splits."""
    return {
        str(split.id[i]): map_file(index.folder / split.files[split.file[i]])[
            int(split.offset[i]) : int(split.offset[i] + split.length[i])
        ]
        for split in index.splits.values()
        for i in range(len(split))
    }


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "photos.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def content(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def visible(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir() if not path.name.startswith("."))


def test_class_folders_become_a_data_folder(tmp_path: Path) -> None:
    photos = class_folders(tmp_path / "photos", {"10": 10, "2": 20, "Rosa canina": 7})
    write(photos / "2" / "2021" / "May" / "deep.PNG", 99)
    for litter in (".DS_Store", "Thumbs.db", "._0.jpg", "__MACOSX/2.jpg"):
        (photos / "2" / litter).parent.mkdir(exist_ok=True)
        (photos / "2" / litter).write_bytes(b"?")
    (photos / "LICENSE.txt").write_text("beside the classes")
    out = tmp_path / "out"
    made = run(photos, out)
    assert made == Imported(
        folder=out, size=SIZE, class_names=("2", "10", "Rosa canina"), counts={"train": 27, "val": 6, "test": 5},
        notes=("photos in folders inside a class folder are of its class, 1 such: 2/2021/May",), reused=False,
    )  # fmt: skip
    result = check(out, SIZE, progress=False)
    assert (result.faults, result.notes, result.counts) == ((), (), made.counts)
    assert visible(out) == [
        "classes.txt", "photos.csv", "sample_submission.csv", "test_labels.csv", f"tfrecords-jpeg-{SIZE}x{SIZE}",
    ]  # fmt: skip
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == [".import.lock"]
    assert (out / "classes.txt").read_text() == "2\n10\nRosa canina\n"

    index, table = load_index(out, SIZE), {row["id"]: row for row in rows(out)}
    assert len(table) == 38
    assert set(jpegs(index)) == set(table)
    for name, split in index.splits.items():
        for identity, label in zip(split.id.tolist(), split.label.tolist(), strict=True):
            row = table[identity]
            assert row["split"] == name
            assert made.class_names[int(row["label"])] == row["path"].split("/")[0]
            assert label == (-1 if name == "test" else int(row["label"]))
            assert jpegs(index)[identity] == to_jpeg((photos / row["path"]).read_bytes(), Pixels(SIZE))
    truth = [line.split(",") for line in (out / "test_labels.csv").read_text().splitlines()[1:]]
    assert truth == sorted([row["id"], row["label"]] for row in table.values() if row["split"] == "test")


def test_given_splits_are_taken_as_given(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for first, (split, counts) in enumerate({"Train": {"a": 5, "b": 4}, "valid": {"a": 2}, "test": {"b": 3}}.items()):
        class_folders(photos / split, counts, first=100 * first)
    made = run(photos, tmp_path / "out")
    assert made.counts == {"train": 9, "val": 2, "test": 3}
    places = {"train": "Train", "val": "valid", "test": "test"}
    assert all(row["path"].startswith(places[row["split"]] + "/") for row in rows(tmp_path / "out"))
    assert check(tmp_path / "out", SIZE, progress=False).faults == ()
    assert (tmp_path / "out" / "test_labels.csv").exists()


def test_val_is_split_off_and_test_may_have_no_classes_or_be_missing(tmp_path: Path) -> None:
    photos = class_folders(tmp_path / "photos" / "train", {"a": 10, "b": 10}).parent
    made = run(photos, tmp_path / "no_test", val=0.2)
    assert made.counts == {"train": 16, "val": 4}
    assert [note.split(":")[0] for note in made.notes] == ["no val photos were given", "no test photos"]
    result = check(tmp_path / "no_test", SIZE, progress=False)
    assert result.faults == ()
    assert not (tmp_path / "no_test" / "sample_submission.csv").exists()

    write(photos / "test" / "0.jpg", 50)
    write(photos / "test" / "1.jpg", 51)
    assert run(photos, tmp_path / "unlabelled", val=0.2).counts == {"train": 16, "val": 4, "test": 2}
    assert check(tmp_path / "unlabelled", SIZE, progress=False).faults == ()
    assert len((tmp_path / "unlabelled" / "sample_submission.csv").read_text().splitlines()) == 3
    assert not (tmp_path / "unlabelled" / "test_labels.csv").exists()
    write(photos / "test" / "a" / "2.jpg", 52)
    with pytest.raises(UserError, match="some test photos have a class"):
        run(photos, tmp_path / "mixed")


def test_lists_say_the_split_and_may_say_the_class(tmp_path: Path) -> None:
    photos = class_folders(tmp_path / "photos", {"a": 4, "b": 4})
    write(photos / "odd, name.jpg", 70)
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("a/0.jpg\n./a/1.jpg\r\n\nb/0.jpg\nb/1.jpg,c\n")
    (lists / "val.txt").write_text("a/2.jpg\nb/2.jpg\tc\n")
    (lists / "test.txt").write_text("a/3.jpg\nodd, name.jpg,b\n")
    made = run(photos, tmp_path / "out", lists=lists)
    assert (made.class_names, made.counts) == (("a", "b", "c"), {"train": 4, "val": 2, "test": 2})
    found = {row["path"]: (row["split"], made.class_names[int(row["label"])]) for row in rows(tmp_path / "out")}
    assert found["b/1.jpg"] == ("train", "c")
    assert found["b/2.jpg"] == ("val", "c")
    assert found["odd, name.jpg"] == ("test", "b")
    assert check(tmp_path / "out", SIZE, progress=False).faults == ()

    for line, reason in (
        ("a/9.jpg", r"test.txt:1: .*a/9.jpg not found"),
        ("../photos/a/3.jpg", "not a path relative"),
        ("a/0.jpg", "test.txt:1: a/0.jpg is listed a second time"),
        ("a/3.jpg,d", "'d', which has no training photo"),
    ):
        (lists / "test.txt").write_text(line + "\n")
        with pytest.raises(UserError, match=reason):
            run(photos, tmp_path / "other", lists=lists)
    (lists / "train.txt").unlink()
    with pytest.raises(UserError, match=r"train\.txt not found"):
        run(photos, tmp_path / "other", lists=lists)


def test_natural_order() -> None:
    names = ["10", "9", "b", "A 10", "a 2", "1", "01"]
    assert sorted(names, key=natural_key) == ["01", "1", "9", "10", "a 2", "A 10", "b"]


def test_the_order_of_creation_changes_nothing(tmp_path: Path) -> None:
    counts = {"a": 9, "b": 5, "c": 3}
    for name, backwards in (("one", False), ("two", True)):
        photos = class_folders(tmp_path / name / "photos", counts, backwards=backwards)
        run(photos, tmp_path / name / "out")
    assert content(tmp_path / "one" / "out") == content(tmp_path / "two" / "out")
    run(tmp_path / "one" / "photos", tmp_path / "seed", seed=1)
    assert rows(tmp_path / "seed") != rows(tmp_path / "one" / "out")


def test_broken_files_are_named_or_left_out(tmp_path: Path) -> None:
    photos = class_folders(tmp_path / "photos", {"a": 8, "b": 8})
    whole = (photos / "a" / "0.jpg").read_bytes()
    (photos / "a" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "b" / "page.jpg").write_text("<html>")
    (photos / "b" / "empty.png").touch()
    out = tmp_path / "out"
    with pytest.raises(UserError) as caught:
        run(photos, out)
    message = str(caught.value)
    assert "\n" not in message
    assert "3 of 19 files are no photos that can be read" in message
    assert all(name in message for name in ("a/cut.jpg", "b/page.jpg", "b/empty.png", "--skip-broken"))
    assert visible(out) == []
    (photos / "b" / "photo.heic").write_bytes(b"?")
    with pytest.raises(UserError, match=r"4 of 20 files .*b/page\.jpg.*b/photo\.heic \(HEIC.* convert it with"):
        run(photos, out)
    made = run(photos, out, skip_broken=True)
    assert sum(made.counts.values()) == 16
    assert "4 of 20 files are no photos that can be read" in made.notes[0]
    assert check(out, SIZE, progress=False).faults == ()
    (photos / "c").mkdir()
    (photos / "c" / "only.jpg").write_bytes(b"?")
    with pytest.raises(UserError, match="class 'c' has no training photo that can be read"):
        run(photos, tmp_path / "other", skip_broken=True)


def test_again(tmp_path: Path) -> None:
    photos, out = class_folders(tmp_path / "photos", {"a": 5, "b": 5}), tmp_path / "out"
    made = run(photos, out)
    before = content(out)
    again = run(photos, out)
    assert again.reused
    assert {**vars(again), "reused": False} == vars(made)
    assert run(photos, out, size=48).counts == made.counts  # another size, beside
    assert {name: data for name, data in content(out).items() if "48x48" not in name} == before
    for how, reason in (
        ({"seed": 1}, "split otherwise"),
        ({"crop": "stretch"}, "made otherwise"),
        ({"size": 64, "val": 0.3}, "split otherwise"),
    ):
        with pytest.raises(UserError, match=reason):
            run(photos, out, **how)
    write(photos / "a" / "0.jpg", 77)
    with pytest.raises(UserError, match="other photos"):
        run(photos, out)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "classes.txt").write_text("mine\n")
    with pytest.raises(UserError, match=r"classes\.txt belongs to other data"):
        run(photos, tmp_path / "else")
    assert visible(tmp_path / "else") == ["classes.txt"]
    (tmp_path / "else" / "tfrecords-jpeg-32x32").mkdir()
    with pytest.raises(UserError, match="was not imported"):
        run(photos, tmp_path / "else")


def test_files_hold_at_most_so_many_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_RECORDS", 10)
    run(class_folders(tmp_path / "photos", {"a": 20, "b": 20}), tmp_path / "out", val=0.25, test=0.1)
    train_files = sorted(path.name for path in (tmp_path / "out").glob("tfrecords*/train/*"))
    assert train_files == ["00-32x32-8.tfrec", "01-32x32-9.tfrec", "02-32x32-9.tfrec"]
    assert check(tmp_path / "out", SIZE, progress=False).faults == ()


def test_copies_are_noted(tmp_path: Path) -> None:
    photos = class_folders(tmp_path / "photos", {"a": 10, "b": 10})
    (photos / "b" / "copy.jpg").write_bytes((photos / "a" / "0.jpg").read_bytes())
    Image.open(photos / "a" / "0.jpg").save(photos / "b" / "again.png")  # of another format, but the same pixels
    made = run(photos, tmp_path / "out")
    assert made.notes == (
        "photos there more than once, pixel for pixel: 1 (2 copies; each in the split of its original; "
        "1 in different classes)",
    )
    with (tmp_path / "out" / "photos.csv").open(newline="") as file:
        split = {row["path"]: row["split"] for row in csv.DictReader(file)}
    assert {split[name] for name in ("a/0.jpg", "b/copy.jpg", "b/again.png")} == {"train"}
    assert run(photos, tmp_path / "out").reused


def test_copies_across_splits_that_the_folder_gives_are_noted(tmp_path: Path) -> None:
    photos = class_folders(tmp_path / "photos" / "train", {"a": 4, "b": 4}).parent
    (photos / "val" / "a").mkdir(parents=True)
    (photos / "val" / "a" / "copy.jpg").write_bytes((photos / "train" / "a" / "0.jpg").read_bytes())
    notes = run(photos, tmp_path / "out").notes
    assert any("pixel for pixel: 1 (1 copy; 1 across splits, which corolla audit names)" in note for note in notes)


SLOW = """
import sys, time
from pathlib import Path
from corolla.importing import importer as photos
whole = photos.encode_example


def slowly(**record):
    time.sleep(0.2)
    return whole(**record)
photos.encode_example = slowly
photos.import_photos(Path(sys.argv[1]), Path(sys.argv[2]), size=32, progress=False)
"""


def test_a_kill_leaves_nothing_half(tmp_path: Path) -> None:
    photos, out = class_folders(tmp_path / "photos", {"a": 30, "b": 30}), tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(photos), str(out)])
    try:
        deadline = time.monotonic() + 60
        while not list(out.glob(".import-*/tfrecords-*/train/.*.tmp")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert visible(out) == []
    assert list(out.glob(".import-*"))
    (out / ".import-mine").mkdir()
    lock = (out / ".import.lock").stat().st_ino
    run(photos, out)
    assert check(out, SIZE, progress=False).faults == ()
    assert [path.name for path in out.glob(".import-*")] == [".import-mine"]
    assert (out / ".import.lock").stat().st_ino == lock, "one that is made anew lets two in at once"


def test_training_takes_it(tmp_path: Path) -> None:
    run(class_folders(tmp_path / "photos", {"a": 12, "b": 12, "c": 12}), tmp_path / "out")
    config = Config(
        data=tmp_path / "out",
        runs=tmp_path / "runs",
        device="cpu",
        size=SIZE,
        model=ModelConfig(name="timm:test_efficientnet"),
        augment=AugmentConfig(crop="random-resized", area=(0.8, 1.0), flip=False),
        optim=OptimConfig(lr=0.005, schedule="constant"),
        train=TrainConfig(epochs=1, batch_size=8),
        pipeline=PipelineConfig(workers=0),
    )
    done = train(config)
    assert done.state == "done"
    assert len((done.folder / "metrics.jsonl").read_text().splitlines()) == 1


def test_the_users_mistakes(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"

    def refused(reason: str, **how: object) -> None:
        with pytest.raises(UserError, match=reason) as caught:
            run(photos, how.pop("out", out), **how)  # pyright: ignore[reportArgumentType]
        assert "\n" not in str(caught.value)
        assert not out.exists()

    refused("is no folder")
    photos.mkdir()
    refused("no photos found")
    class_folders(photos, {"a": 4, "b": 4})
    for size in (0, 31, 1025):
        refused("32 to 1024", size=size)
    refused("lies inside", out=photos / "out")
    refused("lies inside", out=photos)
    refused("shares", val=0.5, test=0.5)
    refused("shares", val=0.0)
    refused("quality", quality=0)
    refused("seed", seed=-1)
    (photos / "c").mkdir()
    refused("class folder .*c holds no photos")
    write(photos / "c" / "0.jpg", 0)
    write(photos / "loose.jpg", 0)
    refused(r"loose\.jpg lies in no class folder")
    (photos / "loose.jpg").unlink()
    write(photos / "val" / "a" / "0.jpg", 0)
    refused("holds val/ beside class folders")
    for name in "abc":
        (photos / name).rename(tmp_path / f"moved {name}")
    refused("no training photos")
    write(photos / "train" / "b" / "0.jpg", 0)
    refused("'a', which has no training photo")
    write(photos / "validation" / "b" / "0.jpg", 0)
    refused("two folders for one split")


def test_val_must_not_be_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="val would be empty"):
        run(class_folders(tmp_path / "photos", {"a": 1, "b": 1}), tmp_path / "out")


def test_the_command_says_what_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, out = class_folders(tmp_path / "photos", {"a": 10, "b": 2}), tmp_path / "out"
    assert import_(photos, out, size=SIZE) == 0
    said = capsys.readouterr()
    written, *_, command = said.out.splitlines()
    assert written == f"{out}: written (train 8, val 3, test 1 photos of 2 classes at 32 px; photos.csv says which)"
    assert command == f"next: corolla train transfer_best --data {out} --size 32 --input-size 128 --train.repeat 64"
    assert said.err.startswith("note: classes with fewer than 3 photos, which are not in every split: 1")
    assert import_(photos, out, size=SIZE) == 0
    assert "holds these photos already" in capsys.readouterr().out
    assert json.loads((out / "tfrecords-jpeg-32x32" / "import.json").read_text())["pixels"]["quality"] == 95
