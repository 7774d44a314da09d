"""Photos of many formats, files that are none, and lists as people's programs write them."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, features
from support import smooth

from corolla.data.texts import read_any_text
from corolla.errors import UserError
from corolla.importing.importer import Imported, import_photos

SIZE = 32
CODERS = {
    "gif": "GIF", "tif": "TIFF", "TIFF": "TIFF", "webp": "WEBP", "jfif": "JPEG", "jpe": "JPEG", "bmp": "BMP",
    "ppm": "PPM", "tga": "TGA", "avif": "AVIF",
}  # fmt: skip


def encoded(format: str, seed: int) -> bytes:
    file = io.BytesIO()
    smooth(seed).save(file, format)
    return file.getvalue()


def class_folders(folder: Path, *, suffix: str = "jpg", format: str = "JPEG", count: int = 4) -> Path:
    for label, name in enumerate(("a", "b")):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number}.{suffix}").write_bytes(encoded(format, 10 * label + number))
    return folder


def run(folder: Path, **how: object) -> Imported:
    arguments = {"size": SIZE, "progress": False} | how
    return import_photos(folder, folder.with_name("out"), **arguments)  # pyright: ignore[reportArgumentType]


def refusal(folder: Path, **how: object) -> str:
    with pytest.raises(UserError) as caught:
        run(folder, **how)
    assert "\n" not in str(caught.value)
    assert not list(folder.with_name("out").glob("[!.]*"))
    return str(caught.value)


@pytest.mark.parametrize("suffix", CODERS)
def test_what_pillow_reads_is_taken(tmp_path: Path, suffix: str) -> None:
    if suffix == "avif" and not (features.check("avif") if "avif" in features.modules else False):
        pytest.skip("this Pillow reads no AVIF")
    photos = class_folders(tmp_path / "photos", suffix=suffix, format=CODERS[suffix])
    assert run(photos).notes == ()


def test_photos_without_a_suffix_are_known_by_their_bytes(tmp_path: Path) -> None:
    photos = class_folders(tmp_path / "photos")
    (photos / "a" / "0.jpg").rename(photos / "a" / "IMG_0")
    (photos / "a" / "1.jpg").rename(photos / "a" / "2021.05.01")
    (photos / "b" / "LICENSE").write_text("beside")
    made = run(photos)
    assert sum(made.counts.values()) == 8
    assert made.notes == ("1 file that is no photo left out: b/LICENSE",)


def test_a_text_file_is_a_note_and_no_stop(tmp_path: Path) -> None:
    photos = class_folders(tmp_path / "photos")
    (photos / "a" / "notes.txt").write_text("dew on the petals")
    assert run(photos).notes == ("1 file that is no photo left out: a/notes.txt",)
    split = tmp_path / "split" / "photos"
    class_folders(split / "train")
    (split / "train" / "b" / "index.html").write_text("<html>")
    (split / "train" / "b" / "a.json").write_text("{}")
    assert "2 files that are no photos left out: train/b/a.json, train/b/index.html" in run(split).notes


@pytest.mark.parametrize("suffix", ["heic", "HEIF", "hif"])
def test_heic_is_named_with_what_converts_it(tmp_path: Path, suffix: str) -> None:
    photos = class_folders(tmp_path / "photos")
    (photos / "b").rename(photos / "c")
    (photos / "b").mkdir()
    (photos / "b" / f"IMG.{suffix}").write_bytes(b"\0\0\0\x18ftypheic")  # a class of nothing else
    said = refusal(photos)
    assert f"1 of 9 files is no photo that can be read: b/IMG.{suffix} (HEIC" in said
    assert "magick mogrify" in said


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\0\0\0\x18ftypheic", "(HEIC"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "(a Git LFS pointer"),
        (b"\n<!DOCTYPE html><p>404", "(a web page)"),
        (b"", "(empty)"),
        (b"petals", "(no image)"),
        (encoded("JPEG", 1)[:300], "0.jpg ("),
        (encoded("GIF", 1)[:60], "0.jpg ("),
        (encoded("TIFF", 1)[:40], "0.jpg ("),
    ],
)
def test_a_broken_photo_is_named_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    photos = class_folders(tmp_path / "photos")
    (photos / "a" / "0.jpg").write_bytes(content)
    assert reason in refusal(photos)
    assert sum(run(photos, skip_broken=True).counts.values()) == 7


def test_all_broken_photos_are_in_one_message(tmp_path: Path) -> None:
    photos = class_folders(tmp_path / "photos", count=8)
    for number in range(7):
        (photos / "a" / f"{number}.jpg").write_bytes(b"?")
    (photos / "b" / "raw.NEF").write_bytes(b"MM\0*")
    said = refusal(photos)
    assert "8 of 17 files are no photos that can be read" in said
    assert all(f"a/{number}.jpg" in said for number in range(7))
    assert "b/raw.NEF (a camera's raw file" in said


def test_fractions_are_no_pixels(tmp_path: Path) -> None:
    photos = class_folders(tmp_path / "photos", suffix="tif", format="TIFF")
    smooth(0).convert("L").convert("F").point(lambda value: value * (1 / 255)).save(photos / "a" / "0.tif")
    assert "a/0.tif (its pixels are fractions" in refusal(photos)


# Lists

LINES = "a/0.jpg,rose\na/1.jpg,rose\nb/0.jpg,tulip\nb/1.jpg,tulip\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
@pytest.mark.parametrize(
    "text",
    [
        LINES,
        LINES.replace(",", "\t").replace("\n", "\r\n"),
        "path,class\n" + LINES,
        "Image_ID\tlabel\n" + LINES.replace(",", "\t"),
        LINES.replace("/", "\\"),
        LINES.replace("a/", ".\\a\\"),
        "filename\n\n" + LINES,
    ],
)
@pytest.mark.parametrize("name", ["train.txt", "train.csv"])
def test_lists_are_taken_as_they_are_written(tmp_path: Path, encoding: str, text: str, name: str) -> None:
    photos, lists = class_folders(tmp_path / "photos"), tmp_path / "lists"
    lists.mkdir()
    (lists / name).write_bytes(text.replace("rose", "rosé").encode(encoding))
    if text.startswith("filename\n") and name == "train.csv":
        text = text.replace("filename", "filename,class")
        (lists / name).write_bytes(text.replace("rose", "rosé").encode(encoding))
    made = run(photos, lists=lists)
    assert (made.class_names, made.counts) == (("rosé", "tulip"), {"train": 2, "val": 2})


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ('"rose', r"train\.csv:2: no CSV \(unexpected end of data\): look at its quotation marks"),
        ('"ro"se"', r"train\.csv:2: no CSV \(',' expected after '\"'\)"),
        ('"ro\nse"', r"train\.csv:2: no CSV \(unexpected end of data\)"),
    ],
)
def test_a_quotation_mark_swallows_no_photos(tmp_path: Path, cell: str, said: str) -> None:
    """All behind it would be one long class, and its photos lost without a word."""
    photos, lists = class_folders(tmp_path / "photos"), tmp_path / "lists"
    lists.mkdir()
    (lists / "train.csv").write_text(f"path,class\na/0.jpg,{cell}\na/1.jpg,rose\nb/0.jpg,tulip\nb/1.jpg,tulip\n")
    with pytest.raises(UserError, match=said):
        run(photos, lists=lists)


@pytest.mark.parametrize("name", ["train.txt", "train.csv"])
def test_only_line_ends_part_lines(tmp_path: Path, name: str) -> None:
    photos, lists = class_folders(tmp_path / "photos"), tmp_path / "lists"
    lists.mkdir()
    (lists / name).write_bytes("a/0.jpg,ro\x0cse\na/1.jpg,rose\nb/0.jpg,tu\u2028lip\n".encode())
    assert "class 'ro\\x0cse' of a/0.jpg is not printable text" in refusal(photos, lists=lists)
    (lists / name).write_bytes(b"a/0.jpg,rose\ra/1.jpg,rose\r\nb/0.jpg,tulip\nb/1.jpg,tulip\n")
    assert run(photos, lists=lists).counts == {"train": 2, "val": 2}


def test_an_empty_class_is_no_label(tmp_path: Path) -> None:
    photos, lists = class_folders(tmp_path / "photos"), tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("a/0.jpg\na/1.jpg\nb/0.jpg\nb/1.jpg\n")
    (lists / "test.txt").write_text("a/2.jpg,\na/3.jpg\t\nb/2.jpg,\n")
    assert run(photos, lists=lists).counts == {"train": 2, "val": 2, "test": 3}
    assert not (tmp_path / "out" / "test_labels.csv").exists()
    (lists / "train.txt").write_text("a/0.jpg\nb/0.jpg,\n")
    with pytest.raises(UserError, match=r"train\.txt:2: b/0\.jpg has no class"):
        run(photos, lists=lists)


def test_listed_test_photos_in_a_folder_that_is_no_class(tmp_path: Path) -> None:
    photos, lists = class_folders(tmp_path / "photos"), tmp_path / "lists"
    class_folders(photos / "unseen")
    lists.mkdir()
    (lists / "train.txt").write_text("a/0.jpg\na/1.jpg\nb/0.jpg\nb/1.jpg\n")
    (lists / "test.txt").write_text("unseen/a/0.jpg\nunseen/b/0.jpg\n")
    made = run(photos, lists=lists)
    assert made.counts["test"] == 2
    assert "the test photos in that folder have no class" in made.notes[0]


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"\0\x01\0\x02" * 50, "train.txt"),
        (b"\xff\xfea\0b", "train.txt is damaged, or no text"),
        (b"a/0.jpg,a\n" + b"x" * 5000 + b",b\n", "not found"),
        (b"a/0.jpg,a\nb/\x81.jpg,b\n", "neither UTF-8 nor UTF-16 nor Windows-1252"),
        (b"a/0.jpg,a\n\x1b[2J.jpg,b\n", r"\x1b[2J.jpg not found"),
        (b"", "no photos found"),
        (b"a/0.jpg,a\na/1.jpg,a\n", "all photos are of one class"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, content: bytes, seen: str) -> None:
    photos, lists = class_folders(tmp_path / "photos"), tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_bytes(content)
    assert seen in refusal(photos, lists=lists)
    assert "\n" not in refusal(photos, lists=lists)


def test_a_text_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.csv: .*"):
        read_any_text(tmp_path / "x.csv")


# Two at once

IMPORT = """
import sys, time
from pathlib import Path
from corolla.errors import UserError
from corolla.importing.importer import import_photos
while not Path(sys.argv[3]).exists():
    time.sleep(0.001)
