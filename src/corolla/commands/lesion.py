"""corolla lesion: trained networks without some of their blocks."""

from pathlib import Path

from corolla.commands.common import Paths, without_others, write_measured
from corolla.data.competition import SplitName
from corolla.errors import DONE
from corolla.runs.folder import CheckpointName


def lesion(
    runs: Paths,
    /,
    split: SplitName = "val",
    checkpoint: CheckpointName = "last",
    draws: int = 5,
    seed: int = 0,
    out: Path | None = None,
    data: Path | None = None,
    cache_dir: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> int:
    """Score trained networks with blocks left out, one by one and at random, and in another order; CSV and figure.

    Veit et al. 2016, "Residual networks behave like ensembles of relatively shallow networks". Of a plain network the
    pairs of layers that correspond to a block are left out, one at a time.

    Args:
        runs: folders of runs, residual and plain ones; one figure holds them all.
        split: one with labels.
        checkpoint: last, or best: chosen on val, so its scores there are optimistic.
        draws: random draws of each number of blocks, and of each number of exchanges.
        seed: decides the draws; they are the same for all runs of as many blocks.
        out: OUT.csv and OUT.png are written; default: comparisons/NAMES-lesions/lesions.
        data: the data folder; default: the one that each run was trained with.
        cache_dir: folder for the index; default: the user's cache.
        device: auto, cpu, cuda, cuda:1, mps.
        workers: decoding processes; default: by the number of cores.
    """
    from corolla.anatomy.lesion import lesion as lesion_of

    runs = without_others(runs)
    result = lesion_of(
        runs, split=split, checkpoint=checkpoint, draws=draws, seed=seed, data=data, cache_dir=cache_dir,
        device=device, workers=workers,
    )  # fmt: skip
    print("\n".join([*result.sentences, *result.notes]))
    write_measured(result, [run.resolve().name for run in runs], "lesions", out)
    return DONE
