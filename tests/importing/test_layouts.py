"""Folders as people have them: taken by what they are, or refused with what was seen and the command that is meant."""

import os
from pathlib import Path

import pytest
from support import smooth

from corolla.errors import UserError
from corolla.importing.importer import Imported, import_photos
from corolla.importing.split_names import split_of, split_within

SIZE = 32


def lay_out(folder: Path, *places: str, count: int = 4) -> Path:
    """Write a few photos into each place, a folder below `folder`."""
    for number, place in enumerate(places):
        (folder / place).mkdir(parents=True, exist_ok=True)
        for photo in range(count):
            smooth(100 * number + photo).save(folder / place / f"{'x' if count == 1 else ''}{number}_{photo}.jpg")
    return folder


def run(folder: Path, lists: Path | None = None) -> Imported:
    return import_photos(folder, folder.with_name("out"), size=SIZE, lists=lists, progress=False)


def refusal(folder: Path, lists: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        run(folder, lists)
    assert "\n" not in str(caught.value)
    assert not folder.with_name("out").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("places", "seen"),
    [
        (("flowers/a", "flowers/b", "flowers/c"),
         ("flowers, in which 3 folders called a, b and c", "import {}/flowers OUT")),
        (("x/y/a", "x/y/b"), ("2 folders called a and b", "import {}/x/y OUT")),
        (("one",), ("lie in one folder, one/, which makes one class",)),
        (("sets1/a", "sets1/b", "sets2/c", "sets2/d"), ("2 folders called sets1 and sets2", "import {}/sets1 OUT")),
        (("part1/a", "part1/b", "part2/a", "part2/b"), ("with the same 2 folders in each (a, b",)),
        (("a", "b", "c", "own/a", "own/b", "own/c"), ("own holds 3 folders called a, b and c", "inside itself")),
        (("a", "b", "old/deep/a", "old/deep/b"), ("old holds 2 folders called a and b",)),
        (("train/a", "train/b", "train/more/a", "test/a"), ("more holds 1 folder called a",)),
        (("images", "masks"), ("images and masks, which are no names of classes",)),
        (("64x64/train/a", "64x64/test/a", "32x32/train/a", "32x32/test/a"), ("the same 2 folders in each",)),
        (("train/only",), ("all photos are of one class, 'only'",)),
        (("train/a", "train/b", "test/tulip", "test/a"), ("'tulip', which has no training photo",)),
        (("train/tulips", "train/b", "test/tulip"), ("'tulip', which has no training photo",)),
        (("training", "testing"), ("lies in no class folder", "no CSV beside")),
        (("a", "b", "training/a", "training/b"), ("holds training/ beside class folders",)),
    ],
)  # fmt: skip
def test_what_would_become_wrong_classes_is_refused(tmp_path: Path, places: tuple[str, ...], seen: tuple[str]) -> None:
    photos = lay_out(tmp_path / "photos", *places)
    said = refusal(photos)
    for part in seen:
        assert part.format(photos) in said


def test_labels_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    photos = lay_out(tmp_path / "photos", "jpg")
    (photos / "imagelabels.mat").write_bytes(b"MATLAB 5.0")
    said = refusal(photos)
    assert "imagelabels.mat can't be read for labels" in said
    assert "--lists" in said


@pytest.mark.parametrize(
    ("places", "counts", "note"),
    [
        (("training/a", "training/b", "testing/a", "testing/b"), {"test": 8}, "testing/ is taken as test"),
        (("seg_train/seg_train/a", "seg_train/seg_train/b", "seg_test/seg_test/a", "seg_pred/seg_pred"), {"test": 4},
         "seg_pred/ left out"),
        (("Train_Images/a", "Train_Images/b", "Validation Set/b"), {"val": 4}, "Validation Set/ is taken as val"),
        (("flowers_train/a", "flowers_train/b", "flowers_valid/a"), {"val": 4}, "flowers_valid/ is taken as val"),
        (("train2017/a", "train2017/b", "dev/a"), {"val": 4}, "dev/ is taken as val"),
        (("train/images/a", "train/images/b", "test/images"), {"test": 4}, "those in test/images/"),
        (("train/a", "train/b", "test/unknown"), {"test": 4}, "those in test/unknown/"),
        (("train/rose", "train/tulip", "test/0"), {"test": 4}, "those in test/0/"),
        (("rose/train", "rose/test", "tulip/train", "tulip/test"), {"train": 6, "test": 8}, "as its splits"),
        (("train/a", "train/b", "test"), {"test": 4}, ""),
    ],
)  # fmt: skip
def test_well_known_layouts_are_taken(
    tmp_path: Path, places: tuple[str, ...], counts: dict[str, int], note: str
) -> None:
    made = run(lay_out(tmp_path / "photos", *places))
    assert made.class_names in {("a", "b"), ("rose", "tulip")}
    assert counts.items() <= made.counts.items()
    assert any(note in said for said in made.notes)


