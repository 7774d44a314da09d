"""corolla gradients: the size of the gradient in every layer."""

from pathlib import Path

from corolla.commands.common import Paths, write_measured
from corolla.errors import DONE


def gradients(
    words: Paths,
    /,
    batches: int = 4,
    batch_size: int = 64,
    out: Path | None = None,
    data: Path | None = None,
    size: int | None = None,
    input_size: int | None = None,
    cache_dir: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> int:
    """Measure the gradient's norm in every layer, at the start of networks and at their checkpoints; CSV and figure.

    Args:
        words: folders of runs (their start, best.pt, last.pt and what --train.keep-every has kept), and names or TOML
            files of experiments (their start).
        batches: of training photos, over which the norms are averaged.
        batch_size: images of each.
        out: OUT.csv and OUT.png are written; default: comparisons/NAMES-gradients/gradients.
        data: the data folder; default: the one that each run was trained with, data for experiments.
        size: for experiments: which tfrecords-jpeg-SxS.
        input_size: for experiments: side of what the network sees.
        cache_dir: folder for the index; default: the user's cache.
        device: auto, cpu, cuda, cuda:1, mps.
        workers: decoding processes; default: by the number of cores.
    """
    from corolla.anatomy.gradients import gradients as gradients_of

    result = gradients_of(
        words, batches=batches, batch_size=batch_size, data=data, size=size, input_size=input_size,
        cache_dir=cache_dir, device=device, workers=workers,
    )  # fmt: skip
    print("\n".join(result.sentences))
    names = dict.fromkeys(row.run for row in result.rows)  # of two of one name their paths, which are no folder's name
    write_measured(result, [Path(name).name for name in names], "gradients", out)
    return DONE
