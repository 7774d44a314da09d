"""Read a file of weights that anybody may have made: the tensors in it, or the true reason why there are none.

Nothing in a file is executed. Beside tensors and plain values only namespaces, times, paths and NumPy's scalars and
arrays are taken, which training scripts keep beside their weights.
"""

import argparse
import datetime
import pickle
import re
import types
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy._core.multiarray import _reconstruct  # pyright: ignore[reportAttributeAccessIssue]
from numpy._core.multiarray import scalar as numpy_scalar  # pyright: ignore[reportAttributeAccessIssue]
from torch import Tensor

from corolla.errors import UserError
from corolla.file_kinds import foreign_kind
from corolla.files import ZIP_FAULTS, is_zip, zip_fault
from corolla.text_files import printable, shown

# Everything that torch.load and zipfile raise for bytes that are damaged or foreign, found by changing them at random.
FOREIGN: tuple[type[Exception], ...] = (
    *ZIP_FAULTS,
    *(
        pickle.UnpicklingError,
        OSError,
        LookupError,
        TypeError,
        AttributeError,
        AssertionError,
        MemoryError,
        ImportError,
    ),
    ArithmeticError,
)


def _plain_dict(*_default: object) -> dict[Any, Any]:
    """Return the dict that stands for a defaultdict, as torch fills no other kinds."""
    return {}