def test_folders_inside_classes_stay_theirs(tmp_path: Path) -> None:
    made = run(lay_out(tmp_path / "photos", "a", "a/2021/May", "b/2020", "train ticket"))
    assert made.class_names == ("a", "b", "train ticket")
    grouped = lay_out(tmp_path / "by_year" / "photos" / "train", "a/2020", "a/2021", "b/2020", "b/2021")
    assert run(grouped.parent).class_names == ("a", "b")  # the way out that the refusal names


def labelled(folder: Path, name: str, lines: str, *places: str, encoding: str = "utf-8") -> Path:
    lay_out(folder, *places)
    (folder / name).write_bytes(lines.encode(encoding))
    return folder


TRAIN = "image_id,label\n0_0,rose\n0_1,tulip\n0_2.jpg,rose\n0_3,tulip\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize(
    ("places", "counts"),
    [
        (("train_images", "test_images"), {"train": 2, "val": 2, "test": 4}),
        (("images",), {"train": 2, "val": 2}),
        ((".",), {"train": 2, "val": 2}),
        (("train/train", "test/test"), {"train": 2, "val": 2, "test": 4}),
    ],
)
def test_a_csv_of_ids_and_labels(tmp_path: Path, places: tuple[str, ...], counts: dict, encoding: str) -> None:
    made = run(labelled(tmp_path / "photos", "train.csv", TRAIN, *places, encoding=encoding))
    assert (made.class_names, made.counts) == (("rose", "tulip"), counts)
    assert any("train.csv (label)" in note for note in made.notes)


def test_a_sample_submission_names_the_test_photos(tmp_path: Path) -> None:
    photos = labelled(tmp_path / "photos", "labels.csv", TRAIN.replace("image_id", "id"), "images/x", "images/y")
    lines = "".join(f"1_{number},rose\n" for number in range(4))
    (photos / "sample_submission.csv").write_text("id,label\n" + lines)
    said = refusal(photos)  # two folders called x and y: one level lower, or no classes at all
    assert "images" in said
    flat = lay_out(tmp_path / "flat", "images")
    (flat / "labels.csv").write_text("id;nr;Species\n0_0;1;rose\n0_1;2;tulip\n0_2;1;rose\n")
    assert "which of nr, Species" not in str(run(flat).notes)
    assert any("photos that no line names left out: 1 of 4" in note for note in run(flat).notes)


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        (TRAIN + "0_9,rose\n", "train.csv:6: no photo, or no single one, is called '0_9'"),
        (TRAIN + "0_0,tulip\n", "train.csv:6: images/0_0.jpg is listed a second time"),
        ("id,healthy,rust\n0_0,1,0\n0_1,0,1\n", "which of healthy, rust is the class?"),
        ("id,label\n0_0,rose\n0_1,\n", "train.csv:3: images/0_1.jpg has no class"),
        ("id,label\n77,rose\n", "no CSV beside names their classes"),
    ],
)
def test_a_csv_that_does_not_tell_the_classes(tmp_path: Path, lines: str, seen: str) -> None:
    assert seen in refusal(labelled(tmp_path / "photos", "train.csv", lines, "images"))


def test_parts_of_one_heap_with_a_csv_beside_are_no_classes(tmp_path: Path) -> None:
    lines = "".join(f"{part}_{number},{'rose' if number % 2 else 'tulip'}\n" for part in (0, 1) for number in range(4))
    photos = labelled(tmp_path / "photos", "metadata.csv", "image_id,dx\n" + lines, "part_1", "part_2")
    said = refusal(photos)
    assert f"--lists {photos / 'metadata.csv'}" in said
    assert run(photos, lists=photos / "metadata.csv").class_names == ("rose", "tulip")
    lines = "".join(f"{part}_{number},{part}\n" for part in (0, 1) for number in range(4))
    (photos / "metadata.csv").write_text(("image_id,fold\n" + lines).replace("rose", "1").replace("tulip", "2"))
    agreeing = labelled(tmp_path / "b" / "photos", "labels.csv", "image_id,label\n" + lines, "rose", "tulip")
    assert run(agreeing).class_names == ("rose", "tulip")


