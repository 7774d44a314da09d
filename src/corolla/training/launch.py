"""--gpus: a run trained by several processes of this machine, each on a GPU of its own, started as torchrun does it."""

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from corolla.config import Config, to_dict
from corolla.errors import STOPPED, UserError
from corolla.started_process import raise_error_of
from corolla.training.ranks import number_of_processes

SAVING_S = 600
"""Seconds that processes which are asked to stop have for their step and a checkpoint."""


def processes_here(config: Config, num_parts: int | None) -> int:
    """Return how many processes this one is to start for a run, 1 for none.

    Args:
        num_parts: of each batch; None where --train.accumulate auto is still to find it.

    Raises:
        UserError: --gpus asks for more than there are GPUs, or parts.
    """
    if number_of_processes() > 1 or (config.gpus is None and (num_parts in (None, 1) or config.device != "auto")):
        return 1
    import torch

    num_gpus = torch.cuda.device_count()
    if config.gpus is None:
        return max(1, min(num_parts or 1, num_gpus))
    number = num_gpus if config.gpus == "all" else config.gpus
    asked = f"--gpus {config.gpus}"
    if config.device not in ("auto", "cuda"):
        raise UserError(f"{asked}: --device {config.device} is another choice of where to train: give one of the two")
    if not 0 < number <= num_gpus:
        raise UserError(
            f"{asked}: torch sees {num_gpus or 'no'} GPU{'s' * (num_gpus != 1)} here (corolla doctor says more); on "
            "CPUs torchrun --nproc-per-node N -m corolla train ... trains in several processes"
        )
    if num_parts is not None and number > num_parts:
        raise UserError(
            f"{asked}: that is {number} processes, and a batch has {num_parts} part{'s' * (num_parts != 1)}: begin a "
            f"run with --train.accumulate {number}, by which batch norm sees a part at a time"
        )
    return number


def train_in_processes(config: Config, experiment: str, explicit: Collection[str], number: int) -> None:
    """Train in `number` processes, until they are done or were stopped.

    Raises:
        UserError, Failure: what one of them has raised.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.json"
        values = {"config": to_dict(config), "experiment": experiment, "explicit": sorted(explicit)}
        path.write_text(json.dumps(values), encoding="utf-8")
        run_processes(number, "corolla.training.process", path)


def run_processes(number: int, module: str, path: Path) -> None:
    """Run `python -m module path` in processes that meet as torchrun's do, until all have ended or were stopped.

    Args:
        number: of the processes.
        module: whose errors they leave in a file beside `path`, with the ending ".error".
        path: tells them what to do.

    Raises:
        UserError, Failure: what one of them has raised.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SAVING_S))
    with _as_before():
        plan = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=number,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
        )
        try:
            elastic_launch(plan, sys.executable)("-m", module, str(path))
        except SignalException:  # which the processes got as well, and have saved
            return
        except ChildFailedError as error:
            if STOPPED in {failure.exitcode for failure in error.failures.values()}:
                return
            raise_error_of("one of the processes", path.with_suffix(".error"))


@contextmanager
def _as_before() -> Iterator[None]:
    """Keep torch's own reports from the screen, and put back the handlers of signals that it replaces."""
    log = logging.getLogger("torch.distributed.elastic")
    level = log.level
    log.setLevel(logging.CRITICAL)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        log.setLevel(level)
        if threading.current_thread() is threading.main_thread():  # in others torch replaces none
            for number, handler in handlers.items():
                signal.signal(number, handler)
