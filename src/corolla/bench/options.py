"""Options of `corolla bench`."""

from dataclasses import dataclass
from pathlib import Path

from corolla.data.cache import Cache
from corolla.errors import UserError


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Options that all benchmarks have in common; each takes those that concern it."""

    data: Path = Path("data")
    """The data folder."""
    size: int | None = None
    """Which size of photos, where there are several."""
    input_size: int | None = None
    """Side of the network's input in pixels; default: of the photos (data: at most 224)."""
    batch_size: int = 64
    """Photos of a batch."""
    workers: int | None = None
    """Decoding processes; default: data one a core, else as in training."""
    cache: Cache | None = None
    """See --pipeline.cache; default: off for data, auto for train."""
    pairs: int = 10
    """Turns that ours and the reference take."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    tta: str = "ten-crop"
    """Predict: the views, as of corolla predict (ten-crop, multi-scale, ...)."""
    compile: bool = False
    """Train: with torch.compile, on both sides."""
    gpus: int | None = None
    """Train: processes that train together, each on a GPU of its own (with --device cpu: on the cores)."""
    cache_dir: Path | None = None
    """Folder for the index and the cache of pixels; default: the user's."""

    def __post_init__(self) -> None:
        if self.pairs < 1 or self.batch_size < 2 or (self.workers is not None and self.workers < 0):
            raise UserError("--pairs must be at least 1, --batch-size at least 2, --workers at least 0")
        if self.gpus is not None and self.gpus < 2:
            raise UserError(f"--gpus {self.gpus}: several are measured, 2 at least")
        if self.input_size is not None and self.input_size < 1:
            raise UserError(f"--input-size {self.input_size}: at least 1 is expected")
