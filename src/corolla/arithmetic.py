"""The arithmetic of a card: whether it has bf16, fp32 that is fp32, and algorithms that are tuned or not."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from corolla.device import Precision, choose_precision, describe
from corolla.errors import UserError

# torch 2.9 and 2.10 recommend settings of another name in a warning; whoever mixes both names gets errors, also later
# from code that only reads them (pytorch#179445), and torch 2.6 has these alone.
warnings.filterwarnings("ignore", message="Please use the new API settings to control TF32")


@contextmanager
def exact_fp32(precision: Precision) -> Iterator[None]:
    """Compute in true fp32 within it, where `precision` is fp32; in any other precision nothing changes.

    By default CUDA rounds the factors of fp32 convolutions to TF32, of 10 bits. Backward passes belong inside as well:
    they go by the setting at their own time.
    """
    if precision != "fp32":
        yield
        return
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


@contextmanager
def untuned() -> Iterator[None]:
    """Keep cuDNN from trying all its algorithms within it, which takes seconds: for sizes that come once."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def has_bf16(device: torch.device) -> bool:
    """Return whether `device` computes in bf16 by itself; a CPU always counts, as it is slow there at worst."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)


def check_precision(requested: str, device: torch.device) -> None:
    """Check that a new run can be trained in this precision.

    Raises:
        UserError: bf16 on a card that has none; emulated it is slower than fp32.
    """
    if requested == "bf16" and not has_bf16(device):
        major, minor = torch.cuda.get_device_capability(device)
        raise UserError(
            f"--train.precision bf16: {describe(device)} has no bf16 (compute capability {major}.{minor}, it takes "
            f"8.0); use fp16, or auto, which is {choose_precision('auto', device)} here"
        )
