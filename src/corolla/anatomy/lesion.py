"""`corolla lesion`: what is left of trained networks when blocks are left out or change places.

Veit, Wilber and Belongie 2016, "Residual networks behave like ensembles of relatively shallow networks", section 4:
one block left out, several at random, the order shuffled; and the same pairs of layers out of a plain network.
"""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from corolla.anatomy.arguments import checked_words
from corolla.data.competition import SplitName
from corolla.paths import AnyPath, AnyPaths, as_path
from corolla.results import Result
from corolla.runs.folder import CheckpointName, open_run

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from corolla.anatomy.blocks import Block
    from corolla.anatomy.scoring import Scorer

log = logging.getLogger(__name__)

Kind = Literal["whole", "one", "random", "order"]
MOST_COUNTS = 10
"""Numbers of blocks left out at random that are tried, from one to all, at even distances."""


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A change of a network, and its scores."""

    run: str
    network: str
    kind: Kind
    """whole: nothing is changed; one block left out; k blocks left out at random; the order within stages changed."""
    block: str | None = None
    """Name of the one block that is left out."""
    k: int | None = None
    """Number of blocks left out at random."""
    tau: float | None = None
    """Kendall's rank correlation of the order of the blocks with their own: 1 is unchanged."""
    draw: int = 0
    """Number of the random draw, from 0."""
    macro_f1: float
    top1: float


@dataclass(frozen=True, repr=False)
class Lesions(Result):
    """Scores of networks with lesions."""

    split: SplitName
    checkpoint: CheckpointName
    rows: tuple[Lesion, ...]
    notes: tuple[str, ...] = ()
    """Blocks of plain networks that could not be left out, a line a run."""

    @property
    def sentences(self) -> list[str]:
        """A line per run: the scores of the whole network, with one block left out, with half of them, reordered."""
        return [self._sentence(run) for run in dict.fromkeys(row.run for row in self.rows)]

    def _sentence(self, run: str) -> str:
        rows = [row for row in self.rows if row.run == run]
        (whole,) = [row for row in rows if row.kind == "whole"]
        ones = sorted((row for row in rows if row.kind == "one"), key=lambda row: row.macro_f1)
        said = f"{run} ({whole.network}): macro F1 {whole.macro_f1:.3f}"
        if ones:
            median = float(np.median([row.macro_f1 for row in ones]))
            said += f"; one of {len(ones)} blocks left out: median {median:.3f}, least {ones[0].macro_f1:.3f} "
            said += f"({ones[0].block})"
        if counts := sorted({row.k for row in rows if row.k is not None}):
            half = min(counts, key=lambda count: abs(count - len(ones) / 2))
            mean = float(np.mean([row.macro_f1 for row in rows if row.k == half]))
            said += f"; {half} at random: {mean:.3f}"
        if orders := [row for row in rows if row.tau is not None]:
            least = min(orders, key=lambda row: row.tau or 0.0)
            said += f"; order shuffled to tau {least.tau:.2f}: {least.macro_f1:.3f}"
        return said

    @property
    def summary(self) -> str:
        """All of `sentences`."""
        return "; ".join(self.sentences)

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row a lesion: run, network, kind, block, k, tau, draw, macro_f1, top1."""
        import pandas as pd

        table = pd.DataFrame([asdict(row) for row in self.rows], columns=list(Lesion.__annotations__))
        return table.astype({"k": "Int64"})

    def figure(self) -> "Figure":
        """Draw macro F1 by the block left out, by the number left out at random, and by the order's tau."""
        from corolla.anatomy.figures import lesion_figure

        return lesion_figure(self.to_pandas(), score=f"macro F1 on {self.split}, {self.checkpoint}.pt")


