"""`corolla synth`: draw a data set of flowers with the competition's classes, class counts and file layout."""

import itertools
import json
import logging
import math
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
from tqdm import tqdm

from corolla.data.competition import CLASSES, NUM_TEST, SAMPLE_SUBMISSION, SPLITS
from corolla.data.subset import largest_remainder
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import UserError
from corolla.files import locked, write_atomically
from corolla.parallel import num_cores
from corolla.paths import AnyPath, as_path
from corolla.synthetic.drawing import draw_photo
from corolla.temporary import remove_leftovers, temporary_folder

log = logging.getLogger(__name__)

LEAST = {"train": 3, "val": 1, "test": 1}  # photos of a class at any share
FILES = 16  # of each split
DRAWING = 1  # one more whenever the same seed gives other bytes: an older set is then not taken for a new one
JPEG_QUALITY = 90
POOL_PIXELS = 4_000_000  # below this, starting processes takes longer than drawing

Draw = Callable[[list["Photo"], int], Iterable[bytes]]


class Photo(NamedTuple):
    """One photo to draw: everything in it follows from these, at every size."""

    seed: int
    split: str
    label: int
    number: int

    @property
    def id(self) -> str:
        """Nine hexadecimal characters, no two photos' alike."""
        # Odd factors and xor-shifts are bijections of 36 bits.
        packed = (self.label << 2 | SPLITS.index(self.split)) << 16 | self.number
        key = int(np.random.default_rng(self.seed).integers(1 << 36))
        for factor in (0x9E3779B97, 0x5851F42D5, 0xD1342543D):
            packed = (packed ^ key) * factor % (1 << 36)
            packed ^= packed >> 17
        return f"{packed:09x}"


@dataclass(frozen=True, slots=True)
class SyntheticSet:
    """A synthetic data set on disk, `counts` photos a split; `reused` if it was there before."""

    folder: Path
    size: int
    share: float
    seed: int
    counts: dict[str, int]
    reused: bool

    def __fspath__(self) -> str:
        return str(self.folder)


def class_counts(share: float = 1.0) -> dict[str, list[int]]:
    """Return the number of photos of each class in each split; at share 1 they are the competition's."""
    train = [train for _, train, _ in CLASSES]
    test = largest_remainder([count * NUM_TEST / sum(train) for count in train], NUM_TEST)
    whole = {"train": train, "val": [val for _, _, val in CLASSES], "test": test}
    return {split: [max(LEAST[split], round(count * share)) for count in counts] for split, counts in whole.items()}


def plan(*, share: float = 1.0, seed: int = 0) -> dict[str, list[list[Photo]]]:
    """Return the photos of each file of each split, shuffled over the files; nothing is drawn."""
    files: dict[str, list[list[Photo]]] = {}
    for place, (split, counts) in enumerate(class_counts(share).items()):
        photos = [Photo(seed, split, label, number) for label, count in enumerate(counts) for number in range(count)]
        order = np.random.default_rng([seed, place]).permutation(len(photos))
        # Every file but the last is equally long; the last takes what is left, and never nothing.
        length = math.ceil(len(photos) / FILES)
        if length * (FILES - 1) >= len(photos):
            length = len(photos) // FILES
        cuts = [*range(0, length * FILES, length), len(photos)]
        files[split] = [[photos[i] for i in order[start:stop]] for start, stop in itertools.pairwise(cuts)]
    return files


