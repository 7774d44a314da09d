"""Folders and CSVs of well-known data sets and of people's disks: which photos, classes and splits are found."""

import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from corolla.errors import UserError
from corolla.importing.folders import find_photos
from corolla.importing.lists import listed_photos
from corolla.importing.photos import Found


def lay_out(folder: Path, *places: str, count: int = 4, suffix: str = ".jpg") -> Path:
    """Write empty files that are called as photos: nobody opens them here."""
    for place in places:
        (folder / place).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / place / f"{number}{suffix}").touch()
    return folder


def classes(found: Found) -> dict[str | None, int]:
    """Return the number of photos of each class."""
    return dict(Counter(photo.name for photo in found.photos))


def splits(found: Found) -> dict[str | None, int]:
    """Return the number of photos of each split."""
    return dict(Counter(photo.split for photo in found.photos))


def refusal(folder: Path, lists: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        listed_photos(folder, lists) if lists else find_photos(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("places", "seen"),
    [
        (("half-001/set/a", "half-001/set/b", "half-002/set/b", "half-002/set/c"),  # a download in two archives
         ("half-001 and half-002, in which folders lie (a, b", "import {}/half-001/set OUT imports one of them")),
        (("raw/a", "raw/b", "resized/set/a", "resized/set/b"), ("with the same 2 folders in each (a, b",)),
        (("set/a", "set/b", "set/c", "screenshots"), ("beside 1 folder called screenshots", "import {}/set OUT")),
        (("labelled/a", "labelled/b", "unlabelled"), ("1 folder called labelled, in which folders lie",)),
        (("Aves/x", "Aves/y", "Plantae/z"), ("beside 1 folder called Plantae", "move them into {}/train")),
        (("train_val_images/Aves/x", "train_val_images/Aves/y", "train_val_images/Plantae/z"), ("called Aves",)),
        (("train/a", "test/a", "set/train/a"), ("test/, train/ and 1 folder called set, of no split: move {}/set",)),
        (("train/a", "unlabeled"), ("holds train/ and 1 folder called unlabeled, of no split",)),
        (("train/photos", "train/pictures"), ("called photos and pictures, which are no names of classes",)),
        (("train/images", "train/masks", "test/images", "test/masks"), ("images/0.jpg lies in no class folder",)),
        (("jpg",), ("labels/imagelabels.mat can't be read for labels",)),
    ],
)  # fmt: skip
def test_what_can_mean_several_things_is_refused(tmp_path: Path, places: tuple[str, ...], seen: tuple[str]) -> None:
    photos = lay_out(tmp_path, *places)
    if "jpg" in places:
        (photos / "labels").mkdir()
        (photos / "labels" / "imagelabels.mat").touch()
    said = refusal(photos)
    for part in seen:
        assert part.format(photos) in said


@pytest.mark.parametrize(
    ("places", "found", "note"),
    [
        (("train/flora/a", "train/flora/b", "test/flora/a"), {"a": 8, "b": 4}, "of train are those in train/flora/"),
        (("a", "a/old", "a/old/x", "b"), {"a": 12, "b": 4}, "a class folder are of its class, 2 such: a/old, a/old/x"),
        (("train/Aves/x", "train/Aves/y", "train/Plantae/z"), {"Aves": 8, "Plantae": 4}, "3 such: train/Aves/x"),
        (("a/images", "a/masks", "b/images", "b/masks"), {"a": 4, "b": 4}, "annotations left out: a/masks, b/masks"),
        (("train/a", "train/a/labels", "train/b", "val/a"), {"a": 8, "b": 4}, "left out: train/a/labels"),
        (("train/hats", "train/masks"), {"hats": 4, "masks": 4}, ""),
        (("rose", "rose ", "tulip"), {"rose": 8, "tulip": 4}, "blanks alone are one class: 'rose', 'rose '"),
        (("a", "b", "$RECYCLE.BIN/x", "lost+found", "System Volume Information"), {"a": 4, "b": 4}, ""),
        (("a", "b", "b/1", "c", "d/1", "d/2"), {"a": 4, "b": 8, "c": 4, "d": 8}, "3 such: b/1, d/1, d/2"),
    ],
)  # fmt: skip
def test_what_is_taken_is_told(tmp_path: Path, places: tuple[str, ...], found: dict[str, int], note: str) -> None:
    taken = find_photos(lay_out(tmp_path, *places))
    assert classes(taken) == found
    assert any(note in said for said in taken.notes) if note else taken.notes == []


def test_links_that_are_not_followed_are_told(tmp_path: Path) -> None:
    photos = lay_out(tmp_path / "photos", "a", "b")
    lay_out(tmp_path, "else")
    (photos / "a" / "more").symlink_to(tmp_path / "else")
    (photos / "a" / "loop").symlink_to(photos)
    found = find_photos(photos)
    assert classes(found) == {"a": 4, "b": 4}
    assert found.notes == ["links to folders inside class folders are not followed: a/loop, a/more"]


def test_archives_are_named(tmp_path: Path) -> None:
    (tmp_path / "set.zip").touch()
    assert "holds no photos: unpack set.zip, and import" in refusal(tmp_path)
    lay_out(tmp_path, "a", "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "c.tar").touch()
    assert refusal(tmp_path).endswith("c holds no photos: unpack c.tar there")


# CSVs


@pytest.mark.parametrize(
    "table",
    [
        ",id,label\n0,2,a\n1,0,a\n2,1,b\n3,3,b\n",  # of pandas, with its numbers of rows
        "Unnamed: 0,filename,label\n0,2.jpg,a\n1,0.jpg,a\n2,1.jpg,b\n3,3.jpg,b\n",
        "label,id,ClassName\n0,2,a\n0,0,a\n1,1,b\n1,3,b\n",  # a class's number may be a photo's name too
        "nr,file,label\n0,2.jpg,a\n1,0.jpg,a\n2,1.jpg,b\n3,3.JPG,b\n",
        "sep=;\nid;label\n2;a\n0;a\n1;b\n3;b\n",
        "id,label\n2,a\n0,a\n\ufeff1,b\n3,b\n",
        "id,label,width\n/data/x/2.jpg,a,7\n/data/x/0.jpg,a,7\n/data/x/1.jpg,b,7\n/data/x/3.jpg,b,7\n",
    ],
)
@pytest.mark.parametrize("place", [".", "images"])
def test_the_column_of_the_photos_is_no_other_number(tmp_path: Path, table: str, place: str) -> None:
    photos = lay_out(tmp_path, place)
    (photos / "labels.csv").write_text(table)
    (photos / "sizes.csv").write_text("id,width\n" + "".join(f"{number},{number}\n" for number in range(4)))
    found = find_photos(photos)
    assert [photo.name for photo in found.photos] == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    ("table", "seen"),
    [
        ("0,2,a\n1,0,a\n2,1,b\n3,3,b\n", "labels.csv: column 1 and column 2 both name photos, and not the same ones"),
        ("id,image,label\n0,2,a\n1,0,a\n2,1,b\n3,3,b\n", "labels.csv: id and image both name photos"),
        ("0,2.jpg,a\n1,0.jpg,a\n2,1.jpg,b\n3,3.jpg,b\n", "labels.csv: which of column 1, column 3 is the class?"),
        ("id,label\n0,a\n1,nan\n", "labels.csv:3: images/1.jpg has no class"),
        ("id,label\n0,a\n1,NULL\n", "labels.csv:3: images/1.jpg has no class"),
        ("id,label,split\n0,a,train\n1,b,extra\n", "labels.csv:3: 'extra' is no split: write train, val or test"),
        ("id,label\n0000,a\n0001,b\n", "labels.csv names no photo, or none alone (it says ['0000', 'a'], a photo is"),
        ("id,label\n0.png,a\n", "names no photo, or none alone (it says ['0.png', 'a'], a photo is called 0.jpg)"),
    ],
)
def test_a_csv_that_can_mean_other_photos_is_refused(tmp_path: Path, table: str, seen: str) -> None:
    photos = lay_out(tmp_path, "images")
    (photos / "labels.csv").write_text(table)
    if "which of" in seen:
        (photos / "sizes.csv").write_text("file,width\n0.jpg,7\n1.jpg,8\n2.jpg,7\n3.jpg,9\n")
    assert seen in refusal(photos)


def test_a_test_csv_with_other_columns_names_photos_without_a_class(tmp_path: Path) -> None:
    photos = lay_out(tmp_path, "images")
    (photos / "train.csv").write_text("id,label\n0,a\n1,b\n")
    (photos / "test.csv").write_text("id,width\n2,40\n3,50\n")
    found = find_photos(photos)
    assert (classes(found), splits(found)) == ({"a": 1, "b": 1, None: 2}, {"train": 2, "test": 2})


def test_a_photo_that_is_gone_is_not_the_one_of_another_folder(tmp_path: Path) -> None:
    photos, table = lay_out(tmp_path / "photos", "rose", "tulip"), tmp_path / "labels.csv"
    (photos / "rose" / "1.jpg").unlink()
    table.write_text("path,label\nrose/0.jpg,rose\nrose/1.jpg,rose\ntulip/0.jpg,tulip\n")
    assert "labels.csv:3: no photo, or no single one, is called 'rose/1.jpg'" in refusal(photos, table)
    table.with_name("train.txt").write_text("rose/0.jpg\nrose/1.jpg\n")
    assert "rose/1.jpg not found" in refusal(photos, table.with_name("train.txt"))


def test_a_csv_in_the_folder_of_its_photos(tmp_path: Path) -> None:
    for split in ("train", "test"):
        lay_out(tmp_path, split)
        (tmp_path / split / "metadata.csv").write_text("file_name,label\n" + "0.jpg,a\n1.jpg,b\n2.jpg,a\n3.jpg,b\n")
    found = find_photos(tmp_path)
    assert (classes(found), splits(found)) == ({"a": 4, "b": 4}, {"train": 4, "test": 4})
    assert found.notes == ["the classes are those of test/metadata.csv (label) and train/metadata.csv (label)"]


def test_photos_in_class_folders_keep_their_classes(tmp_path: Path) -> None:
    photos = lay_out(tmp_path, "train/a", "train/b", "val")
    (photos / "train.csv").write_text("id,boxes\n" + "".join(f"a/{n},a {n}\nb/{n},b {n}\n" for n in range(4)))
    (photos / "val.csv").write_text("id,boxes\nval/0,a\nval/1,b\nval/2,a\nval/3,b\n")
    found = find_photos(photos)
    assert classes(found) == {"a": 6, "b": 6}
    names = "".join(f"a/{n},Rosa\nb/{n},Tulipa\n" for n in range(4))
    (photos / "train.csv").write_text("id,label\n" + names)
    (photos / "val.csv").write_text("id,label\nval/0,Rosa\nval/1,Tulipa\nval/2,Rosa\nval/3,Tulipa\n")
    assert classes(find_photos(photos)) == {"Rosa": 6, "Tulipa": 6}


def test_shards_are_no_classes(tmp_path: Path) -> None:
    """Folders 0 and 1 hold parts of one heap of photos, whose classes a CSV tells."""
    rows = "".join(f"{shard}/{number},{'ab'[number % 2]}\n" for shard in (0, 1) for number in range(4))
    for place in (".", "train", "images"):
        photos = lay_out(tmp_path / f"in {place}", f"{place}/0", f"{place}/1")
        (photos / "train.csv").write_text("id,label\n" + rows)
        if place == "images":
            assert classes(find_photos(photos)) == {"a": 4, "b": 4}
        else:
            assert "by train.csv (label) each folder holds several classes" in refusal(photos)
        (photos / "train.csv").write_text("id,flower\n" + rows)
        if place != "images":
            assert "train.csv (flower) is not used: if it tells the classes" in find_photos(photos).notes[0]


# Lists beside class folders, and lists as other programs write them

SHARES = {"train": (0, 1), "valid": (2,), "test": (3,)}


@pytest.mark.parametrize(
    ("suffix", "header", "line"),
    [
        (".csv", ",Filename,Label,ClassName\n", "{number},{path},{label},{name}\n"),
        (".csv", "path\n", "{path}\n"),
        (".txt", "", "{path}\n"),
        ("_list.txt", "", "/{path}\n"),
        (".txt", "", "{path} {label}\n"),
        (".txt", "# path,class\n", "{path},{name}\n"),
    ],
)
def test_lists_beside_class_folders_tell_the_splits(tmp_path: Path, suffix: str, header: str, line: str) -> None:
    photos = lay_out(tmp_path, "a", "b")
    for split, numbers in SHARES.items():
        lines = [
            line.format(number=number, path=f"{name}/{number}.jpg", name=name, label=label)
            for label, name in enumerate("ab")
            for number in numbers
        ]
        (photos / f"{split}{suffix}").write_text(header + "".join(lines))
    (photos / "trainval.txt").write_text("".join(f"{name}/{number}\n" for name in "ab" for number in range(3)))
    (photos / "notes.csv").write_text('a,"b\n')
    found = find_photos(photos)
    assert splits(found) == {"train": 4, "val": 2, "test": 2}
    assert found.notes == [f"the splits are those of test{suffix}, train{suffix}, valid{suffix}"]
    (photos / "a" / "new.jpg").touch()
    found = find_photos(photos)
    assert splits(found) == {None: 9}
    assert "are not used, as they list 8 of 9 photos" in found.notes[0]


def test_a_column_tells_the_splits(tmp_path: Path) -> None:
    photos = lay_out(tmp_path, "a", "b", count=2)
    (photos / "meta.csv").write_text("path,label,is_valid\na/0.jpg,a,False\na/1.jpg,a,True\nb/0.jpg,b,0\nb/1.jpg,b,1\n")
    assert splits(find_photos(photos)) == {"train": 2, "val": 2} == splits(listed_photos(photos, photos / "meta.csv"))


def test_lists_of_splits_below_are_named(tmp_path: Path) -> None:
    photos = lay_out(tmp_path, "images/a", "images/b")
    (photos / "meta").mkdir()
    (photos / "meta" / "train.txt").write_text("a/0\nb/0\n")
    assert refusal(photos).endswith(f"{photos / 'images'} OUT --lists {photos / 'meta'}")


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ("a/0.jpg 0\nb/0.jpg 1\n", ["0", "1"]),
        ("a/0.jpg;x\nb/0.jpg;y\n", ["x", "y"]),
        ("#class list\na/0.jpg,x\nb/0.jpg,y\n", ["x", "y"]),
        ("file label\na/0.jpg x\nb/0.jpg y\n", ["x", "y"]),
        ("photos/a/0.jpg\nphotos/b/0.jpg\n", ["a", "b"]),
        ("a/0.JPG\nb/0\n", ["a", "b"]),
    ],
)
def test_lists_are_read_as_they_are_meant(tmp_path: Path, lines: str, names: list[str]) -> None:
    photos, path = lay_out(tmp_path / "photos", "a", "b"), tmp_path / "train.txt"
    path.write_text(lines)
    assert [photo.name for photo in listed_photos(photos, path).photos] == names


