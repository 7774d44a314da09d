"""Choose the device, its precision, and the number of worker processes that feed it."""

import os
from typing import Literal

import torch

from corolla.errors import UserError
from corolla.nvidia import card_fault
from corolla.parallel import num_cores

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of this name; `auto` is the first CUDA device, else Apple's, else the CPU.

    Raises:
        UserError: a device that this machine does not have, or an NVIDIA card that this torch cannot use: `auto` does
            not take the CPU in its place without a word.
    """
    if name == "auto":
        if fault := card_fault():
            raise UserError(str(fault))
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator if accelerator is not None and accelerator.type in ("cuda", "mps") else torch.device("cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        if "out of memory" in str(error):
            remedy = "nvidia-smi lists who holds it; free it, or use --device cpu"
            raise UserError(f"--device {name}: it is there, and has no memory left at all: {remedy}") from None
        if name.startswith("cuda") and not torch.cuda.is_available() and (fault := card_fault()):
            raise UserError(f"--device {name}: {fault}") from None
        raise UserError(f"--device {name}: this machine has no such device; try auto or cpu") from None
    if device.type == "cuda" and (fault := card_fault(device.index or 0)):
        raise UserError(f"--device {name}: {fault}")
    return device


def find_device(name: str = "auto") -> torch.device:
    """Return the device that `choose_device` does, without starting CUDA: there is still time to fork.

    A card that is listed is not tried, so that `choose_device` may yet refuse it.

    Raises:
        UserError: a device that this machine does not have.
    """
    cards = ["auto", "cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if torch.cuda.is_available() and name in cards:
        return torch.device("cuda" if name == "auto" else name)
    return choose_device(name)


def synchronize(device: torch.device) -> None:
    """Wait until a device has done everything that was launched on it."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def choose_precision(requested: str, device: torch.device) -> Precision:
    """Return the precision asked for; `auto` is bf16 where it is native, fp16 on older GPUs, else fp32."""
    if requested in ("fp32", "bf16", "fp16"):
        if requested == "fp16" and device.type == "cpu":
            raise UserError("--train.precision fp16 needs a GPU; use auto, bf16 or fp32 on a CPU")
        return requested
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    if device.type == "cpu":
        return "bf16" if _cpu_multiplies_bf16() else "fp32"
    return "fp32"


def _cpu_multiplies_bf16() -> bool:
    """Return whether the CPU has instructions for bf16, without which it is slower than fp32."""
    if hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    # torch before 2.11
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return a context in which matrix products are computed in reduced precision; it does nothing in fp32."""
    return torch.autocast(device.type, dtype=DTYPES[precision], enabled=precision != "fp32")


def use_deterministic(deterministic: bool) -> None:
    """Have CUDA give the same bits every time, or let it choose the fastest algorithms; call it before CUDA starts."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic


def num_workers(requested: int | None, device: torch.device, num_processes: int | None = None) -> int:
    """Return the number of decoding processes: one a core beside a GPU, half of that where the CPU trains as well.

    Args:
        num_processes: that share the cores; default: those that torchrun has started on this machine.
    """
    if requested is not None:
        return requested
    cores = num_cores() // (num_processes or int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return max(1, cores if device.type != "cpu" else cores // 2)


def describe(device: torch.device) -> str:
    """Return the device with its hardware: `cuda (Tesla T4)`, `cpu (2 cores)`."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({num_cores()} cores)"


def idle_gpus(device: torch.device, num_processes: int = 1) -> str | None:
    """Return a hint how to use the GPUs of this machine that a run leaves idle; None where there are none.

    There is no hint either if the user chose a GPU by its index: the others may be in use on purpose.

    Args:
        device: of this process.
        num_processes: of the run.
    """
    in_use = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if num_processes > 1 else 1
    number = torch.cuda.device_count() if device.type == "cuda" else 0
    if number <= in_use or (num_processes == 1 and device.index is not None):
        return None
    idle = [f"cuda:{n}" for n in range(in_use, number)]
    listed = ", ".join(f"{name} ({torch.cuda.get_device_name(name)})" for name in idle)
    parts = num_processes + len(idle)
    return (
        f"{listed} {'is' if len(idle) == 1 else 'are'} idle: a run in {parts} parts uses all (--train.accumulate "
        f"{parts}; batch norm then sees a part at a time, which decides the result), or train another beside it with "
        f"--device {idle[0]} --run-name NAME"
    )


def peak_memory_mib(device: torch.device) -> float:
    """Return the peak memory so far in MiB: allocated on a CUDA device, else resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource  # POSIX alone has it
    except ModuleNotFoundError:
        return 0.0
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
