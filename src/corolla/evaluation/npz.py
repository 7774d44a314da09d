"""The one reader of arrays in an .npz that others may have written or damaged."""

import io
import math
import tokenize
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from corolla.errors import UserError
from corolla.files import ZIP_FAULTS, is_zip, zip_fault
from corolla.text_files import printable, shown

MAX_BYTES, MAX_RATIO = 256 << 20, 20
"""A file that unpacks to more bytes than that, and to so many times its own size, holds no probabilities."""
MAGIC = b"\x93NUMPY"
READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
EXPECTED = "np.savez(FILE, ids=..., probabilities=...) writes such a file"


def read_npz(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Return the named arrays of an .npz, of the optional ones those that are there. Nothing is unpickled.

    Raises:
        UserError: it can't be read, is damaged or no .npz, unpacks to far more than it holds, or lacks an array.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a readable file of predictions (it is no regular file)")
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
        if start == MAGIC:
            raise ValueError(f"it is one array, .npy, without ids; {EXPECTED}")
        if not is_zip(path):
            raise ValueError(f"it is no .npz or cut short; {EXPECTED}")
        with zipfile.ZipFile(path) as archive:
            sizes = {part.filename: part.file_size for part in archive.infolist()}
            _check_total(sum(sizes.values()), path.stat().st_size)
            if fault := zip_fault(path):
                raise ValueError(fault)
            if missing := [name for name in required if f"{name}.npy" not in sizes]:
                there = ", ".join(printable(name.removesuffix(".npy")) for name in list(sizes)[:9]) or "nothing"
                raise ValueError(f"{missing[0]} is not in it, but {there}; {EXPECTED}")
            names = [*required, *(name for name in optional if f"{name}.npy" in sizes)]
            return {name: _read_array(name, archive.read(f"{name}.npy")) for name in names}
    except (OSError, *ZIP_FAULTS) as error:
        raise UserError(f"{path}: not a readable file of predictions ({shown(printable(error), 300)})") from None


def _check_total(unpacked: int, packed: int) -> None:
    """Raise ValueError for a zip bomb."""
    if unpacked > max(MAX_BYTES, MAX_RATIO * packed):
        raise ValueError(f"its {packed} bytes unpack to {unpacked >> 20} MiB; np.savez writes it without compression")


def _read_array(name: str, content: bytes) -> NDArray[Any]:
    """Return the array of an .npy file's bytes.

    Raises:
        ValueError: they are none, or one of Python objects.
    """
    stream = io.BytesIO(content)
    version = npy.read_magic(stream)
    if version not in READERS:
        raise ValueError(f"{name} is in version {version} of the format, of structured arrays")
    try:
        shape, _, dtype = READERS[version](stream)
    except (tokenize.TokenError, RecursionError, MemoryError):  # of Python's parser, on a header made to break it
        raise ValueError(f"the header of {name} is damaged") from None
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are not unpickled: save it as .astype(str) or as floats")
    if not dtype.itemsize or math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(f"{name} has another length than its header tells")
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if dtype.kind == "U":
        codes = np.frombuffer(content, dtype.byteorder.replace("|", "=") + "u4", offset=stream.tell())
        if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any():  # Python can't even show such text
            raise ValueError(f"{name} holds what is no text")
    return array
