"""How a training in several processes begins: the leader prepares everything, and the others take it over.

They get the settings, the corrections and the checkpoint from the leader, so that none needs the run's folder: machines
need not share a disk. Each has the data, and what the settings name beside them (--train.teacher), at its own place.
"""

import contextlib
import dataclasses
import io
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from corolla.config import Config, TrainConfig, from_dict, to_dict
from corolla.data.corrections import Corrections, training_index
from corolla.data.folds import Folds
from corolla.data.index import load_index
from corolla.errors import FAILED, USER_ERROR, UserError
from corolla.runs.folder import Run
from corolla.runs.without_torch import read_without_tensors
from corolla.training.ranks import ALONE, PeerLostError, Ranks, joined, number_of_processes
from corolla.training.stop import Stop, stopping

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from corolla.device import Precision
    from corolla.training.batches import RunPhotos
    from corolla.training.loop import OnStep
    from corolla.training.state import TrainState


@dataclass(frozen=True)
class Start:
    """The beginning of a training, as the leader gives it to the others."""

    settings: dict[str, Any]
    """As in config.json."""
    precision: "Precision"
    """That training was given, whatever the settings ask for: the same for all processes."""
    corrections: Corrections | None
    folds: Folds | None
    checkpoint: bytes


@dataclass(frozen=True)
class Refusal:
    """The error by which a training does not begin."""

    host: str
    text: str
    status: int
    """The exit status of every process."""


@contextmanager
def together(run: Run) -> Iterator[Ranks]:
    """Meet the other processes that train `run`, where torchrun has started some; part from them at the end."""
    if number_of_processes() == 1:
        yield ALONE
        return
    with joined(_steps_done(run)) as ranks:
        if not ranks.leads:  # which says everything
            logging.getLogger("corolla").setLevel(logging.ERROR)
        yield ranks


def check_number(ranks: Ranks, train: TrainConfig, num_photos: int) -> None:
    """Check that each process has a part of each batch to compute.

    Args:
        num_photos: shown in an epoch.

    Raises:
        UserError: there are more processes.
    """
    if ranks.number == 1:
        return
    if train.accumulate == "auto":
        raise UserError(
            "--train.accumulate auto looks for the parts that one process needs: give several the number, "
            f"--train.accumulate {ranks.number} or more"
        )
    num_parts = min(train.accumulate, train.batch_size, num_photos)
    if ranks.number > num_parts:
        raise UserError(
            f"that is {ranks.number} processes, and a batch has {num_parts} part{'s' * (num_parts != 1)} "
            f"(--train.accumulate {train.accumulate}): start at most as many processes, or a run with as many parts"
        )


def _steps_done(run: Run) -> int:
    """Return how far the run is that lies on this machine, -1 where there is none that can be read."""
    try:
        return int(read_without_tensors(run.last)["progress"].get("step", 0))
    except (UserError, KeyError, AttributeError, TypeError):
        return -1


class Briefing:
    """Has the leader tell the others how training begins, or that it does not."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._is_given = ranks.number == 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if not self._is_given:
            refusal = None
            if error is not None:
                status = USER_ERROR if isinstance(error, UserError) else FAILED
                refusal = Refusal(socket.gethostname(), str(error) or type(error).__name__, status)
            with contextlib.suppress(PeerLostError):  # what has happened here is what the user has to know
                self._ranks.tell(refusal)

    def give(self, state: "TrainState", corrections: Corrections | None, folds: Folds | None) -> None:
        """Tell the others how training begins, and wait until all are ready.

        Raises:
            UserError: one of them is not; its message, with the machine.
        """
        if self._ranks.number == 1:
            return
        self._is_given = True
        settings = to_dict(state.config, with_runtime=False)
        content = io.BytesIO()
        state.write(content)
        self._ranks.tell(Start(settings, state.precision, corrections, folds, content.getvalue()))
        errors = self._ranks.gather(None)
        if said := next(filter(None, errors), None):
            raise UserError(said)


def follow(config: Config, run: Run, ranks: Ranks, on_step: "OnStep | None") -> None:
    """Train with the leader, from what it gives; what ends all processes is for the leader to say."""
    with stopping(None) as stop, contextlib.ExitStack() as stack:
        start = ranks.tell(None)
        if start is None:
            return
        if isinstance(start, Refusal):
            if start.host != socket.gethostname():  # else the leader has said it on the same screen
                log.error("process %d on %s: %s", ranks.leader, start.host, start.text)
            raise SystemExit(start.status)
        ready, fault = None, None
        try:
            ready = _take_over(start, config, run, stack, stop, ranks)
        except UserError as error:
            fault = f"process {ranks.rank} on {socket.gethostname()}: {error}"
        if any(ranks.gather(fault)) or ready is None:
            return
        from corolla.training.failures import NumbersFailed

        with contextlib.suppress(NumbersFailed):
            train_together(*ready, run, stop, ranks, on_step)


def _take_over(
    start: Start, config: Config, run: Run, stack: contextlib.ExitStack, stop: Stop, ranks: Ranks
) -> "tuple[TrainState, RunPhotos]":
    """Return the leader's state on this process's device, and the photos of this machine's data, which `stack` closes.

    Raises:
        UserError: the data are others, or something is missing here.
    """
    from corolla.device import find_device, use_deterministic
    from corolla.runs.checkpoint import read_checkpoint
    from corolla.training.batches import RunPhotos
    from corolla.training.begin import then_device
    from corolla.training.build import state_from
    from corolla.training.photos import settle_photos

    config = from_dict(start.settings, base=config, source="the leader's settings")
    index = load_index(config.data, config.size, config.cache_dir)
    index = training_index(index, config.train, start.corrections, folds=start.folds)
    use_deterministic(config.train.deterministic)
    content = read_checkpoint(io.BytesIO(start.checkpoint), run.last)
    photos = stack.enter_context(contextlib.closing(RunPhotos(index, stop, ranks)))
    device, ready = find_device(config.device), then_device(photos.load, config.device)
    given = _with_precision(config, start.precision)
    state = state_from(content, run.last, given, index, device, before_device=ready)
    # What was asked for decides how val is predicted, as it does in the leader and in corolla predict.
    state.meta = dataclasses.replace(state.meta, config=_with_precision(state.config, config.train.precision))
    settle_photos(state, index, begins=False)
    return state, photos


def _with_precision(config: Config, precision: str) -> Config:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, precision=precision))


def train_together(
    state: "TrainState", photos: "RunPhotos", run: Run, stop: Stop, ranks: Ranks, on_step: "OnStep | None"
) -> None:
    """Train with the other processes, where there are some.

    Raises:
        TrainingFailed: the numbers are not finite any more, or the device fails.
        PeerLostError: another process has ended.
    """
    from corolla.training.agreed_stop import AgreedStop
    from corolla.training.loop import fit

    if ranks.number == 1:
        fit(state, run, photos.index, stop, photos=photos, on_step=on_step)
        return
    agreed = AgreedStop(stop, ranks)
    with agreed.not_waiting_for_the_dead():
        fit(state, run, photos.index, agreed, photos=photos, on_step=on_step, ranks=ranks)
    if agreed.reason is not None and stop.reason is None:
        stop.request(agreed.reason)
