"""The cost of --train.compile, told when it is paid: at the first step."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from corolla.device import synchronize
from corolla.training.state import TrainState

log = logging.getLogger(__name__)


@contextmanager
def compiling_told(state: TrainState) -> Iterator[None]:
    """Log how long the step within it takes, where it is the one in which the network is compiled."""
    if state.has_compiled or not state.config.train.compile:
        yield
        return
    start = time.perf_counter()
    yield
    synchronize(state.device)
    state.has_compiled = True
    log.info(
        "--train.compile: the first step took %.0f s; images of another size may take as long once more",
        time.perf_counter() - start,
    )