def lesion(
    runs: AnyPaths,
    *,
    split: SplitName = "val",
    checkpoint: CheckpointName = "last",
    draws: int = 5,
    seed: int = 0,
    data: AnyPath | None = None,
    cache_dir: AnyPath | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> Lesions:
    """Score trained networks without single blocks, without several, and with their blocks in another order.

    The photos are decoded once, and computed in fp32, centre crop, with the moving average where it is on. Nothing is
    trained, and batch norms keep their statistics, as in the paper.

    Args:
        runs: folders of runs; of residual and plain networks alike.
        split: one with labels.
        draws: random draws of each number of blocks, and of each number of exchanges.
        seed: decides them; the same for all runs.
        data: the data folder; default: the one each run was trained with.
        cache_dir: folder for the index; default: the user's cache.
        device: auto, cpu, cuda, cuda:1, mps.
        workers: decoding processes; default: by the number of cores.

    Raises:
        UserError: no runs, one of them twice, no such split or checkpoint, photos without labels, or a network without
            blocks.
        Failure: a network's numbers are not finite.
    """
    folders = checked_words(runs, "run's folder", workers=workers, draws=(draws, 1), seed=(seed, 0))
    opened = [open_run(folder) for folder in folders]
    names = [run.name for run in opened]
    data, cache_dir = as_path(data), as_path(cache_dir)

    from corolla.anatomy.scoring import scorers

    rows, notes = list[Lesion](), list[str]()
    found = scorers(opened, split, checkpoint, data=data, cache_dir=cache_dir, device=device, workers=workers)
    for run, scorer in zip(opened, found, strict=True):
        name = run.name if names.count(run.name) == 1 else str(run.folder)
        rows += _lesions(name, run.config.model.name, scorer, draws, seed)
        kept = [block.name for block in scorer.blocks if not block.can_be_left_out]
        if kept:
            notes.append(f"{run.folder}: {', '.join(kept)} change the shape and have no shortcut: they stay")
    return Lesions(split, checkpoint, tuple(rows), tuple(notes))


def _lesions(run: str, network: str, scorer: "Scorer", draws: int, seed: int) -> Iterator[Lesion]:
    """Yield all lesions of a network, with their scores."""
    from tqdm.auto import tqdm

    from corolla.anatomy.blocks import left_out, reordered

    blocks = scorer.blocks
    base = Lesion(run=run, network=network, kind="whole", macro_f1=0.0, top1=0.0)
    removable = [block for block in blocks if block.can_be_left_out]
    plans = [(base, (), None)]
    plans += [(replace(base, kind="one", block=block.name), (block,), None) for block in removable]
    if all(block.is_residual for block in blocks):
        plans += [(lesion, chosen, None) for lesion, chosen in _at_random(base, removable, draws, seed)]
        plans += [(lesion, (), order) for lesion, order in _shuffled(base, blocks, draws, seed)]
    for lesion, chosen, order in tqdm(plans, desc=f"lesion {run}", unit="lesion", disable=None, leave=False):
        with left_out(chosen), reordered(blocks, order or range(len(blocks))):
            macro_f1, top1 = scorer.scores(is_whole=lesion.kind == "whole")
        yield replace(lesion, macro_f1=macro_f1, top1=top1)


def _at_random(
    base: Lesion, blocks: "list[Block]", draws: int, seed: int
) -> Iterator[tuple[Lesion, "tuple[Block, ...]"]]:
    """Yield k blocks to leave out, no set of them twice, for several k from one to all."""
    total = len(blocks)
    for count in sorted({round(each) for each in np.linspace(1, total, min(total, MOST_COUNTS)).tolist()}):
        seen = set[tuple[int, ...]]()
        for draw in range(draws):
            rng = np.random.default_rng([seed, count, draw])
            chosen = tuple(sorted(rng.choice(total, count, replace=False).tolist()))
            if chosen not in seen:
                seen.add(chosen)
                yield replace(base, kind="random", k=count, draw=draw), tuple(blocks[number] for number in chosen)


def _shuffled(base: Lesion, blocks: "list[Block]", draws: int, seed: int) -> Iterator[tuple[Lesion, list[int]]]:
    """Yield orders of the blocks, none twice: 1, 2, 4, ... exchanges of two that can take each other's place."""
    from scipy.stats import kendalltau

    from corolla.anatomy.blocks import exchangeable

    groups = exchangeable(blocks)
    pairs = [(a, b) for group in groups for place, a in enumerate(group) for b in group[place + 1 :]]
    seen, draw, exchanges = {tuple(range(len(blocks)))}, 0, 1
    while pairs and exchanges <= sum(map(len, groups)):
        for number in range(draws):
            rng = np.random.default_rng([seed, 2**32 - 1, exchanges, number])
            order = list(range(len(blocks)))
            for chosen in rng.integers(0, len(pairs), exchanges).tolist():
                a, b = pairs[chosen]
                order[a], order[b] = order[b], order[a]
            if tuple(order) not in seen:
                seen.add(tuple(order))
                tau = float(kendalltau(range(len(blocks)), order)[0])  # pyright: ignore[reportArgumentType]
                yield replace(base, kind="order", tau=tau, draw=draw), order
                draw += 1
        exchanges *= 2
