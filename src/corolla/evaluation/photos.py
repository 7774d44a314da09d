"""Photos of any kind and size, classified by runs: `corolla predict RUN… PHOTO… FOLDER…`.

They take the very path that a split takes: as by `corolla import`, each becomes a square JPEG of the size that the run
was trained with, in the TFRecords of a temporary data folder. One that is such a JPEG already, as those in records are,
keeps its bytes, and so gets the probabilities that it has in its split.
"""

import io
import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

from corolla.data.dataset import TFRecordDataset
from corolla.data.decode import decode_photo, jpeg_shape
from corolla.data.index import Index, load_index
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import UserError
from corolla.evaluation.compute import PredictOptions, checkpoint_of, compute_predictions
from corolla.evaluation.photo_page import write_photo_files, written_files
from corolla.evaluation.photo_predictions import PhotoPredictions
from corolla.importing.conversion import convert_photos
from corolla.importing.folders import scan
from corolla.importing.photos import COMMON, Photo
from corolla.importing.pixels import Crop, Pixels, is_upright, to_jpeg
from corolla.paths import AnyPath, AnyPaths, as_path, as_paths
from corolla.runs.folder import Run, data_of, open_run
from corolla.runs.without_torch import read_without_tensors
from corolla.temporary import scratch_folder
from corolla.text_files import printable

log = logging.getLogger(__name__)

LARGEST = 4096
"""Side of the squares in pixels, at most: more is a slip, and fills the memory."""


def predict_photos(
    runs: AnyPaths, photos: AnyPaths, options: PredictOptions | None = None, *, out: AnyPath | None = None
) -> PhotoPredictions:
    """Classify photos by runs, whose probabilities are averaged; what is no photo is named in the result's `broken`.

    Args:
        runs: folders of runs, or the `Run`s.
        photos: files, or folders with all the photos below them, in every format that `import` takes.
        options: see PredictOptions; `size` is that of the square which a photo becomes.
        out: CSV; a contact sheet (PNG) and a page (HTML), the surest photo first, come beside it.

    Raises:
        UserError: no such run, checkpoint, views or photo, runs of other classes or one named twice, or not one photo
            that can be read; or a file to write is one of the photos.
        Failure: as in `predict`.
    """
    options, out = options or PredictOptions(), as_path(out)
    opened = [open_run(folder) for folder in as_paths(runs)]
    _check_runs(opened)
    if options.split or options.data:
        raise UserError("a split or a data folder has no effect with photos: leave it out")
    if options.size is not None and not 1 <= options.size <= LARGEST:
        raise UserError(f"--size {options.size}: photos become squares of 1 to {LARGEST} pixels a side")
    views, class_names, by_pixels = options.views, _class_names(opened, options), _by_pixels(opened, options)
    paths = find_photos(as_paths(photos))
    _check_out(out, paths)
    probabilities, broken = np.zeros((len(paths), len(class_names)), np.float32), dict[int, str]()
    with scratch_folder("photos") as place:
        indexes = list[Index]()
        for number, (pixels, members) in enumerate(by_pixels.items()):
            index, faults = _as_data(paths, pixels, class_names, place / str(number))
            indexes.append(index)
            broken |= faults
            for found in compute_predictions(members, index, "test", views, options):
                probabilities[found.ids.astype(int)] += found.probabilities / np.float32(len(opened))
        whole = [number for number in range(len(paths)) if number not in broken]
        result = PhotoPredictions(
            runs=tuple(opened),
            paths=tuple(str(paths[number]) for number in whole),
            probabilities=probabilities[whole],
            class_names=class_names,
            broken={str(paths[number]): fault for number, fault in sorted(broken.items())},
        )
        if out is None:
            return result
        records = TFRecordDataset(indexes[0], "test")
        rows = {int(name): row for row, name in enumerate(records.split.id)}
        return replace(result, files=write_photo_files(result, lambda at: records.image(rows[whole[at]]), out))


def _check_runs(runs: list[Run]) -> None:
    if not runs:
        raise UserError("name at least one run's folder")
    folders = [run.folder.resolve() for run in runs]
    for number, run in enumerate(runs):
        if folders[number] in folders[:number]:
            raise UserError(f"{run.folder}: is named twice; every run has one vote")


def _check_out(out: Path | None, photos: list[Path]) -> None:
    if out is None:
        return
    if out.suffix.lower() != ".csv":
        raise UserError(f"{out}: a name in .csv is expected; a contact sheet and a page come beside it")
    there = {os.path.realpath(photo) for photo in photos}
    for path in written_files(out):
        if os.path.realpath(path) in there:
            raise UserError(f"{path}: is one of the photos and would be written over; choose another name for --out")


