"""A split on several GPUs of this machine: each has a process of its own, and every so many-th batch.

The processes are started anew, not forked, as CUDA wants it, and not by multiprocessing, which would run a user's
script once more. What they are given and what they give goes through a folder of files that nobody else can write to.
"""

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from corolla.data.competition import SplitName
from corolla.data.index import Index
from corolla.data.transforms.tta import Views
from corolla.started_process import raise_error_of, status_of


@dataclass(frozen=True)
class Share:
    """The part of a split that a process computes: its batches `rank`, `rank` + `num_ranks`, ..."""

    checkpoints: tuple[tuple[Path, str], ...]
    """Each with its SHA-256."""
    index: Index
    split: SplitName
    views: Views
    bad_images: Literal["stop", "grey"]
    batch_size: int
    workers: int | None
    device: str
    rank: int = 0
    num_ranks: int = 1


def compute_share(share: Share) -> NDArray[np.float32]:
    """Return the probabilities N x networks x classes of a split, 0 in the rows of photos that are in others' shares.

    Raises:
        UserError: an image does not decode, or a run has another checkpoint by now.
        Failure: the device fails, or its memory is too small for one view.
    """
    from corolla.data.dataset import TFRecordDataset
    from corolla.data.hand_over import HandOver
    from corolla.data.loader import Source, Workers
    from corolla.data.sampler import EvalBatchSampler
    from corolla.data.transforms.joined import JoinedTransform
    from corolla.data.transforms.views import ViewsTransform
    from corolla.device import choose_device, find_device, num_workers
    from corolla.device_errors import faults_told
    from corolla.evaluation.inference import predict_batches
    from corolla.evaluation.together import NetworksTogether
    from corolla.evaluation.tta_model import TTAModel, images_at_once
    from corolla.runs.checkpoint import load_unchanged, rebuild_model

    device = find_device(share.device)
    dataset = TFRecordDataset(share.index, share.split, bad_images=share.bad_images)
    built = [rebuild_model(load_unchanged(path, digest)) for path, digest in share.checkpoints]
    all_square = dataset.all_square()
    transforms = [
        ViewsTransform(
            meta.input_size,
            share.views,
            crop_fraction=meta.preprocessing.crop_fraction,
            interpolation=meta.preprocessing.interpolation,
            augment=meta.config.augment,
            all_square=all_square,
        )
        for _, meta in built
    ]
    dataset.transform = joined = JoinedTransform(transforms)
    largest = max(
        images_at_once(transform, meta.input_size, share.batch_size)
        for (_, meta), transform in zip(built, transforms, strict=True)
    )
    sampler = EvalBatchSampler(len(dataset), largest, share.rank, share.num_ranks)
    smaller = "use --device cpu" if device.type != "cpu" else "use --workers 0"  # fewer views were tried by then
    number = num_workers(share.workers, device, share.num_ranks)
    with (
        faults_told(device, "in prediction", memory=f"close other programs that hold it, or {smaller}"),
        closing(Workers([Source(dataset, largest)], number)) as workers,  # forked before CUDA starts
    ):
        choose_device(share.device)
        networks = [
            TTAModel(model, meta, transform, device=device, batch_size=share.batch_size)
            for (model, meta), transform in zip(built, transforms, strict=True)
        ]
        plan = ((0, samples) for samples in sampler)
        with closing(workers.batches(plan, HandOver.to(device))) as batches:
            probabilities = predict_batches(
                NetworksTogether(networks, joined),
                dataset,
                batches,
                total=sampler.num_own,
                title=f"predict {share.split}",
                num_networks=len(networks),
                progress=share.rank == 0,
            )
    assert probabilities is not None, "nothing stops it"
    return probabilities


def compute_in_processes(share: Share, devices: Sequence[str]) -> NDArray[np.float32]:
    """Return the probabilities of a whole split, N x networks x classes, computed on several devices.

    Raises:
        UserError, Failure: what one of the processes has raised.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, started = Path(name), list[subprocess.Popen[bytes]]()
        for rank, device in enumerate(devices):
            own = folder / f"{rank}.pickle"
            values = {**vars(share), "device": device, "rank": rank, "num_ranks": len(devices)}
            own.write_bytes(pickle.dumps(Share(**values)))
            command = [sys.executable, "-m", "corolla.evaluation.share", str(own)]
            environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # a notebook may add to it
            process = subprocess.Popen(command, env=environ)
            stack.callback(_end, process)
            started.append(process)
        statuses = [process.wait() for process in started]
        for rank, status in enumerate(statuses):
            if status:
                raise_error_of(f"a process on {devices[rank]}", folder / f"{rank}.error")
        shares = [np.load(folder / f"{rank}.npy") for rank in range(len(devices))]
    probabilities = shares[0]
    for other in shares[1:]:
        probabilities += other  # 0 but for its own rows
    return probabilities


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait()


def main(path: Path) -> int:
    """Compute the share in a file, and return the exit status."""
    from corolla import logs

    share: Share = pickle.loads(path.read_bytes())  # of the process that has started this one
    if share.rank == 0:
        logs.to_screen()
    return status_of(lambda: np.save(path.with_suffix(".npy"), compute_share(share)), path.with_suffix(".error"))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
