"""Photos kept ready between epochs: their JPEG bytes in memory, or their pixels in a file that every process maps.

Pixels never depend on it: what is kept is what would have been decoded.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from corolla.data.dataset import TFRecordDataset
from corolla.data.decode import Image, decode_photo
from corolla.data.index_cache import NPZ_FAULTS, are_columns, resolve_cache_dir
from corolla.errors import UserError
from corolla.files import locked, replacing, zip_fault
from corolla.parallel import map_in_threads
from corolla.temporary import remove_leftovers

log = logging.getLogger(__name__)

Cache = Literal["auto", "off", "encoded", "decoded", "device"]
FORMAT = 1  # counted up when the content of a file of pixels changes, so that older files are made again
AS_STORED = [False, None]  # earlier versions could keep photos smaller; files of whole ones keep their names
TABLE = {"height": np.int64, "width": np.int64, "good": np.bool_, "crc": np.uint32}  # of a file of pixels, by photo
MEMORY_SHARE = 0.5  # of the free memory: the network needs some as well
DISK_LEFT = 2**30  # bytes that stay free on the disk
MIB = 2**20
UNKNOWN_MEMORY = 4 * 2**30  # bytes that are taken to be free where the system does not tell


def use_cache(
    photos: Sequence[TFRecordDataset],
    choice: Cache,
    cache_dir: Path | None,
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> str:
    """Have `photos` come from the cache that is chosen, and return one line that says which it is.

    auto: decoded where the pixels fit into half of the free memory and onto the disk, else encoded where the files fit
    into memory, else off. device: as auto, for photos that are not there (data/photos_on_device.py).

    Args:
        cache_dir: the folder for the index, beside which pixels are kept.
        stopped: ends the building; then nothing is cached.

    Raises:
        UserError: "decoded" was asked for and does not fit, or a file cannot be read.
    """
    if choice == "off":
        return "cache: off"
    reason, choice = "", "auto" if choice == "device" else choice
    if choice in ("auto", "decoded"):
        try:
            return _use_decoded(photos, resolve_cache_dir(cache_dir) / "decoded", stopped)
        except _DoesNotFit as misfit:
            if choice == "decoded":
                raise UserError(
                    f"--pipeline.cache decoded: {misfit}; use auto, encoded or off, or another place "
                    "(--cache-dir, or XDG_CACHE_HOME)"
                ) from None
            reason = f" (decoded does not fit: {misfit})"
    maps = {each.maps.files: each.maps for each in photos}  # one, where splits have photos of the same files
    size = sum((each.folder / file).stat().st_size for files, each in maps.items() for file in files)
    if choice == "auto" and size > MEMORY_SHARE * free_memory_bytes():
        return f"cache: off{reason}"
    for each in maps.values():
        each.read_into_memory()
    for each in photos:
        each.maps = maps[each.maps.files]
    return f"cache: encoded, {size / MIB:.0f} MiB in memory{reason}"


class _DoesNotFit(Exception):
    """Raised where there is too little memory or disk, or the folder cannot be written."""


class MappedPixels:
    """The pixels of a split in a mapped file; all processes that map it share its pages."""

    def __init__(
        self,
        path: Path,
        height: NDArray[np.int64],
        width: NDArray[np.int64],
        good: NDArray[np.bool_],
        crc: NDArray[np.uint32],
    ) -> None:
        """Describe the file: each photo's `height`, `width` and CRC32C, in its order; one not `good` did not decode."""
        self.path, self.height, self.width, self.good, self.crc = path, height, width, good, crc
        self.offset = np.concatenate([[0], np.cumsum(height * width * 3)])
        self._pixels: NDArray[np.uint8] | None = None
        self._is_checked = np.zeros(len(good), np.bool_)

    def __getitem__(self, i: int) -> Image | None:
        """Return the pixels of photo i; None where its JPEG is to be decoded: it could not be, or they are damaged."""
        if not self.good[i]:
            return None
        pixels = self.pixels[self.offset[i] : self.offset[i + 1]]
        if not self._is_checked[i]:  # once in each process: 0.01 ms at 224 px, where decoding takes 1 ms
            if checksum(pixels) != self.crc[i]:
                warn_of_damage(self.path)
                return None
            self._is_checked[i] = True
        return pixels.reshape(self.height[i], -1, 3)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The pixels of all photos, in a row; the file is mapped on first use."""
        if self._pixels is None:
            # "c": who writes to it gets a page of its own. Memory that cannot be written would make torch warn.
            self._pixels = np.asarray(np.memmap(self.path, np.uint8, "c"))
        return self._pixels

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}


@dataclass(frozen=True)
class _Place:
    """The place of a split's pixels: a file, and beside it a table that is there once the file is whole."""

    pixels: Path
    table: Path

    @staticmethod
    def of(photos: TFRecordDataset, folder: Path) -> "_Place":
        key = [FORMAT, photos.split.fingerprint, AS_STORED]
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]
        name = f"{photos.split.name}-{photos.size}-{digest}"
        return _Place(folder / f"{name}.pixels", folder / f"{name}.npz")

    def open(self, num_photos: int) -> MappedPixels | None:
        """Return the pixels that are kept here, if they are whole; else None."""
        try:
            if zip_fault(self.table):
                return None
            with np.load(self.table, allow_pickle=False) as table:
                columns = {name: table[name] for name in TABLE}
            if not are_columns(columns, TABLE):
                return None
            kept = MappedPixels(self.pixels, **columns)
            # The length maps the file here and now: workers inherit it, whatever happens to the file's name meanwhile.
            whole = len(kept.height) == num_photos and len(kept.pixels) == kept.offset[-1]
        except (OSError, *NPZ_FAULTS):  # missing, cut, or of an earlier version, without checksums
            return None
        return kept if whole else None