def find_photos(paths: Iterable[Path]) -> list[Path]:
    """Return the files that are named, and the photos below the folders that are, each once.

    Raises:
        UserError: nothing is there, or no photo is in a folder.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            there = list(_photos_below(path))
        elif path.is_file():
            there = [path]
        elif path.exists():
            raise UserError(f"{printable(path)}: not a regular file, but a pipe or a device")
        else:
            raise UserError(f"{printable(path)}: there is no such run, photo or folder")
        for each in there:
            found.setdefault(os.path.realpath(each), each)
    if not found:
        raise UserError("name at least one photo, or a folder of photos")
    return list(found.values())


def _photos_below(folder: Path) -> Iterator[Path]:
    tree = scan(folder)
    photos, others = list(tree.all_photos()), list(tree.all_others())
    if not photos:
        raise UserError(f"{printable(folder)}: {_instead(folder, others)}")
    if others:
        names = ", ".join(printable(path.relative_to(folder)) for path in others[:3])
        count = "1 file that is no photo is" if len(others) == 1 else f"{len(others)} files that are no photos are"
        log.info("%s: %s left out: %s", folder, count, names)
    return iter(photos)


def _instead(folder: Path, others: list[Path]) -> str:
    """Return what a folder without photos holds."""
    runs = [path.parent for path in others if path.name == "config.json"]
    if runs:
        return f"holds no photos but runs: name them, such as {printable(runs[0])}"
    if any(path.suffix.lower() in (".tfrec", ".tfrecord", ".tfrecords") for path in others):
        return f"holds TFRecords: predict a split of theirs with --data {printable(folder)}"
    return f"no photos found ({COMMON}), and no run (config.json) either"


def _class_names(runs: list[Run], options: PredictOptions) -> tuple[str, ...]:
    """Return the names of the classes that all the runs were trained for."""
    found: list[tuple[str, ...]] = []
    for run in runs:
        content = read_without_tensors(checkpoint_of(run, options))
        found.append(tuple(map(str, content["class_names"])))
        if found[-1] != found[0]:
            raise UserError(f"{run.folder}: was trained for other classes than {runs[0].folder}")
    return found[0]


def _by_pixels(runs: list[Run], options: PredictOptions) -> dict[Pixels, list[Run]]:
    """Return the runs by the square JPEG that a photo becomes for them, so that it is made once."""
    found = defaultdict[Pixels, list[Run]](list)
    for run in runs:
        size = options.size or run.config.size
        if size is None:
            size = int(read_without_tensors(run.checkpoint(options.checkpoint))["input_size"])
        found[Pixels(size, _crop(run, size))].append(run)
    return found


def _crop(run: Run, size: int) -> Crop:
    """Return how the run's own photos became square, where its data folder was imported and is at hand."""
    path = data_of(run) / f"tfrecords-jpeg-{size}x{size}" / "import.json"
    try:
        crop = json.loads(path.read_bytes())["pixels"]["crop"]
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        return "center"
    return crop if crop in get_args(Crop) else "center"


def _as_data(
    paths: list[Path], pixels: Pixels, class_names: tuple[str, ...], folder: Path
) -> tuple[Index, dict[int, str]]:
    """Write the photos as the test split of a data folder, their numbers as ids; return it and the faults by number."""

    def read(photo: Photo) -> bytes:
        return Path(photo.path).read_bytes()

    photos = [Photo(str(path), None, None) for path in paths]
    records = folder / f"tfrecords-jpeg-{pixels.size}x{pixels.size}" / "test"
    records.mkdir(parents=True)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
    with (folder / "spool").open("wb+") as spool:
        jpegs = convert_photos(read, photos, pixels, spool, progress=True, encode=_record_of, title="read")
        faults = {number: jpegs[photo.path].fault for number, photo in enumerate(photos) if jpegs[photo.path].fault}
        if len(faults) == len(paths):
            raise UserError(broken_photos({str(paths[number]): fault for number, fault in faults.items()}, len(paths)))
        whole = [number for number in range(len(photos)) if number not in faults]
        write_tfrecord(
            records / f"00-{pixels.size}x{pixels.size}-{len(whole)}.tfrec",
            (
                encode_example(image=jpegs[photos[number].path].read(spool), label=None, id=f"{number:09d}")
                for number in whole
            ),
        )
    return load_index(folder, pixels.size, folder / "cache"), faults


def _record_of(data: bytes, pixels: Pixels) -> tuple[bytes, str]:
    """Return a photo's file as a square JPEG; one that could stand in a record as it is keeps its bytes."""
    if data.startswith(b"\xff\xd8"):
        try:
            if jpeg_shape(data) == (pixels.size, pixels.size) and is_upright(Image.open(io.BytesIO(data))):
                decode_photo(data)
                return data, ""
        except ValueError:
            pass  # damaged, or of a kind that only Pillow reads
    return to_jpeg(data, pixels), ""


def broken_photos(broken: dict[str, str], total: int) -> str:
    """Return the line that names what is no photo, and why."""
    shown = [f"{printable(path)} ({reason})" for path, reason in broken.items()]
    more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
    what = "is no photo that can be read" if len(shown) == 1 else "are no photos that can be read"
    return f"{len(shown)} of {total} files {what}: {', '.join(shown[:20])}{more}"
