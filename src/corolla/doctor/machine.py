"""Examine torch, the device, memory and disks."""

import contextlib
import importlib.metadata
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from corolla.doctor.report import Finding, State
from corolla.session import in_kaggle
from corolla.text_files import shell_words

GB = 1e9
DISK_LEAST, DISK_ENOUGH = 1 * GB, 3 * GB  # enough: the photos of 224 px (0.7 GB), their index and a few runs
REPLACED = "begin a new session, whose own torch loads, and install corolla by the cell in docs/kaggle.md"


def torch_findings() -> Iterator[Finding]:
    """Examine torch, torchvision, which must be built for it, and the device that computes."""
    try:
        import torch
        import torchvision

        if not hasattr(torch.ops.torchvision, "nms"):
            raise RuntimeError("torchvision's compiled operators are missing")
    except Exception as error:  # libraries that don't fit each other raise whatever they like
        versions = ", ".join(f"{name} {version_of(name) or 'missing'}" for name in ("torch", "torchvision"))
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        remedy = REPLACED if in_kaggle() else "pip install --force-reinstall torch torchvision"
        yield Finding("torch", "fault", f"{versions} do not load: {reason}", remedy)
        return
    yield Finding("torch", "ok", f"{torch.__version__}, torchvision {torchvision.__version__}")
    from corolla.device import choose_device, choose_precision, describe, num_workers
    from corolla.nvidia import card_fault

    if fault := card_fault():
        yield Finding("device", "fault", fault.reason, fault.remedy)
        return
    device = choose_device()
    try:
        float((torch.ones(2, device=device) * 2).sum())
    except RuntimeError as error:  # one that is full, or was left broken by another process
        reason = str(error).splitlines()[0]
        remedy = "look with nvidia-smi what else is using it; or --device cpu"
        yield Finding("device", "fault", f"{describe(device)} does not compute: {reason}", remedy)
    else:
        workers = num_workers(None, device)
        text = f"{describe(device)} in {choose_precision('auto', device)}, {workers} worker{'s'[: workers > 1]}"
        yield Finding("device", "ok", text)
    if torch.cuda.device_count() > 1:
        text = f"{torch.cuda.device_count()} GPUs; one process uses one of them"
        yield Finding("device", "note", text, "corolla train ... --device cuda:1 runs a second one beside the first")


def version_of(package: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def memory_findings() -> Iterator[Finding]:
    """Examine memory, and the shared memory through which workers hand over their batches."""
    memory = _memory_bytes()
    little = memory is not None and memory < 4 * GB
    yield Finding(
        "memory",
        "note" if little else "ok",
        "this system does not tell how much there is" if memory is None else f"{memory / GB:.1f} GB",
        "--pipeline.workers 1 and a smaller --train.batch-size" if little else None,
    )
    shared = Path("/dev/shm")
    if shared.is_dir() and (size := shutil.disk_usage(shared).total) <= 64 * 2**20:
        text = f"/dev/shm has only {size / 2**20:.0f} MiB: workers may die of a bus error"
        yield Finding("memory", "note", text, "docker run --shm-size 1g ..., or --pipeline.workers 0")


def _memory_bytes() -> int | None:
    """Return the machine's memory, or a container's share of it; None where the system does not tell."""
    known = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # POSIX alone has sysconf, and not every name
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError):  # a container's limit (cgroup v2): bytes, or "max"
        known.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(known, default=None)


def disk_findings(places: dict[str, Path]) -> Iterator[Finding]:
    """Examine the free space, once for each disk."""
    disks: dict[int, tuple[Path, list[str]]] = {}
    for name, path in places.items():
        try:
            there = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
            disks.setdefault(there.stat().st_dev, (there, []))[1].append(f"{name} ({path})")
        except OSError as error:
            remedy = f"{shell_words('ls', '-ld', path)}, or name another place: --to, --runs, XDG_CACHE_HOME"
            yield Finding("disk", "fault", f"{name} ({path}) can't be looked at: {error.strerror}", remedy)
    for there, names in disks.values():
        free = shutil.disk_usage(there).free
        state: State = "fault" if free < DISK_LEAST else "note" if free < DISK_ENOUGH else "ok"
        remedy = f"make room ({shell_words('df', '-h', there)}), or name another disk: --to, --runs, XDG_CACHE_HOME"
        text = f"{free / GB:.1f} GB free for {', '.join(names)}"
        text += f"; 224 px and a few runs take {DISK_ENOUGH / GB:.0f} GB" if state != "ok" else ""
        yield Finding("disk", state, text, remedy if state != "ok" else None)