def synthesize(
    folder: AnyPath, *, size: int = 64, share: float = 1.0, seed: int = 0, processes: int | None = None
) -> SyntheticSet:
    """Draw the set at `size` x `size` pixels into `folder`, which may hold other sizes of the same share and seed.

    `share` is a fraction of the competition's photos of each class (at least 3 train, 1 val, 1 test). The bytes written
    depend on size, share and seed alone, not on `processes` (default: one a core, for sets large enough). The files
    are written privately and moved into place whole.

    Raises:
        UserError: a size, share or seed is out of range, `folder` holds another data set, or a script has no
            `if __name__ == "__main__":` around the call.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(1)  # a process that is to draw runs the script of its parent, which holds the lock and waits for it
    folder = as_path(folder)
    _check_arguments(size, share, seed)
    size, share, seed = int(size), float(share), int(seed)  # NumPy's numbers can't be written as JSON
    files = plan(share=share, seed=seed)
    recipe = {"size": size, "share": share, "seed": seed, "drawing": DRAWING}
    counts = {split: sum(map(len, parts)) for split, parts in files.items()}
    done = SyntheticSet(folder, size, share, seed, counts, reused=True)
    test = sorted(itertools.chain(*files["test"]), key=lambda photo: photo.id)
    tables = {
        SAMPLE_SUBMISSION: "id,label\n" + "".join(f"{photo.id},0\n" for photo in test),
        "test_labels.csv": "id,label\n" + "".join(f"{photo.id},{photo.label}\n" for photo in test),
    }
    if _holds(folder, recipe, tables):
        remove_leftovers(folder)  # without the lock, which can't be had in a folder that may only be read
        return done
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".synthetic.lock", waiting=lambda: log.info("%s: another process draws there", folder)):
        remove_leftovers(folder, *tables)
        if _holds(folder, recipe, tables):  # another process has drawn it meanwhile
            return done
        with temporary_folder(folder, "synthetic") as private:
            records = private / f"tfrecords-jpeg-{size}x{size}"
            _write_records(records, files, size, processes)
            write_atomically(records / "synthetic.json", (json.dumps(recipe) + "\n").encode())
            for name, text in tables.items():
                write_atomically(folder / name, text.encode())
            records.rename(folder / records.name)  # last: only now does the set look whole
    return SyntheticSet(folder, size, share, seed, counts, reused=False)


def render(photo: Photo, size: int) -> bytes:
    """Draw one photo as a JPEG."""
    generator = np.random.default_rng([photo.seed, photo.label, SPLITS.index(photo.split), photo.number])
    return simplejpeg.encode_jpeg(draw_photo(photo.label, size, generator), quality=JPEG_QUALITY, colorspace="RGB")


def _check_arguments(size: int, share: float, seed: int) -> None:
    if not 32 <= size <= 512:
        raise UserError(f"size {size}: synthetic photos are 32 to 512 pixels wide")
    if not 0 < share <= 1:
        raise UserError(f"share {share:g}: must be above 0 and at most 1")
    if seed < 0:
        raise UserError(f"seed {seed}: must not be negative")


def _holds(folder: Path, recipe: dict[str, float], tables: dict[str, str]) -> bool:
    """Return whether the folder has the set of this recipe.

    Raises:
        UserError: another data set is in its way.
    """
    records = folder / f"tfrecords-jpeg-{recipe['size']}x{recipe['size']}"
    if records.exists():
        made = records / "synthetic.json"
        found = made.read_text().strip() if made.is_file() else "not drawn by corolla"
        if found != json.dumps(recipe):
            raise UserError(f"{records} holds another data set ({found}); choose another folder")
        return True
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose a folder")
    for name, text in tables.items():
        path = folder / name
        if path.exists() and path.read_text() != text:
            raise UserError(f"{path} belongs to another data set (another share or seed); choose another folder")
    return False


def _write_records(folder: Path, files: dict[str, list[list[Photo]]], size: int, processes: int | None) -> None:
    total = sum(len(photos) for parts in files.values() for photos in parts)
    processes = processes or (num_cores() if total * size**2 > POOL_PIXELS else 1)
    with _drawers(processes) as draw, tqdm(total=total, unit="images", disable=None, desc="synth") as bar:
        for split, parts in files.items():
            (folder / split).mkdir(parents=True)
            for number, photos in enumerate(parts):
                path = folder / split / f"{number:02d}-{size}x{size}-{len(photos)}.tfrec"
                write_tfrecord(path, _examples(photos, draw(photos, size), bar))


def _examples(photos: list[Photo], images: Iterable[bytes], bar: tqdm) -> Iterator[bytes]:
    for photo, image in zip(photos, images, strict=True):
        yield encode_example(image=image, label=None if photo.split == "test" else photo.label, id=photo.id)
        bar.update()


@contextmanager
def _drawers(processes: int) -> Iterator[Draw]:
    """Yield a function that draws photos in order: in this process, or spread over several."""
    if processes == 1:
        yield lambda photos, size: map(render, photos, itertools.repeat(size))
        return
    # Not forked: the caller may have threads, whose locks a fork would copy while held.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(processes, context, _die_with_parent) as pool:
            yield lambda photos, size: pool.map(render, photos, itertools.repeat(size), chunksize=8)
    except BrokenProcessPool:
        raise UserError(
            "the processes that draw could not start: in a script, put what calls corolla below "
            '`if __name__ == "__main__":`, as Python asks for where processes are started; or give processes=1'
        ) from None


def _die_with_parent() -> None:
    """Exit with the parent: a killed one can't end its pool, whose processes would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
