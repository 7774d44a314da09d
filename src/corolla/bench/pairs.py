"""Time two ways to do the same work, in turns, and report their rates."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from corolla.device import describe, synchronize


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Iterable[float]) -> "Spread":
        low, median, high = np.quantile(list(values), (0.25, 0.5, 0.75))
        return Spread(float(median), float(low), float(high))

    def text(self, digits: int = 0) -> str:
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


@dataclass(frozen=True)
class Comparison:
    """Images/s of ours and of a reference, measured in turns."""

    ours: str
    reference: str
    ours_per_s: tuple[float, ...]
    reference_per_s: tuple[float, ...]

    @property
    def ratio(self) -> Spread:
        """Ours to the reference, pair by pair."""
        return Spread.of(a / b for a, b in zip(self.ours_per_s, self.reference_per_s, strict=True))

    def lines(self) -> list[str]:
        width = max(len(self.ours), len(self.reference))
        return [
            f"  {self.ours:{width}}  {Spread.of(self.ours_per_s).text()} images/s",
            f"  {self.reference:{width}}  {Spread.of(self.reference_per_s).text()} images/s",
            f"  {'ratio':{width}}  {self.ratio.text(3)}, median and quartiles of {len(self.ours_per_s)} pairs",
        ]

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": asdict(self.ratio)}


@dataclass(frozen=True)
class Report:
    """The result that `corolla bench` prints, and writes with --json."""

    title: str
    settings: dict[str, Any]
    comparisons: tuple[Comparison, ...]
    stages_us: dict[str, float] = field(default_factory=dict)
    """Microseconds an image of each part, on one core."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def lines(self) -> list[str]:
        lines = [f"{self.title}: {', '.join(f'{k} {v}' for k, v in self.settings.items())}; {describe(self.device)}"]
        for comparison in self.comparisons:
            lines += comparison.lines()
        if self.stages_us:
            total = sum(self.stages_us.values())
            lines.append(f"  where the time of an image goes ({total:,.0f} us in all):")
            width = max(map(len, self.stages_us))
            lines += [f"    {k:{width}}  {v:9,.1f} us  {v / total:5.1%}" for k, v in self.stages_us.items()]
        return lines

    def as_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "settings": self.settings,
            "device": describe(self.device),
            "torch": torch.__version__,
            "comparisons": [comparison.as_dict() for comparison in self.comparisons],
            "stages_us": self.stages_us,
        }

    def json(self) -> str:
        return json.dumps(self.as_dict(), indent=1) + "\n"


def take_turns(
    ours: tuple[str, Callable[[], float]], reference: tuple[str, Callable[[], float]], *, pairs: int
) -> Comparison:
    """Measure two ways in turns: each callable does one turn and returns its images/s. The first is not counted."""
    rates: tuple[list[float], list[float]] = ([], [])
    for turn in range(pairs + 1):
        for number, (_, work) in enumerate((ours, reference)):
            rate = work()
            if turn:
                rates[number].append(rate)
    return Comparison(ours[0], reference[0], tuple(rates[0]), tuple(rates[1]))


def images_per_s(num_images: int, work: Callable[[], object], device: torch.device | None = None) -> float:
    """Return the number of images a second of `work`, which does `num_images`; a GPU is waited for."""
    synchronize(device or torch.device("cpu"))
    start = time.perf_counter()
    work()
    synchronize(device or torch.device("cpu"))
    return num_images / (time.perf_counter() - start)


def microseconds(work: Callable[[Any], object], items: Sequence[Any], *, repeats: int = 3) -> float:
    """Return the microseconds per item in the best of a few passes: other work of the machine only adds to them."""
    passes = []
    for _ in range(repeats):
        start = time.perf_counter()
        for item in items:
            work(item)
        passes.append(time.perf_counter() - start)
    return min(passes) / len(items) * 1e6
