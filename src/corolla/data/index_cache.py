"""An index that is kept between starts, for as long as no file that it was read from has been touched."""

import functools
import hashlib
import json
import logging
import os
import tokenize
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corolla.files import ZIP_FAULTS, replacing, zip_fault

log = logging.getLogger(__name__)

NPZ_FAULTS = (KeyError, TypeError, tokenize.TokenError, RecursionError, MemoryError, SystemError, *ZIP_FAULTS)
"""Errors on an .npz that is damaged or not ours; those from TypeError to MemoryError are of an array's header, and
SystemError is of text with numbers that are no characters."""

RACY_NS = 2 * 10**9  # FAT, the coarsest of file systems, keeps times to 2 s


class IndexCache:
    """The file that keeps the index of one size in a data folder."""

    def __init__(
        self, folder: Path, size: int, cache_dir: Path | None, *, manifest: str, stats: Sequence[os.stat_result]
    ) -> None:
        """Tell where the index of `folder` is kept, and of which files it has to be.

        Args:
            manifest: the content of the folder, by names and sizes.
            stats: of the files, before they are read.
        """
        place = folder.resolve()
        # The user's cache tells folders of one name apart; in a folder that was asked for, the data may have moved.
        suffix = "" if cache_dir else "-" + hashlib.sha256(os.fsencode(place)).hexdigest()[:12]
        self._path = resolve_cache_dir(cache_dir) / f"{place.name}-{size}{suffix}.npz"
        self._manifest = manifest
        # Nobody can write to a file and leave its times and its inode all as they were.
        self._stamps = json.dumps([[stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino] for stat in stats])
        self._youngest_ns = max(max(stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats)

    def read(self, splits: Sequence[str], kinds: Mapping[str, Any]) -> dict[str, NDArray[Any]] | None:
        """Return the columns of each split, as `SPLIT.COLUMN`; None where they are of other files or damaged.

        Args:
            kinds: each column's type.
        """
        try:
            if zip_fault(self._path):
                return None
            with np.load(self._path, allow_pickle=False) as kept:
                if not (_is_text(kept["manifest"], self._manifest) and _is_text(kept["stamps"], self._stamps)):
                    return None
                if self._youngest_ns + RACY_NS >= int(kept["read_at"]):
                    return None  # a second write within the clock's tick may have left the stamps (git: "racily clean")
                columns = {split: {name: kept[f"{split}.{name}"] for name in kinds} for split in splits}
        except (OSError, *NPZ_FAULTS):  # missing, no zip, or of an earlier version, without stamps
            return None
        if not all(are_columns(of_split, kinds) for of_split in columns.values()):
            return None
        return {f"{split}.{name}": array for split, of_split in columns.items() for name, array in of_split.items()}

    def write(self, columns: Mapping[str, NDArray[Any]], *, read_at: int) -> None:
        """Keep the columns; where the folder can't be written it is said once, and nothing is kept.

        Args:
            read_at: when reading the files began, in nanoseconds since the epoch.
        """
        kept: dict[str, Any] = {"manifest": self._manifest, "stamps": self._stamps, "read_at": read_at, **columns}
        try:
            with replacing(self._path) as temporary, temporary.open("wb") as file:
                np.savez(file, **kept)
        except OSError as error:
            _warn_once(f"the index is not kept, {self._path.parent} can't be written: {error.strerror}")


def are_columns(arrays: Mapping[str, Any], kinds: Mapping[str, Any]) -> bool:
    """Return whether what was read are the columns of one table, of these types."""
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):  # np.load gives bytes where it knows none
        return False
    shapes = {array.shape for array in arrays.values()}
    fit = all(array.dtype.kind == np.dtype(kinds[name]).kind for name, array in arrays.items())
    return fit and len(shapes) == 1 and len(shapes.pop()) == 1


def resolve_cache_dir(cache_dir: Path | None) -> Path:
    """Return the folder for whatever is computed from the data: the one asked for, else the user's own cache."""
    return cache_dir or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "corolla" / "index"


@functools.cache
def _warn_once(text: str) -> None:
    log.warning(text)


def _is_text(array: Any, text: str) -> bool:
    """Return whether an array is a text, by its bytes: damaged ones may be code points that Python can't even show."""
    whole = np.asarray(text)
    return isinstance(array, np.ndarray) and array.dtype == whole.dtype and array.tobytes() == whole.tobytes()