SAFE: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,
    types.SimpleNamespace,
    *(datetime.datetime, datetime.date, datetime.timedelta, datetime.timezone),
    (_plain_dict, "collections.defaultdict"),
    *[(kind, f"builtins.{kind.__name__}") for kind in (list, dict, int, float, str, tuple, slice, range)],
    *[
        (PurePosixPath, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "Path")
    ],
    *[(PurePosixPath, f"{module}.PurePosixPath") for module in ("pathlib", "pathlib._local")],
    *[(PureWindowsPath, f"{module}.WindowsPath") for module in ("pathlib", "pathlib._local")],
    *[(numpy_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")],
    *[(_reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")],
    np.ndarray,
    np.dtype,
    *[getattr(np.dtypes, name) for name in np.dtypes.__all__ if name.endswith("DType")],
]

Kind = Literal["safetensors", "zip", "pickle"]

MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""The first object of a file that torch.save wrote before it wrote zip archives (torch/serialization.py)."""


def read_weights_file(path: Path) -> Any:
    """Return the content of a file of weights, with its tensors on the CPU.

    Raises:
        UserError: it is none, is damaged, or could only be read by running code from it.
    """
    kind = _kind(path)
    if kind == "safetensors":
        return _safetensors(path)
    if kind == "zip":
        _check_zip(path)
    try:
        with torch.serialization.safe_globals(SAFE):  # pyright: ignore[reportArgumentType]  # torch's type is too narrow
            return torch.load(path, map_location="cpu", weights_only=True)
    except FOREIGN as error:
        raise UserError(f"{path} {_reason(str(error))}") from None


def _kind(path: Path) -> Kind:
    """Tell a file by its first bytes, whatever its name.

    Raises:
        UserError: it is of a kind that is none of weights.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(1024)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if not start:
        raise UserError(f"{path} is empty: fetch it again")
    if what := foreign_kind(start):
        raise UserError(f"{path} {what}")
    if b'"weight_map"' in start or path.name.endswith(".index.json"):
        raise UserError(f"{path} lists which files hold the weights: join these into one, or name a model of one file")
    if (text := _as_text(start)) is not None:
        raise UserError(
            f"{path} is text: no checkpoint of PyTorch (.pt, .pth, .ckpt) and no .safetensors; it begins {text}"
        )
    if start[:2] == b"PK":
        return "zip"
    length = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" or path.suffix == ".safetensors":
        if not 2 <= length <= size - 8:
            raise UserError(f"{path} is cut, or its header is broken: fetch it again")
        return "safetensors"
    if path.suffix.lower() in (".onnx", ".tflite", ".pb", ".mlmodel", ".keras", ".msgpack"):
        raise UserError(f"{path} is no file of PyTorch weights ({path.suffix}): convert it to .pt or .safetensors")
    if start[:1] != b"\x80":  # the first byte of every pickle since protocol 2
        raise UserError(
            f"{path} is damaged, or no file of weights: no checkpoint of PyTorch (.pt, .pth, .ckpt) and no .safetensors"
        )
    if not start.startswith(MAGIC):
        raise UserError(
            f"{path} is a pickle that torch.save did not write, or damaged: load it where it was made, and save its "
            "tensors with torch.save"
        )
    return "pickle"


def _as_text(start: bytes) -> str | None:
    """Return the first words of a text for a message; None of bytes that are none."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = start[: len(start) // 2 * 2].decode("utf-16", "replace")
    elif start[:200].isascii() and b"\0" not in start:
        text = start.decode("ascii", "replace")
    else:
        return None
    return shown(" ".join(text.split()), 40)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (*FOREIGN, safetensors.SafetensorError) as error:
        raise UserError(f"{path} is cut, or its header is broken ({_first_line(str(error))}): fetch it again") from None


def _check_zip(path: Path) -> None:
    """Check every member's CRC, which torch.load does not.

    Raises:
        UserError: the zip is damaged, or no checkpoint.
    """
    if not is_zip(path):
        raise UserError(f"{path} is cut: its end is missing; fetch it again")
    if fault := zip_fault(path):
        raise UserError(f"{path} is damaged ({_first_line(fault)}): fetch it again")
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        raise UserError(f"{path} is a TorchScript program, which holds code: save the model's state_dict() instead")
    if not any(name.endswith("data.pkl") for name in names):
        if all(name.endswith(".npy") for name in names):
            raise UserError(f"{path} is an archive of NumPy arrays (.npz): save them as tensors with torch.save")
        inside = ", ".join(map(printable, names[:3]))
        raise UserError(f"{path} is a zip archive of other files ({inside}): unpack it, or name the weights in it")


def _reason(message: str) -> str:
    """Return why torch could not read a file, without its advice to read it unsafely."""
    if found := re.search(r"GLOBAL ([\w.]+)|unsupported GLOBAL ([\w.]+)", message):
        name = printable(found[1] or found[2])
        return (
            f"can't be read without running code from it: it holds {name}, not tensors alone; save "
            "model.state_dict() by itself where it was made"
        )
    if re.search("reduce for unrecognized|create new object|Can only (SETITEM|build|append)", message, re.IGNORECASE):
        return "can't be read without running code from it: save model.state_dict() by itself where it was made"
    return "is damaged, or no checkpoint of PyTorch: fetch it again"


def _first_line(message: str) -> str:
    return printable(message.strip().splitlines()[0][:120]) if message.strip() else "no reason given"


# Where checkpoints keep their weights: corolla's (EMA first, None when it is off), timm's, and others'.
STATE_DICT_KEYS = (
    *("ema", "state_dict_ema", "model_ema", "ema_state_dict", "model_ema_state_dict", "ema_model", "params_ema"),
    *(
        "state_dict",
        "model_state_dict",
        "model_state",
        "model",
        "net",
        "network",
        "net_state_dict",
        "weights",
        "params",
    ),
    *("module", "generator", "student", "teacher", "backbone", "shadow", "shadow_params"),
)


LONGEST_LIST = 16  # networks in a list; longer ones are histories, and states of random generators


def find_state_dicts(content: Any, depth: int = 3) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the mappings in a checkpoint that hold tensors, or NumPy arrays, by name, with their place, the likeliest
    first.
    """
    if isinstance(content, list | tuple) and len(content) <= LONGEST_LIST:
        content = {str(number): each for number, each in enumerate(content)}
    if not isinstance(content, Mapping):
        return
    if depth:
        known = [key for key in STATE_DICT_KEYS if key in content]
        others = [key for key in content if isinstance(key, str) and key not in STATE_DICT_KEYS]
        for key in (*known, *others):
            for place, found in find_state_dicts(content[key], depth - 1):
                yield f"{key}.{place}".rstrip("."), found
    if any(isinstance(key, str) and isinstance(value, Tensor | np.ndarray) for key, value in content.items()):
        yield "", {key: _as_tensor(value) for key, value in content.items() if isinstance(key, str)}


def _as_tensor(value: Any) -> Any:
    """Return the tensor of a NumPy array of numbers that torch has too; anything else as it is."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fib" or value.dtype.itemsize > 8:
        return value
    return torch.from_numpy(np.array(value, value.dtype.newbyteorder("=")))


def first_keys(content: Any, count: int = 4) -> str:
    """Return the first keys in a checkpoint, for messages."""
    if not isinstance(content, Mapping):
        return f"it holds {type(content).__name__}"
    keys = [printable(str(key)[:60]) for key in list(content)[:count]]
    more = ", ..." if len(content) > count else ""
    return f"its first keys are {', '.join(keys)}{more}" if keys else "it is an empty dict"