@pytest.mark.parametrize(
    ("name", "within", "alone"),
    [
        ("train", "train", "train"), ("Training", "train", "train"), ("seg_test", "test", "test"),
        ("TrainingSet", "train", "train"), ("valid_images", "val", "val"), ("imagesVal", "val", "val"),
        ("trainset", "train", "train"), ("test2017", "test", "test"), ("flowers-train", "train", None),
        ("train station", "train", None), ("rose", None, None), ("contest", None, None), ("strain", None, None),
        ("train_test", None, None), ("evaluation", "test", "test"), ("devil", None, None),
    ],
)  # fmt: skip
def test_names_of_splits(name: str, within: str | None, alone: str | None) -> None:
    assert (split_within(name), split_of(name)) == (within, alone)


def test_lists_may_be_called_otherwise(tmp_path: Path) -> None:
    photos = lay_out(tmp_path / "photos", "a", "b")
    lists = tmp_path / "lists"
    lists.mkdir()
    for name, numbers in (("train.csv", (0, 1)), ("validation.csv", (2,)), ("Test.csv", (3,))):
        lines = [f"{path.parent.name}/{path.name}" for path in sorted(photos.rglob("*.jpg"))]
        lines = [line for number in numbers for line in lines[number::4]]
        (lists / name).write_text("path\n" + "\n".join(lines) + "\n")
    done = run(photos, lists)
    assert done.counts == {"train": 4, "val": 2, "test": 2}
    assert done.notes == ()


def test_two_lists_for_one_split_are_refused(tmp_path: Path) -> None:
    photos = lay_out(tmp_path / "photos", "a", "b")
    for name in ("train.txt", "valid.txt", "dev.txt"):
        (tmp_path / name).write_text("")
    assert "several lists for val: keep one of dev.txt, valid.txt" in refusal(photos, tmp_path)


def test_lists_of_names_without_suffix(tmp_path: Path) -> None:
    photos = lay_out(tmp_path / "photos", "a", "b", count=4)
    lists = tmp_path / "meta"
    lists.mkdir()
    lines = [path.relative_to(photos).with_suffix("").as_posix() for path in sorted(photos.rglob("*.jpg"))]
    (lists / "train.txt").write_text("\n".join(lines[:3] + lines[4:7]) + "\n")
    (lists / "test.txt").write_text("\n".join([lines[3], lines[7]]) + "\n")
    done = run(photos, lists)
    assert done.class_names == ("a", "b")
    assert done.counts == {"train": 4, "val": 2, "test": 2}


def test_a_name_without_suffix_that_means_two_photos_is_refused(tmp_path: Path) -> None:
    photos = lay_out(tmp_path / "photos", "a", "b")
    first = min(photos.rglob("*.jpg"))
    first.with_suffix(".png").write_bytes(first.read_bytes())
    (tmp_path / "train.txt").write_text(first.relative_to(photos).with_suffix("").as_posix() + "\n")
    assert "not found" in refusal(photos, tmp_path)


def test_names_that_look_the_same_are_one_class_or_refused(tmp_path: Path) -> None:
    twice = lay_out(tmp_path / "one" / "photos", "Bl\u00fcte", "Blu\u0308te", "b")
    assert "'Bl\\xfcte'" in (said := refusal(twice))
    assert "'Blu\\u0308te'" in said
    apart = lay_out(tmp_path / "two" / "photos", "train/Bl\u00fcte", "train/b", "test/Blu\u0308te", "test/b")
    assert "look the same" in refusal(apart)


def test_names_that_differ_in_case_alone_are_told(tmp_path: Path) -> None:
    photos = lay_out(tmp_path / "one" / "photos", "Rose", "rose", "b")
    assert "differ in case alone are kept apart: Rose, rose" in run(photos).notes[0]
    photos = lay_out(tmp_path / "two" / "photos", "train/Rose", "train/b", "test/rose", "test/b")
    assert "of class 'rose', which has no training photo; if 'Rose' is meant, rename it so" in refusal(photos)


def test_a_line_break_in_a_name_is_shown_escaped(tmp_path: Path) -> None:
    assert "a\\nb" in refusal(lay_out(tmp_path / "photos", "a\nb", "c"))


def test_a_pipe_called_as_a_photo_is_not_read(tmp_path: Path) -> None:
    photos = lay_out(tmp_path / "photos", "a", "b")
    os.mkfifo(photos / "a" / "pipe.jpg")
    assert run(photos).notes[0] == "1 file that is no photo left out: a/pipe.jpg"