def test_accents_may_be_written_in_two_ways(tmp_path: Path) -> None:
    photos, path = lay_out(tmp_path / "photos", unicodedata.normalize("NFD", "blüte"), "b"), tmp_path / "train.txt"
    path.write_text("blüte/0.jpg\nb/0.jpg\n", encoding="utf-8")
    assert len(listed_photos(photos, path).photos) == 2
    table = path.with_suffix(".csv")
    table.write_text("path,label\nblüte/0.jpg,x\nb/0.jpg,y\n", encoding="utf-8")
    assert classes(listed_photos(photos, table)) == {"x": 1, "y": 1}


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        ("a/0 1 1 1\nb/0 2 1 1\n", "train.txt:1 has 4 columns, so its class can't be told"),
        ("a/0.jpg\tx\t0\t0\n", "train.txt:1 has 4 columns"),
        ("a/0.jpg a\nb/x y.jpg b\n", "train.txt:2: "),
        ("a/0 7.jpg\n", "0 7.jpg not found"),
        ("C:\\photos\\a\\0.jpg\n", "is not a path relative to"),
        ("#a/0.jpg,x\n", "not found"),
    ],
)
def test_lines_that_mean_no_photo_are_refused(tmp_path: Path, lines: str, seen: str) -> None:
    photos, path = lay_out(tmp_path / "photos", "a", "b"), tmp_path / "train.txt"
    path.write_text(lines)
    assert seen in refusal(photos, path)


def test_another_encoding_is_told_and_makes_no_two_classes_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos, path = lay_out(tmp_path / "photos", "a", "b"), tmp_path / "train.txt"
    path.write_bytes("a/0.jpg,роза\nb/0.jpg,лилия\n".encode("cp1251"))
    assert len(classes(listed_photos(photos, path))) == 2
    assert "read as Windows-1252; if the classes look odd, save it as UTF-8" in caplog.text
    path.write_bytes(b"a/0.jpg,\x81A\nb/0.jpg,\x8dA\n")  # of Shift-JIS: both letters are none of Windows-1252
    assert "neither UTF-8 nor UTF-16 nor Windows-1252" in refusal(photos, path)