try:
    made = import_photos(Path(sys.argv[1]), Path(sys.argv[2]), size=int(sys.argv[4]), progress=False)
    print("reused" if made.reused else "written")
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("same", [True, False])
def test_two_imports_into_one_folder(tmp_path: Path, same: bool) -> None:
    first = class_folders(tmp_path / "photos")
    other = first if same else class_folders(tmp_path / "others", count=5)
    go, environment = tmp_path / "go", os.environ | {"OMP_NUM_THREADS": "1"}
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", IMPORT, str(photos), str(tmp_path / "out"), str(go), str(size)],
            stdout=subprocess.PIPE, text=True, env=environment,
        )
        for photos, size in ((first, 32), (other, 32 if same else 48))
    ]  # fmt: skip
    go.touch()
    said = sorted(job.communicate(timeout=60)[0].strip() for job in jobs)
    assert [job.returncode for job in jobs] == [0, 0]
    assert "written" in said
    assert said == ["reused", "written"] or (not same and "holds other photos" in said[0])
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == [".import.lock"]


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "[" * 9999, '{"recipe": 1, "pixels": 2, "notes": [], "counts": {}}']
)
def test_a_damaged_import_json(tmp_path: Path, content: str) -> None:
    photos = class_folders(tmp_path / "photos")
    run(photos)
    path = tmp_path / "out" / "tfrecords-jpeg-32x32" / "import.json"
    assert json.loads(path.read_text())["counts"]
    path.write_text(content)
    with pytest.raises(UserError, match=r"import\.json is damaged"):
        run(photos)


def test_an_animation_gives_its_first_picture(tmp_path: Path) -> None:
    photos = class_folders(tmp_path / "photos")
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    frames[0].save(photos / "a" / "moves.gif", save_all=True, append_images=frames[1:])
    assert sum(run(photos).counts.values()) == 9
