"""Tell a fault of the device from an error of the program, and say it in a line with a remedy.

torch has a class of its own for a lack of memory (OutOfMemoryError) and, from 2.8 on, for what CUDA reports
(AcceleratorError). cuBLAS, cuDNN and older versions raise a RuntimeError, of which the text alone tells what it is.
"""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

import torch

from corolla.device import describe
from corolla.errors import Failure

Fault = Literal["memory", "maybe memory", "device"]
"""A lack of memory; what is mostly one, but not always; anything else that the device or its driver reports."""

MEMORY = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "HIP out of memory",
    "MPS backend out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DEVICE_ALLOCATION_FAILED",  # cuDNN 9: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",  # Windows
)
# Libraries that load kernels or make a handle where little memory is left report this (pytorch#81620, #45769).
MAYBE_MEMORY = (
    "CUDNN_STATUS_INTERNAL_ERROR",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_NOT_SUPPORTED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "unable to find an engine to execute this computation",
    "Unable to find a valid cuDNN algorithm",
    "CUDACachingAllocator.cpp",
    "CUDA driver error: device not ready",
)
DEVICE = ("CUDA error", "CUDA driver error", "CUDA unknown error", "cuDNN error", "CUDNN_STATUS_", "CUBLAS_STATUS_")
DEVICE += ("CUSOLVER_STATUS_", "HIP error", "miopenStatus")

AGAIN = "start it again in a new process (a notebook: restart its kernel); if that fails as well, use --device cpu"


def fault_of(error: BaseException) -> Fault | None:
    """Return which kind of fault of the device an exception reports; None where it is the program's own error."""
    if isinstance(error, torch.OutOfMemoryError):
        return "memory"
    if not isinstance(error, RuntimeError):
        return None
    text = str(error)
    if any(words in text for words in MEMORY):
        return "memory"
    if any(words in text for words in MAYBE_MEMORY):
        return "maybe memory"
    reported = getattr(torch, "AcceleratorError", None)  # from torch 2.8 on
    if (reported is not None and isinstance(error, reported)) or any(words in text for words in DEVICE):
        return "device"
    return None


def lacks_memory(error: BaseException) -> bool:
    """Return whether the same work on fewer images at once may succeed."""
    return fault_of(error) in ("memory", "maybe memory")


def fault_line(
    error: BaseException, device: torch.device, doing: str, *, memory: str, again: str = AGAIN
) -> str | None:
    """Return a line on a fault of `device`; None where the error is the program's own.

    Args:
        doing: the work during which it came up: "in training".
        memory: the remedy where memory is short.
        again: the remedy of any other fault.
    """
    fault = fault_of(error)
    if fault is None:
        return None
    name = _name(device)
    if fault == "memory":
        return f"{name} is out of memory {doing} ({memory_state(error, device)}): {memory}"
    reason = " ".join((str(error) or type(error).__name__).splitlines()[0].split())[:200]
    if fault == "maybe memory":
        state = memory_state(error, device)
        return f"{name} failed {doing} ({reason}), which is mostly a lack of memory ({state}): {memory}; else {again}"
    if "no kernel image is available" in reason:
        return f"{name} failed {doing}: {_no_kernels(device)}; use another card, or --device cpu"
    return f"{name} failed {doing} ({reason}): {again}"


@contextmanager
def faults_told(device: torch.device, doing: str, *, memory: str, again: str = AGAIN) -> Iterator[None]:
    """Turn a fault of `device` within it into a `Failure`; see `fault_line` for the arguments."""
    try:
        yield
    except RuntimeError as error:
        line = fault_line(error, device, doing, memory=memory, again=again)
        if line is None:
            raise
        raise Failure(line) from None


def memory_state(error: BaseException, device: torch.device) -> str:
    """Return how much memory was asked for and how much there is, from the text of the error or from the device."""
    text, size = str(error), r"([\d.]+ (?:bytes|[KMGT]iB))"
    asked = re.search(rf"(?:Tried to allocate|tried to allocate|Requested size:) {size}", text)
    # Older versions of torch write "capacty".
    card = re.search(rf"total capac\w+ of {size} of which {size} is free", text)
    allowed = re.search(rf"{size} allowed", text)
    parts = [f"{_readable(asked[1])} more were asked for"] if asked else []
    if card:
        parts.append(f"{card[2]} of {card[1]} are free")
    elif device.type == "cuda":
        with suppress(RuntimeError):  # it answers nothing any more
            free, total = torch.cuda.mem_get_info(device)
            parts.append(f"{free / 2**20:,.0f} of {total / 2**20:,.0f} MiB are free")
    if allowed:
        parts.append(f"this process may take {allowed[1]}")
    return ", ".join(parts) or "it does not say how much is free"


def release_memory(device: torch.device) -> None:
    """Give back to the device what failed or finished work holds no more."""
    gc.collect()  # frames of an exception hold each other
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _readable(size: str) -> str:
    number, unit = size.split()
    return f"{float(number) / 2**20:,.0f} MiB" if unit == "bytes" and float(number) >= 2**20 else size


def _name(device: torch.device) -> str:
    try:
        return describe(device)
    except RuntimeError:  # a card that has failed does not tell its name either
        return str(device)


def _no_kernels(device: torch.device) -> str:
    """Return for which cards this torch was built, and which one this is."""
    try:
        major, minor = torch.cuda.get_device_capability(device)
        there = f" of compute capability {major}.{minor}"
    except (RuntimeError, AssertionError):
        there = ""
    built = " ".join(torch.cuda.get_arch_list())
    return f"torch {torch.__version__} has no code for a card{there}" + (f" (it has {built})" if built else "")
