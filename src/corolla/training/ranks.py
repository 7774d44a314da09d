"""The processes that train one run together, and what they tell each other beside each step's sum.

torchrun starts them (`--gpus` does so by itself) and sets RANK, WORLD_SIZE and LOCAL_RANK. All of them hold the same
weights and do the same steps, each on its own parts of the batch (data/parts.py). One leads: it alone writes. torch is
imported where there are several.
"""

import datetime
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from corolla.errors import Failure, UserError
from corolla.training.rendezvous import own_part

if TYPE_CHECKING:
    import torch

PATIENCE = datetime.timedelta(hours=2)
"""How long a process waits for the others: one may decode all photos, or download weights, before the first step."""

LETTING_GO_S = 0.1
"""How long a process stays after its last word to the others. gloo's threads let go of what was told or added with
Python's lock: one that still waits for it when Python ends takes the whole process down (SIGABRT; torch 2.14)."""


class PeerLostError(Failure):
    """Another process of the training has ended, or can't be reached."""

    is_consequence = True


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    number: int = 1
    leader: int = 0
    """The rank of the one that writes: usually 0, else one whose machine holds the run."""

    @property
    def leads(self) -> bool:
        """True for the one process that writes and speaks."""
        return self.rank == self.leader

    def tell(self, value: Any) -> Any:
        """Return what the leader gives, in every process."""
        if self.number == 1:
            return value
        import torch.distributed as dist

        box = [value if self.leads else None]
        with peers_needed():
            dist.broadcast_object_list(box, src=self.leader)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Return what each process gives, by rank, in every process."""
        if self.number == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.number
        with peers_needed():
            dist.all_gather_object(values, value)
        return values

    def add(self, values: "torch.Tensor") -> None:
        """Add the tensors of all processes, in place in each of them."""
        if self.number == 1:
            return
        import torch.distributed as dist

        with peers_needed():
            dist.all_reduce(values)


ALONE = Ranks()


@contextmanager
def peers_needed() -> Iterator[None]:
    """Have a process that is left alone end with one line.

    Raises:
        PeerLostError: another process has ended, or does not answer.
    """
    try:
        yield
    except RuntimeError as error:  # gloo's are plain ones
        import torch.distributed as dist

        reason = " ".join(str(error).split())
        words = ("connection", "timed out", "timeout", "peer", "nccl", "gloo", "socket")
        if not isinstance(error, dist.DistError) and not any(word in reason.lower() for word in words):
            raise
        raise PeerLostError(
            f"process {os.environ.get('RANK')} on {socket.gethostname()}: another process of this training has ended "
            f"or does not answer, so this one ends too; the same command goes on ({reason[:120]})"
        ) from None


def number_of_processes(environ: Mapping[str, str] = os.environ) -> int:
    """Return how many processes torchrun has started for this training; 1 without it."""
    by_torchrun = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= environ.keys()
    return int(environ["WORLD_SIZE"]) if by_torchrun else 1  # batch systems set some of them as well


def join(steps_done: int, environ: Mapping[str, str] = os.environ) -> Ranks:
    """Meet the other processes that torchrun has started; the one whose machine holds most of the run leads.

    Args:
        steps_done: in the run's folder on this machine, -1 where there is none.
    """
    number = number_of_processes(environ)
    if number == 1:
        return ALONE
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    if not dist.is_available():
        raise UserError("this torch can't train in several processes (torch.distributed is missing)")
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        with peers_needed():
            store, rank, _ = next(rendezvous("env://", timeout=PATIENCE))
            part = own_part(store, rank, number)
            dist.init_process_group(backend, store=part, rank=rank, world_size=number, timeout=PATIENCE)
    ranks = Ranks(dist.get_rank(), number)
    done = ranks.gather(steps_done)
    return Ranks(ranks.rank, number, leader=done.index(max(done)))


@contextmanager
def joined(steps_done: int) -> Iterator[Ranks]:
    """Meet the other processes as `join` does, and part from them at the end."""
    ranks = join(steps_done)
    try:
        yield ranks
    finally:
        if ranks.number > 1:
            import torch.distributed as dist

            time.sleep(LETTING_GO_S)
            dist.destroy_process_group()


def own_device(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the name of this process's device: each on a machine has a GPU of its own, in their order.

    Raises:
        UserError: there are not as many, or one is named by its number.
    """
    if number_of_processes(environ) == 1 or name == "cpu":
        return name
    local = int(environ.get("LOCAL_RANK", "0"))
    if name == "mps" or ":" in name:
        raise UserError(f"--device {name}: is one device; several processes take cuda, each a GPU of its own, or cpu")
    import torch

    num_gpus = torch.cuda.device_count()
    if name == "auto" and not num_gpus:
        return "cpu"
    if local >= num_gpus:
        number = environ.get("LOCAL_WORLD_SIZE", local + 1)
        raise UserError(
            f"this machine has {num_gpus} GPU{'s' * (num_gpus != 1)} for {number} processes: start as many as there "
            "are GPUs (torchrun --nproc-per-node), or give --device cpu"
        )
    return f"cuda:{local}"


def start_device(name: str) -> "torch.device":
    """Return the device that `own_device` has named, after starting it.

    Raises:
        UserError: torch cannot use it.
    """
    from corolla.device import choose_device

    if number_of_processes() > 1 and name.startswith("cuda"):
        import torch

        torch.cuda.set_device(name)  # streams and sums are on the current one
    return choose_device(name)
