"""The cost of training on other machines: a closed formula, and a simulation of the same pipeline to check it with.

Synchronous data parallelism: every GPU takes a batch, and their gradients are averaged by a ring all-reduce (Patarasuk
and Yuan 2009) that runs while the backward pass is still under way (Li et al. 2020, "PyTorch Distributed").
"""

import heapq
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The constants, as `corolla bench` measures them or a data sheet states them."""

    data_us: float
    """Core-microseconds that the input pipeline spends on an image."""
    step_us: float
    """Microseconds of an image in the model's step on one GPU (or on all cores, where the CPU trains)."""
    batch_size: int = 64
    """Images of a batch on one GPU."""
    jpeg_bytes: float = 65e3
    disk_bytes_per_s: float = 1e9
    """Bytes a second of reading; 0: everything is in memory."""
    gradient_bytes: float = 94e6
    """4 bytes a parameter; ResNet-50 with 104 classes has 23.7 million."""
    link_bytes_per_s: float = 25e9
    """Between two neighbours of the ring."""
    link_latency_us: float = 10.0
    backward_share: float = 0.67
    """Part of the step that the all-reduce can hide behind."""
    cores_train: bool = False
    """The CPU trains, so that data and step share its cores."""


@dataclass(frozen=True)
class Rate:
    """A rate of images/s, and the resource that limits it."""

    images_per_s: float
    limit: str


def all_reduce_us(machine: Machine, gpus: int) -> float:
    """Return the microseconds of summing the gradients.

    Each of n GPUs sends and receives 2 (n - 1) / n of them, in 2 (n - 1) messages.
    """
    if gpus == 1:
        return 0.0
    moved_s = 2 * (gpus - 1) / gpus * machine.gradient_bytes / machine.link_bytes_per_s
    return moved_s * 1e6 + 2 * (gpus - 1) * machine.link_latency_us


def step_us(machine: Machine, gpus: int) -> float:
    """Return the microseconds of a batch on each GPU, with what the backward pass cannot hide of the all-reduce."""
    compute = machine.batch_size * machine.step_us
    return compute + max(0.0, all_reduce_us(machine, gpus) - machine.backward_share * compute)


def predicted_rate(machine: Machine, gpus: int, cores: int) -> Rate:
    """Return the rate of the slowest of disk, cores and GPUs; where the CPU trains, data and step take turns."""
    if machine.cores_train:
        return Rate(1e6 / (machine.step_us + machine.data_us / cores), "step")
    stage = step_us(machine, gpus)
    hidden = stage <= machine.batch_size * machine.step_us
    rates = {
        "cores": cores / machine.data_us * 1e6,
        "step" if hidden else "all-reduce": gpus * machine.batch_size / stage * 1e6,
    }
    if machine.disk_bytes_per_s:
        rates["disk"] = machine.disk_bytes_per_s / machine.jpeg_bytes
    limit = min(rates, key=lambda name: rates[name])
    return Rate(rates[limit], limit)


def cores_to_keep_up(machine: Machine, gpus: int) -> float:
    """Return the number of cores that feed so many GPUs; with fewer the cores are the bottleneck."""
    return gpus * machine.batch_size / step_us(machine, gpus) * machine.data_us


def simulated_rate(
    machine: Machine, gpus: int, cores: int, *, steps: int = 400, spread: float = 0.1, seed: int = 0
) -> float:
    """Return the images/s of a simulation, event by event.

    Workers make batches, two ahead each, and the GPUs wait for the slowest of themselves.

    `spread` is the standard deviation of a batch's and a step's time, as a share of its mean (log-normal): what the
    closed formula leaves out.
    """
    rng = np.random.default_rng(seed)
    sigma = float(np.sqrt(np.log1p(spread**2)))

    def drawn(mean: float) -> float:
        return mean * float(np.exp(rng.normal(-(sigma**2) / 2, sigma)))

    make_us = machine.batch_size * machine.data_us
    disk_us = (
        machine.batch_size * machine.jpeg_bytes / machine.disk_bytes_per_s * 1e6 if machine.disk_bytes_per_s else 0
    )
    free = [0.0] * cores  # when each worker is idle
    ahead = 2 * max(cores, gpus)  # two a worker, and each GPU has one at least
    disk_free, ready, taken = 0.0, [], []
    now, step = 0.0, step_us(machine, gpus)
    start = 0.0
    for number in range(steps):
        for batch in range(gpus):
            position = number * gpus + batch
            worker = heapq.heappop(free)
            # No more than so many are made ahead: the batch so many places before must have been taken.
            allowed = taken[position - ahead] if position >= ahead else 0.0
            disk_free = max(disk_free, worker, allowed) + disk_us
            done = max(worker, allowed, disk_free) + drawn(make_us)
            heapq.heappush(free, done)
            ready.append(done)
        now = max(now, *ready[-gpus:])
        taken += [now] * gpus
        if number == steps // 4:
            start = now  # what was made ahead at the start does not count
        now += max(drawn(step) for _ in range(gpus))
    counted = steps - steps // 4 - 1
    return counted * gpus * machine.batch_size / (taken[-1] - start) * 1e6
