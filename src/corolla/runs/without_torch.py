"""The content of a checkpoint but for its tensors, read in milliseconds and without torch, which takes seconds."""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

from corolla.errors import UserError
from corolla.files import ZIP_FAULTS

PICKLE_FAULTS = (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError, MemoryError)
"""Errors that pickle's documentation names, and those that a file which is no pickle at all has brought up."""


def read_without_tensors(path: Path) -> dict[str, Any]:
    """Return what `torch.save` wrote into a checkpoint, with None in place of each tensor.

    The zip's checksum of this part is verified, the tensors are not read.

    Raises:
        UserError: there is no such file, or it is not a checkpoint of corolla.
    """
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
        raise UserError(f"{path}: not a readable checkpoint ({error})") from None
    if not (isinstance(content, dict) and isinstance(content.get("progress"), dict)):
        raise UserError(f"{path}: not a checkpoint of corolla")
    return content


class _Unpickler(pickle.Unpickler):
    """Reads a pickle in which torch's classes and functions stand for nothing; no code of anybody else runs."""

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module.split(".")[0] == "torch":
            return _nothing
        raise pickle.UnpicklingError(f"{module}.{name} is in it")

    def persistent_load(self, pid: Any, /) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return nothing for a tensor's storage."""


def _nothing(*_: Any) -> None:
    """Stand for a tensor or a type."""