def _use_decoded(photos: Sequence[TFRecordDataset], folder: Path, stopped: Callable[[], bool]) -> str:
    """Have `photos` come from files of pixels in `folder`, which are made where they are missing; return its line."""
    remove_leftovers(folder, "*.pixels", "*.npz")  # before the disk's free space is asked for: they may be large
    places = [_Place.of(each, folder) for each in photos]
    kept = [place.open(len(each)) for place, each in zip(places, photos, strict=True)]
    shapes = [None if there else _shapes(each) for there, each in zip(kept, photos, strict=True)]
    missing = sum(int((height * width * 3).sum()) for height, width in filter(None, shapes))
    total = missing + sum(int(there.offset[-1]) for there in kept if there)
    _check_fit(total, missing, folder)
    seconds = time.monotonic()
    for number, (place, each, shape) in enumerate(zip(places, photos, shapes, strict=True)):
        if shape is not None:
            kept[number] = _build(place, each, *shape, stopped)
    if not all(kept):
        reason = "stopped while it was built" if stopped() else "it disappeared while it was read"
        return f"cache: off ({reason})"
    for each, there in zip(photos, kept, strict=True):
        each.decoded = there
    built = f", built in {time.monotonic() - seconds:.1f} s" if missing else ""
    return f"cache: decoded, {total / MIB:.0f} MiB in {folder}{built}"


