"""An index that is kept between starts, for as long as no file that it was read from has been touched."""

import functools
import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corolla.files import ZIP_FAULTS, replacing, zip_fault

log = logging.getLogger(__name__)

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

    def read(self, names: Sequence[str]) -> dict[str, NDArray[Any]] | None:
        """Return the columns of these names; None where they are of other files, damaged, or not there at all."""
        try:
            if zip_fault(self._path):
                return None
            with np.load(self._path, allow_pickle=False) as kept:
                if (str(kept["manifest"]), str(kept["stamps"])) != (self._manifest, self._stamps):
                    return None
                if self._youngest_ns + RACY_NS >= int(kept["read_at"]):
                    return None  # a second write within the clock's tick may have left the stamps (git: "racily clean")
                return {name: kept[name] for name in names}
        except (OSError, KeyError, *ZIP_FAULTS):  # missing, no zip, or of an earlier version, without stamps
            return None

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


def resolve_cache_dir(cache_dir: Path | None) -> Path:
    """Return the folder for whatever is computed from the data: the one asked for, else the user's own cache."""
    return cache_dir or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "corolla" / "index"


@functools.cache
def _warn_once(text: str) -> None:
    log.warning(text)
