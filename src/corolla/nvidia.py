"""Tell why this torch cannot use the NVIDIA card that the machine shows, and what to do about it.

Without this a session with a card would train on its CPU without a word, a hundred times slower, or fail in the first
kernel with a text that does not name the cause (pytorch#31285). torch is imported where it is asked: `visible_card`
tells without it whether there is a card.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from corolla.session import in_kaggle

DEVICES = Path("/dev")
OTHERWISE = "or --device cpu, which is many times slower"
ON_KAGGLE = f"choose the accelerator GPU T4 x2 in the session's settings, {OTHERWISE}"
REPLACED = (
    "this session's own torch was replaced: begin a new session, and install corolla by the cell in docs/kaggle.md, "
    f"which leaves torch alone, {OTHERWISE}"
)


@dataclass(frozen=True)
class CardFault:
    """Why a card that is there computes nothing for this torch, and the remedy."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.remedy}"


def card_fault(index: int = 0) -> CardFault | None:
    """Return why this torch cannot use the machine's NVIDIA card; None where it can, or where there is none.

    Args:
        index: which of the cards that torch sees.
    """
    import torch

    if torch.version.hip is not None:
        return None
    if torch.cuda.is_available():
        return _missing_kernels(index)
    card = visible_card()
    return None if card is None else _no_cuda(card)


def visible_card() -> str | None:
    """Return the NVIDIA card that the machine shows; None where there is none, or where it is hidden on purpose."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return None
    names = _names_by_smi()
    if names:
        return names[0]
    return "an NVIDIA card" if next(DEVICES.glob("nvidia[0-9]*"), None) is not None else None


def _names_by_smi() -> list[str]:
    """Return what nvidia-smi lists; Windows and its Linux have no /dev/nvidia0."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        done = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return []
    return re.findall(r"^GPU \d+: (.+?)(?: \(UUID.*)?$", done.stdout, re.MULTILINE) if done.returncode == 0 else []


def _no_cuda(card: str) -> CardFault:
    """Say why CUDA does not begin at all, by what torch itself reports."""
    import torch

    there = f"{card} is here, but this torch ({torch.__version__})"
    if torch.version.cuda is None:
        remedy = f"install a build for CUDA (pip install --force-reinstall torch torchvision), {OTHERWISE}"
        return CardFault(f"{there} is built for CPUs alone", REPLACED if in_kaggle() else remedy)
    try:
        torch.cuda.init()
        reason = "sees none"
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())
    if found := re.search(r"driver on your system is too old \(found version (\d+)\)", reason):
        supported = f"{int(found[1]) // 1000}.{int(found[1]) % 1000 // 10}"
        reason = f"is built for CUDA {torch.version.cuda}, and the driver takes CUDA {supported} at most"
        remedy = f"update the NVIDIA driver, or install a torch that is built for CUDA {supported}, {OTHERWISE}"
        return CardFault(f"{there} {reason}", REPLACED if in_kaggle() else remedy)
    remedy = "look whether nvidia-smi lists it, and start the session (the machine, the container) again"
    return CardFault(f"{there} can't use it: {_first_sentence(reason)}", f"{remedy}, {OTHERWISE}")


def _missing_kernels(index: int) -> CardFault | None:
    """Say that torch has no kernels for a card: too old for it (Kaggle's P100), or too new."""
    import torch

    kernels = torch.cuda.get_arch_list()
    major, minor = torch.cuda.get_device_capability(index)
    if not kernels or any(_runs(kernel, major, minor) for kernel in kernels):
        return None
    name = torch.cuda.get_device_name(index)
    reason = f"{name} needs kernels for sm_{major}{minor}, and this torch ({torch.__version__}) has {' '.join(kernels)}"
    too_old = all((major, minor) < _version(kernel)[:2] for kernel in kernels)
    remedy = f"install {'an older' if too_old else 'a newer'} torch, whose list has it, {OTHERWISE}"
    return CardFault(reason, ON_KAGGLE if in_kaggle() else remedy)


def _version(kernel: str) -> tuple[int, int, str]:
    """Return major, minor and suffix of a name of nvcc's, such as sm_90a or compute_120."""
    found = re.fullmatch(r"(?:sm|compute)_(\d+)(\d)([a-z]*)", kernel)
    return (int(found[1]), int(found[2]), found[3]) if found else (0, 0, "?")


def _runs(kernel: str, major: int, minor: int) -> bool:
    """Return whether a card of this capability runs a kernel.

    Machine code (sm) runs on the same major version from its minor one on, PTX (compute) on everything that is newer;
    with an `a` behind it on that very card alone (CUDA C++ Programming Guide, "Binary compatibility").
    """
    of_major, of_minor, suffix = _version(kernel)
    if suffix == "a":
        return (of_major, of_minor) == (major, minor)
    if kernel.startswith("compute"):
        return (of_major, of_minor) <= (major, minor)
    return of_major == major and of_minor <= minor


def _first_sentence(text: str) -> str:
    return re.split(r"(?<!e\.g)\. ", text)[0].rstrip(".")
