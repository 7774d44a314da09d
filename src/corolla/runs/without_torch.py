"""Checkpoints without torch, which takes seconds: their content but for the tensors, and whether they are damaged."""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar

from corolla.data.jpeg_header import kind_of
from corolla.errors import UserError
from corolla.files import ZIP_FAULTS, is_zip, zip_fault
from corolla.text_files import mismatch, printable

PICKLE_FAULTS = (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError, MemoryError)
"""Errors that pickle's documentation names, and those that a file which is no pickle at all has brought up."""
IMPORTED = {"file": str, "sha256": str}
"""The shape of what a checkpoint that was made without training says of its origin."""
LATER_SCORES = ("train_top1",)
"""Columns of metrics.jsonl that earlier versions did not write."""


def read_without_tensors(path: Path) -> dict[str, Any]:
    """Return what `torch.save` wrote into a checkpoint, with None in place of each tensor.

    The zip's checksum of this part is verified, the tensors are not read.

    Raises:
        UserError: there is no such file, or it is not a checkpoint of corolla.
    """
    if path.exists() and not path.is_file() and not path.is_dir():  # nobody may write to a pipe
        raise UserError(f"{path}: is a pipe or a device, not a checkpoint")
    try:
        with zipfile.ZipFile(path) as file:
            (name,) = [name for name in file.namelist() if name.endswith("/data.pkl")]
            pickled = file.read(name)
        content = _Unpickler(io.BytesIO(pickled)).load()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such checkpoint") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from None
    except (*ZIP_FAULTS, *PICKLE_FAULTS) as error:
        reason = _instead(path) or printable(error) or type(error).__name__
        raise UserError(f"{path}: not a readable checkpoint ({reason}){whole_beside(path)}") from None
    progress = content.get("progress") if isinstance(content, dict) else None
    if not (isinstance(progress, dict) and isinstance(progress.get("rows"), list)):
        raise UserError(f"{path}: not a checkpoint of corolla{whole_beside(path)}")
    return content


def complete_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of metrics.jsonl with every column, None where an earlier version trained, which did not write it."""
    return [row | {name: row.get(name) for name in LATER_SCORES} for row in rows]


def imported_from(content: dict[str, Any]) -> dict[str, str] | None:
    """Return the file and SHA-256 that a checkpoint was made of without training; None of one that was trained."""
    found = content.get("imported")
    return None if mismatch(found, IMPORTED) else found


def check_undamaged(path: Path) -> None:
    """Check all of a checkpoint's checksums, which torch does not; it takes as long as reading the file.

    Raises:
        UserError: one of them differs, or the file can't be read; the message names the checkpoints beside it that are
            whole.
    """
    try:
        fault = zip_fault(path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such checkpoint") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from None
    if fault:
        raise UserError(f"{path}: is damaged ({printable(fault)}){whole_beside(path)}")


def _instead(path: Path) -> str | None:
    """Return what a file is that is no zip; None where its first bytes do not tell."""
    with path.open("rb") as file:
        start = file.read(256)
    if not start:
        return "it is empty"
    if not any(start):
        return "it begins with zeros"
    kind = None if start.startswith(b"PK") else kind_of(start)
    return f"it is {kind}" if kind else None


def whole_beside(path: Path) -> str:
    """Return the end of a message on a checkpoint that can't be used."""
    others = [other for other in sorted(path.parent.glob("[!.]*.pt")) if other.name != path.name and _is_whole(other)]
    if not others:
        return ""
    names = " and ".join(other.name for other in others)
    return f"; whole beside it: {names}, a copy of which can take its place (corolla doctor has the command)"


def _is_whole(path: Path) -> bool:
    try:
        return is_zip(path) and zip_fault(path) is None
    except OSError:
        return False


class _Unpickler(pickle._Unpickler):
    """Reads a pickle in which torch's classes and functions stand for nothing; no code of anybody else runs.

    In Python, not in C: that takes three times as long (41 ms for a ResNet-50), but where five damaged bytes ask the
    one in C for the place of the billionth object, it takes memory for a billion. BYTEARRAY8, which torch does not
    write, would take memory for as many bytes as it promises.
    """

    dispatch: ClassVar = {
        code: load for code, load in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module.split(".")[0] == "torch":
            return _nothing
        raise pickle.UnpicklingError(f"{module}.{name} is in it")

    def persistent_load(self, pid: Any, /) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return nothing for a tensor's storage."""


def _nothing(*_: Any) -> None:
    """Stand for a tensor or a type."""
