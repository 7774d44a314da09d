"""`corolla import`: folders of one's own photos become a data folder in the competition's layout."""

import hashlib
import json
import math
import struct
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from PIL import Image

from corolla.data.index import read_class_names
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import UserError
from corolla.importing.folders import (
    Photo,
    check_photos,
    class_names,
    find_photos,
    listed_photos,
)
from corolla.importing.pixels import Crop, Pixels, to_jpeg
from corolla.importing.splits import photo_ids, split_photos
from corolla.importing.tables import tables_of, write_tables
from corolla.parallel import map_in_threads

FORMAT = 1  # one more whenever the same photos give other bytes: an older import is then not taken for a new one
FILE_RECORDS = 800  # at most
MEND = "; mend or remove them, or leave them out with --skip-broken"
BATCH = 128  # photos handed to the threads at a time, which bounds what waits in memory


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What stands in `folder` now, `counts` photos a split; `reused` if it stood there already."""

    folder: Path
    size: int  # pixels a side
    class_names: tuple[str, ...]
    counts: dict[str, int]
    notes: tuple[str, ...]  # what was left out, split off, or is there twice
    reused: bool


class _Jpeg(NamedTuple):
    """A converted photo: where its JPEG stands in the spool, or why there is none."""

    digest: str  # SHA-1 of the photo's own file
    start: int
    length: int
    fault: str


def import_photos(
    folder: Path,
    out: Path,
    *,
    size: int,
    val: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    lists: Path | None = None,
    crop: Crop = "center",
    quality: int = 95,
    skip_broken: bool = False,
    progress: bool = True,
) -> Imported:
    """Write the photos of `folder` at `size` x `size` pixels into `out`, which may hold other sizes of them.

    The folder holds CLASS/… or {train,val,test}/CLASS/… (photos right in test/ have no class); or `lists` is a folder
    with train.txt, val.txt, test.txt. Where no split is given, `val` and `test` are the shares of each class. What is
    written depends on the photos, their paths and the arguments alone, and is moved into place whole.

    Raises UserError for arguments out of range, photos without a class, photos that can't be read (unless
    `skip_broken` leaves them out), and where `out` holds something else.
    """
    _check_arguments(folder, out, size=size, val=val, test=test, seed=seed, quality=quality)
    photos, strange = listed_photos(folder, lists) if lists else find_photos(folder)
    check_photos(lists or folder, photos)
    if strange and not skip_broken:
        raise UserError(_broken(folder, strange) + MEND)
    recipe = {"format": FORMAT, "val": val, "test": test, "seed": seed}
    if any(out.glob("tfrecords-jpeg-*")):
        digests = map_in_threads(
            lambda photo: _digest((folder / photo.path).read_bytes()),
            photos,
            title="compare",
            progress=progress,
            batch=BATCH,
        )
        recipe["photos"] = _fingerprint(photos, digests)
        if reused := _reused(out, recipe, Pixels(size, crop, quality)):
            return reused
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=out) as private:
        with (Path(private) / "spool").open("wb+") as spool:
            jpegs = _convert(folder, photos, Pixels(size, crop, quality), spool, progress)
            faults = strange + [f"{path} ({jpeg.fault})" for path, jpeg in jpegs.items() if jpeg.fault]
            if faults and not skip_broken:
                raise UserError(_broken(folder, faults) + MEND)
            splits = split_photos(_whole(folder, photos, jpegs), val=val, test=test, seed=seed)
            names, ids = class_names(photos), photo_ids(photos)
            records = Path(private) / f"tfrecords-jpeg-{size}x{size}"
            _write_records(records, splits, names, ids, lambda path: _read_back(spool, jpegs[path]))
        recipe["photos"] = _fingerprint(photos, (jpeg.digest for jpeg in jpegs.values()))
        notes = [_broken(folder, faults) + "; left out"] * bool(faults) + _notes(photos, splits, jpegs)
        counts = {split: len(members) for split, members in splits.items()}
        about = {"recipe": recipe, "pixels": asdict(Pixels(size, crop, quality)), "notes": notes, "counts": counts}
        (records / "import.json").write_text(json.dumps(about) + "\n")
        write_tables(out, tables_of(splits, names, ids))
        records.rename(out / records.name)  # last: only now does the set look whole
    return Imported(folder=out, size=size, class_names=names, counts=counts, notes=tuple(notes), reused=False)


def _check_arguments(folder: Path, out: Path, *, size: int, val: float, test: float, seed: int, quality: int) -> None:
    if not 32 <= size <= 1024:
        raise UserError(f"--size {size}: photos are written 32 to 1024 pixels wide")
    if not (val > 0 and test >= 0 and val + test < 1):
        raise UserError(f"--val {val:g} --test {test:g}: shares, val above 0, test not below, together less than 1")
    if not 1 <= quality <= 100:
        raise UserError(f"--quality {quality}: must be 1 to 100")
    if seed < 0:
        raise UserError(f"--seed {seed}: must not be negative")
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name the one that holds a folder of photos for each class")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose a folder")
    if out.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{out} lies inside {folder}, whose folders are classes; choose a folder elsewhere")


def _broken(folder: Path, faults: list[str], shown: int = 5) -> str:
    more = f" and {len(faults) - shown} more" if len(faults) > shown else ""
    return f"{folder}: no photos that can be read ({len(faults)}): {', '.join(faults[:shown])}{more}"


def _whole(folder: Path, photos: list[Photo], jpegs: Mapping[str, _Jpeg]) -> list[Photo]:
    """The photos that can be read; every class must have one to train on."""
    whole = [photo for photo in photos if not jpegs[photo.path].fault]
    trained = {photo.name for photo in whole if photo.split in (None, "train")}
    if lost := [name for name in class_names(photos) if name not in trained]:
        raise UserError(f"{folder}: class {lost[0]!r} has no training photo that can be read; replace its photos")
    return whole


def _digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def _fingerprint(photos: list[Photo], digests: Iterable[str]) -> str:
    """SHA-256 (hex) over places, splits, classes and contents."""
    return hashlib.sha256(
        repr([(*photo, digest) for photo, digest in zip(photos, digests, strict=True)]).encode()
    ).hexdigest()


def _convert(folder: Path, photos: list[Photo], pixels: Pixels, spool: IO[bytes], progress: bool) -> dict[str, _Jpeg]:
    """Where every photo's JPEG stands, by path. They wait in the spool until the broken ones are known: only then can
    the splits be drawn.
    """

    def convert(photo: Photo) -> tuple[str, bytes, str]:
        digest = ""
        try:
            data = (folder / photo.path).read_bytes()
            digest = _digest(data)
            return digest, to_jpeg(data, pixels), ""
        except Image.UnidentifiedImageError:
            return digest, b"", "no image"
        except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
            return digest, b"", " ".join(str(error).split())

    jpegs: dict[str, _Jpeg] = {}
    converted = map_in_threads(convert, photos, title="import", unit=" photos", progress=progress, batch=BATCH)
    for photo, (digest, jpeg, fault) in zip(photos, converted, strict=True):
        jpegs[photo.path] = _Jpeg(digest, spool.tell(), len(jpeg), fault)
        spool.write(jpeg)
    return jpegs


def _read_back(spool: IO[bytes], jpeg: _Jpeg) -> bytes:
    spool.seek(jpeg.start)
    return spool.read(jpeg.length)


def _notes(photos: list[Photo], splits: Mapping[str, list[Photo]], jpegs: Mapping[str, _Jpeg]) -> list[str]:
    notes: list[str] = []
    if photos[0].split is not None and all(photo.split != "val" for photo in photos):
        notes.append(f"no val photos were given: {len(splits['val'])} were split off train")
    if "test" not in splits:
        notes.append("no test photos: there is nothing to predict but --split val, and no sample_submission.csv")
    sizes = Counter(photo.name for members in splits.values() for photo in members)
    if small := sum(1 for name, count in sizes.items() if name is not None and count < 3) * (photos[0].split is None):
        notes.append(f"classes with fewer than 3 photos, which are not in every split: {small}")
    copies = defaultdict[str, list[str]](list)
    for split, members in splits.items():
        for photo in members:
            copies[jpegs[photo.path].digest].append(split)
    twice = [found for found in copies.values() if len(found) > 1]
    if twice:
        across = sum(len(set(found)) > 1 for found in twice)
        extra = sum(map(len, twice)) - len(twice)
        notes.append(
            f"photos there more than once, byte for byte: {len(twice)} ({extra} copies; {across} across splits)"
        )
    return notes


def _write_records(
    folder: Path,
    splits: Mapping[str, list[Photo]],
    names: tuple[str, ...],
    ids: Mapping[str, str],
    read: Callable[[str], bytes],
) -> None:
    """Files of equal length, but for one record."""
    labels = {name: label for label, name in enumerate(names)}
    size = folder.name.rpartition("-")[2]
    for split, members in splits.items():
        (folder / split).mkdir(parents=True)
        num_files = math.ceil(len(members) / FILE_RECORDS)
        for number in range(num_files):
            part = members[len(members) * number // num_files : len(members) * (number + 1) // num_files]
            hidden = split == "test"  # as in the competition
            write_tfrecord(
                folder / split / f"{number:02d}-{size}-{len(part)}.tfrec",
                (
                    encode_example(
                        image=read(photo.path),
                        label=None if hidden or photo.name is None else labels[photo.name],
                        id=ids[photo.path],
                    )
                    for photo in part
                ),
            )


def _reused(out: Path, recipe: Mapping[str, Any], pixels: Pixels) -> Imported | None:
    """What stands in `out` if it is of this recipe; None if that is so, but of another size; else UserError."""
    found: dict[int, dict[str, Any]] = {}
    for folder in sorted(out.glob("tfrecords-jpeg-*")):
        try:
            about = json.loads((folder / "import.json").read_text())
        except FileNotFoundError:
            raise UserError(f"{folder} was not imported by corolla; choose another folder than {out}") from None
        if about["recipe"] != recipe:
            raise UserError(f"{folder} holds other photos, or these split otherwise; choose another folder than {out}")
        found[about["pixels"]["size"]] = about
    if pixels.size not in found:
        return None
    about = found[pixels.size]
    if about["pixels"] != asdict(pixels):
        raise UserError(f"{out} holds size {pixels.size} made otherwise ({about['pixels']}); choose another folder")
    return Imported(
        folder=out,
        size=pixels.size,
        class_names=read_class_names(out / "classes.txt"),
        counts=about["counts"],
        notes=tuple(about["notes"]),
        reused=True,
    )
