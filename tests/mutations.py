"""Damaged files for the tests that give readers anything, and what a reader may do with them."""

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from corolla.errors import Failure, UserError

T = TypeVar("T")
Fuzz = Callable[..., None]
"""The fixture `fuzz`: `fuzz(check, inputs, fast=20, slow=2000)` holds a check against so many inputs."""

KINDS = ("flip", "set", "cut", "drop", "insert", "repeat", "swap")
LONGEST = 40  # bytes that one change concerns


def mutated(
    valid: bytes | st.SearchStrategy[bytes], *, pieces: Sequence[bytes] = (), most: int = 3
) -> st.SearchStrategy[bytes]:
    """Return files that are valid but for a few changes, or not changed at all.

    Args:
        pieces: bytes that have a meaning in such files, and are put in as well.
    """
    new = st.binary(max_size=6) | st.sampled_from(pieces) if pieces else st.binary(max_size=6)
    change = st.tuples(st.sampled_from(KINDS), st.integers(0, (1 << 24) - 1), st.integers(0, LONGEST - 1), new)
    return st.builds(_changed, st.just(valid) if isinstance(valid, bytes) else valid, st.lists(change, max_size=most))


def _changed(content: bytes, changes: list[tuple[str, int, int, bytes]]) -> bytes:
    for kind, place, amount, new in changes:
        at = place % (len(content) + 1)
        before, part, after = content[:at], content[at : at + amount + 1], content[at + amount + 1 :]
        if kind == "flip":
            part = bytes(byte ^ 1 << amount % 8 for byte in part[:1]) + part[1:]
        elif kind == "set":
            part = new + part[len(new) :]
        elif kind == "insert":
            part = new + part
        elif kind == "repeat":
            part *= 2
        elif kind == "swap":
            part, after = after[: amount + 1], part + after[amount + 1 :]
        elif kind == "cut":
            part = after = b""
        else:
            part = b""
        content = before + part + after
    return content


@dataclass(frozen=True)
class Refused:
    """A reader's one line on a file that it does not take."""

    line: str


def attempt(read: Callable[[Path], T], path: Path, content: bytes | None = None) -> T | Refused:
    """Return what a reader gives for a file, which is written where `content` is given, or that it refuses.

    It may refuse in one line that names the file; anything else that it raises goes on.
    """
    if content is not None:
        path.unlink(missing_ok=True)  # tensors of the file before may be mapped
        path.write_bytes(content)
    try:
        return read(path)
    except (UserError, Failure) as error:
        line = str(error)
        assert line.isprintable(), "the line is to be printed"
        assert path.name in line, "the line names the file"
        return Refused(line)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@st.composite
def with_other_fields(draw: st.DrawFn, valid: Any, values: st.SearchStrategy[Any] = VALUES) -> Any:
    """Return nested dicts and lists in which one field, at any depth, is another value or missing."""
    if not isinstance(valid, dict | list) or not valid or draw(st.integers(0, 3)) == 0:
        return draw(values)
    key = draw(st.sampled_from(list(valid) if isinstance(valid, dict) else range(len(valid))))
    changed = valid.copy()
    if draw(st.integers(0, 4)) == 0:
        del changed[key]
    else:
        changed[key] = draw(with_other_fields(valid[key], values))
    return changed


ARRAYS = st.one_of(
    npst.arrays(
        st.sampled_from(["<i8", "<u4", "<f4", "<f8", "?", "<U3", "S2", "<c8", "<M8[s]", ">i8"]),
        npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    st.just(np.zeros(1, [("a", "<i8"), ("b", "<f4")])),
)


def damaged_npz(arrays: dict[str, NDArray[Any]]) -> st.SearchStrategy[bytes]:
    """Return .npz files whose bytes, or arrays, or an array's bytes under a sound checksum, are others."""
    parts = {f"{name}.npy": npy(array) for name, array in arrays.items()}
    names = st.sampled_from(sorted(parts))
    one_damaged = st.builds(
        lambda name, data: zipped(parts | {name: data}), names, names.flatmap(lambda name: mutated(parts[name]))
    )
    one_other = st.builds(lambda name, array: zipped(parts | {name: npy(array)}), names, ARRAYS)
    one_less = names.map(lambda name: zipped({key: data for key, data in parts.items() if key != name}))
    return mutated(zipped(parts)) | one_damaged | one_other | one_less


def npy(array: NDArray[Any]) -> bytes:
    """Return the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def members(archive: bytes) -> dict[str, bytes]:
    """Return the parts of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name: file.read(name) for name in file.namelist()}
