"""The way of a batch from the memory that workers fill to the device that computes.

On a CPU it stays where it is. A GPU copies it straight from there: the memory is page-locked once, so that a copy is
only launched, on a stream of its own, and the main process neither copies nor allocates nor waits. (torch's
pin_memory() for each batch, which does all three, cost 3 to 6 ms of it on an H100's host.)
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray


class Batch(NamedTuple):
    """A batch of N photos: images N x H x W x 3 or N x views x H x W x 3 (uint8), labels and indices N (int64)."""

    images: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor


class HandOver:
    """Hands on batches where they lie, as the CPU takes them, or any device that shares no memory with it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @staticmethod
    def to(device: torch.device) -> "HandOver":
        """Return the way to a device."""
        return HandOverToGPU(device) if device.type == "cuda" else HandOver(device)

    @contextmanager
    def page_locked(self, memory: NDArray[np.uint8] | None) -> Iterator[None]:
        """Lock the pages of the memory that batches come from, where that makes copies faster."""
        yield

    def batches(self, made: Iterable[Batch]) -> Generator[Batch, None, None]:
        """Yield each batch on the device."""
        for batch in made:
            yield Batch(batch.images.to(self.device), batch.labels.to(self.device), batch.indices)


class Arrival(Protocol):
    """A moment on the GPU, as torch.cuda.Event has it."""

    def query(self) -> bool:
        """Return whether it has come."""
        ...


class HandOverToGPU(HandOver):
    """Copies each batch on a stream of its own, while the network works on the one before."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._stream: torch.cuda.Stream | None = None

    @contextmanager
    def page_locked(self, memory: NDArray[np.uint8] | None) -> Iterator[None]:
        """Lock the pages while batches are made; where the system allows no more, the driver copies on its own way."""
        is_locked = memory is not None and self.lock(memory)
        try:
            yield
        finally:
            if is_locked:
                assert memory is not None
                self.unlock(memory)

    def batches(self, made: Iterable[Batch]) -> Generator[Batch, None, None]:
        """Yield each batch on the GPU, when the copy of the next one is launched."""
        copying: deque[tuple[Batch, Arrival]] = deque()  # what is copied is kept until it has arrived
        waiting: tuple[Batch, Arrival] | None = None
        try:
            for batch in made:
                while copying and copying[0][1].query():
                    copying.popleft()
                copied, arrival = self.launch(batch)
                copying.append((batch, arrival))
                if waiting is not None:
                    yield self.received(*waiting)
                waiting = copied, arrival
                del batch, copied
            if waiting is not None:
                yield self.received(*waiting)
        finally:
            self.finish()

    def lock(self, memory: NDArray[np.uint8]) -> bool:
        """Page-lock memory; False where the system does not allow it."""
        runtime = torch.cuda.cudart()
        assert runtime is not None
        return int(runtime.cudaHostRegister(memory.ctypes.data, memory.nbytes, 0)) == 0

    def unlock(self, memory: NDArray[np.uint8]) -> None:
        """Let go of memory that `lock` has page-locked, when all copies from it are done."""
        self.finish()
        runtime = torch.cuda.cudart()
        assert runtime is not None
        runtime.cudaHostUnregister(memory.ctypes.data)

    def launch(self, batch: Batch) -> tuple[Batch, Arrival]:
        """Launch the copy of a batch, and return it with the moment of its arrival."""
        if self._stream is None:
            self._stream = torch.cuda.Stream(self.device)
        with torch.cuda.stream(self._stream):
            images, labels = (t.to(self.device, non_blocking=True) for t in (batch.images, batch.labels))
        arrival = torch.cuda.Event()
        arrival.record(self._stream)
        return Batch(images, labels, batch.indices), arrival

    def received(self, batch: Batch, arrival: Arrival) -> Batch:
        """Return `batch`, after having the network's stream (not the host) wait for its copy."""
        assert isinstance(arrival, torch.cuda.Event)
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(arrival)
        for tensor in (batch.images, batch.labels):
            tensor.record_stream(stream)  # its memory is not given away before the network has read it
        return batch

    def finish(self) -> None:
        """Wait for what is still copied, before its memory is unlocked."""
        if self._stream is not None:
            self._stream.synchronize()
