"""Every planted fault has its line, all of them are found in one go, and sound folders have none."""

from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from corolla.data.check import check
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import UserError

FLOWERS = Path(__file__).parents[2].parent / "shared" / "flowers"


def jpeg(width: int = 8, height: int = 8) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return simplejpeg.encode_jpeg(pixels, quality=90)


def write(data: Path, split: str, *examples: bytes) -> tuple[Path, list[int]]:
    """Write a split of one file: its path, and the byte at which each record starts."""
    path = data / "tfrecords-jpeg-8x8" / split / f"00-8x8-{len(examples)}.tfrec"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tfrecord(path, examples)
    return path, [sum(len(example) + 16 for example in examples[:number]) for number in range(len(examples))]


def flower(label: int | None, name: str, image: bytes | None = None) -> bytes:
    return encode_example(image=jpeg() if image is None else image, label=label, id=name)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path, "train", flower(0, "a"), flower(1, "b"))
    write(tmp_path, "val", flower(0, "c"))
    write(tmp_path, "test", flower(None, "d"), flower(None, "e"))
    (tmp_path / "sample_submission.csv").write_text("id,label\nd,0\ne,0\n")
    return tmp_path


def lines(data: Path) -> list[str]:
    return [str(fault) for fault in check(data, 8, progress=False).faults]


def test_a_sound_folder(data: Path) -> None:
    result = check(data, None)
    assert (result.faults, result.notes) == ((), ())
    assert (result.folder, result.size, result.num_classes) == (data, 8, 104)
    assert result.counts == {"train": 2, "val": 1, "test": 2}
    assert result.num_bytes == sum(path.stat().st_size for path in data.rglob("*.tfrec"))
    assert result.seconds > 0


def test_a_photo_of_test_needs_an_id(data: Path) -> None:
    """One of train or val does not: there the place is the id."""
    write(data, "val", encode_example(image=jpeg(), label=0, id=None))
    path, offsets = write(
        data, "test", flower(None, "d"), encode_example(image=jpeg(), label=None, id=None), flower(None, "e")
    )
    path.with_name("00-8x8-2.tfrec").unlink()
    assert lines(data)[0] == f"{path}:{offsets[1]} record 1: no id, by which a submission would name it"


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no TFRecords"):
        check(tmp_path, 8)


def test_images_that_do_not_decode(data: Path) -> None:
    cut = jpeg()[:-20]
    images = [flower(0, "a"), flower(0, "b", cut), flower(0, "x", b"GIF89a"), flower(0, "y", jpeg(16, 4))]
    path, offsets = write(data, "train", *images)
    (path.parent / "00-8x8-2.tfrec").unlink()
    undecodable, no_jpeg, wrong_size = lines(data)
    assert undecodable == f"{path}:{offsets[1]} record 1: JPEG does not decode: Premature end of JPEG file"
    assert no_jpeg == (
        f"{path}:{offsets[2]} record 2: JPEG does not decode: the bytes are not a whole JPEG: they are a GIF image; "
        "its features are class (int64), id (bytes), image (bytes); convert it: "
        f"corolla import {path.parents[1]} OUT --features image=image,class=class"
    )
    assert wrong_size == f"{path}:{offsets[3]} record 3: JPEG is 16x4 pixels instead of 8x8"


def test_faults_of_index_and_images_in_one_order(data: Path) -> None:
    path, offsets = write(data, "train", flower(0, "a", b"x"), flower(104, "b", b"y"))
    damaged = bytearray(path.read_bytes())
    damaged[offsets[0] + 30] ^= 1
    path.write_bytes(damaged)
    val, _ = write(data, "val", flower(0, "b", jpeg(8, 9)))
    assert lines(data) == [
        f"{path}:0 record 0: data CRC differs",
        f"{path}:{offsets[1]} record 1: class 104 is outside 0..103",
        f"{path}:{offsets[1]} record 1: JPEG does not decode: the bytes are not a whole JPEG",
        f"{val}:0 record 0: id 'b' is that of tfrecords-jpeg-8x8/train/00-8x8-2.tfrec record 1 too",
        f"{val}:0 record 0: JPEG is 8x9 pixels instead of 8x8",
    ]


def test_ids_that_sample_submission_does_not_share(data: Path) -> None:
    csv = data / "sample_submission.csv"
    csv.write_text('id,label\r\n"d",0\r\nf,0\r\nd,0\r\n')
    path, offsets = write(data, "test", flower(None, "d"), flower(None, "e"))
    assert lines(data) == [
        f"{path}:{offsets[1]} record 1: id 'e' is not in sample_submission.csv",
        f"{csv}:17 record 1: id 'f' is in no test record",
        f"{csv}:22 record 2: id 'd' is there twice",
    ]


def test_ids_of_sample_submission_are_those_of_its_csv(data: Path) -> None:
    (data / "sample_submission.csv").write_text('id,label\n"d,1",0\n"e""2",0\n')
    write(data, "test", flower(None, "d,1"), flower(None, 'e"2'))
    assert lines(data) == []


def test_what_cannot_be_compared_is_a_note(data: Path) -> None:
    csv = data / "sample_submission.csv"
    path = data / "tfrecords-jpeg-8x8/test/00-8x8-2.tfrec"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    result = check(data, 8)
    assert [fault.record for fault in result.faults] == [1]  # the cut record's id isn't reported a second time
    assert result.notes == ("test has faults: ids that only sample_submission.csv has are not counted among them",)
    path.write_bytes(content)
    csv.unlink()
    assert check(data, 8).notes == (f"{csv} not found: test ids are not compared with those asked for",)
    path.unlink()
    assert check(data, 8).notes == ("test split not found: test ids are not compared with those asked for",)


@pytest.mark.skipif(not FLOWERS.is_dir(), reason="no photos beside the repository")
@pytest.mark.parametrize(("folder", "size"), [("oxford102", 64), ("oxford17", 224)])
def test_files_written_by_tensorflow(folder: str, size: int) -> None:
    result = check(FLOWERS / folder, size)
    assert (result.faults, result.notes) == ((), ())
    assert sum(result.counts.values()) > 1000