def _check_fit(total: int, missing: int, folder: Path) -> None:
    """Raise `_DoesNotFit` where `total` bytes do not fit into memory, or `missing` ones onto the disk of `folder`."""
    memory = free_memory_bytes()
    if total > MEMORY_SHARE * memory:
        raise _DoesNotFit(
            f"{total / MIB:.0f} MiB of pixels, {memory / MIB:.0f} MiB of memory are free and half of it may be used"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise _DoesNotFit(f"{folder} cannot be written: {error.strerror}") from None
    if missing and missing > free - DISK_LEFT:
        raise _DoesNotFit(f"{missing / MIB:.0f} MiB of pixels, {free / MIB:.0f} MiB are free on the disk of {folder}")


def _shapes(photos: TFRecordDataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the height and the width of each photo, from its header; 0 where it has none."""
    shapes = np.array([photos.header_shape(i) for i in range(len(photos))], np.int64).reshape(-1, 2)
    return shapes[:, 0], shapes[:, 1]


def _build(
    place: _Place,
    photos: TFRecordDataset,
    height: NDArray[np.int64],
    width: NDArray[np.int64],
    stopped: Callable[[], bool],
) -> MappedPixels | None:
    """Decode every photo into the file at `place` and return its pixels; None if `stopped` came first.

    Of several processes one builds, and the others wait for it. The file gets its name before the table, and the table
    when every pixel is on the disk, so that neither a kill nor a power cut leaves half a file in use.
    """
    try:
        with locked(place.table.with_suffix(".lock"), stopped=stopped) as mine:
            if not mine:
                return None
            if there := place.open(len(photos)):  # another process built it meanwhile
                return there
            with replacing(place.pixels) as temporary:
                layout = MappedPixels(temporary, height, width, height > 0, np.zeros(len(photos), np.uint32))
                decoded = _decode_all(photos, layout, stopped)
                if decoded is None:
                    raise InterruptedError
            good, crc = decoded
            with replacing(place.table) as temporary, temporary.open("wb") as file:
                np.savez(file, height=height, width=width, good=good, crc=crc)
    except InterruptedError:
        return None
    except OSError as error:  # a quota, a disk that others fill, a folder that is another user's
        raise _DoesNotFit(f"{place.pixels} cannot be written: {error.strerror}") from None
    return place.open(len(photos))


def _decode_all(
    photos: TFRecordDataset, layout: MappedPixels, stopped: Callable[[], bool]
) -> tuple[NDArray[np.bool_], NDArray[np.uint32]] | None:
    """Fill the file of `layout` and return which photos decoded, and their CRC32Cs; None if `stopped` came first."""
    num_bytes = int(layout.offset[-1])
    with layout.path.open("wb+") as file:
        if hasattr(os, "posix_fallocate"):  # space first: to write to a mapped file on a full disk kills the process
            os.posix_fallocate(file.fileno(), 0, max(1, num_bytes))
        file.truncate(num_bytes)
    good, crc = np.zeros(len(photos), np.bool_), np.zeros(len(photos), np.uint32)
    if not num_bytes:
        return good, crc
    pixels = np.memmap(layout.path, np.uint8, "r+")

    def decode(i: int) -> None:
        if layout.good[i] and not stopped():
            out = pixels[layout.offset[i] : layout.offset[i + 1]].reshape(layout.height[i], -1, 3)
            jpeg = photos.jpeg(i)
            with contextlib.suppress(ValueError):
                decode_photo(jpeg, out)
                good[i], crc[i] = True, checksum(out.reshape(-1))

    title = f"decode {photos.split.name}"
    for _ in map_in_threads(decode, range(len(photos)), title=title):
        pass
    pixels.flush()
    return None if stopped() else (good, crc)


@functools.cache
def warn_of_damage(path: Path) -> None:
    """Say once what is done about a file of pixels that is damaged."""
    log.warning("%s: is damaged; its photos are decoded anew where it is. Remove it, and it is made again", path)


def checksum(pixels: NDArray[np.uint8]) -> int:
    """Return the CRC32C of pixels in a row."""
    view = pixels.view()
    view.flags.writeable = False  # google_crc32c takes no other
    return google_crc32c.value(view)  # pyright: ignore[reportArgumentType]: any read-only buffer will do


def free_memory_bytes() -> int:
    """Return the memory that can be had without swapping: the machine's, or what is left of a container's share."""
    free = UNKNOWN_MEMORY
    with contextlib.suppress(AttributeError, ValueError):  # POSIX alone has it
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:")))
    with contextlib.suppress(OSError, ValueError):  # cgroup v2: bytes, or "max"
        group = Path("/sys/fs/cgroup")
        used = int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        free = min(free, int((group / "memory.max").read_text()) - used + int(stat.get("inactive_file", 0)))
    return max(0, free)
