"""The result of classifying photos: the likeliest classes of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from corolla.results import Result
from corolla.runs.folder import Run

if TYPE_CHECKING:
    import pandas as pd

LIKELIEST = 5  # classes that are named of each photo


@dataclass(frozen=True, repr=False)
class PhotoPredictions(Result):
    """Photos with the probabilities of their classes, the mean over the runs."""

    runs: tuple[Run, ...]
    paths: tuple[str, ...]
    """N, as they were named, or found below a folder that was."""
    probabilities: NDArray[np.float32]
    """N x classes."""
    class_names: tuple[str, ...]
    broken: Mapping[str, str]
    """Path → why it is no photo that can be read."""
    files: tuple[Path, ...] = ()
    """The files that were written."""

    @property
    def summary(self) -> str:
        """The number of photos; of a single one what it is."""
        broken = f", {len(self.broken)} that can't be read" if self.broken else ""
        if len(self.paths) == 1:
            name, probability = self.likeliest(0)[0]
            return f"{self.paths[0]}: {name}, {probability:.0%}{broken}"
        return f"{len(self.paths)} photos of {len(self.class_names)} classes{broken}"

    @property
    def surest_first(self) -> list[int]:
        """The photos' numbers, ordered by the probability of the likeliest class."""
        return np.argsort(-self.probabilities.max(axis=1), kind="stable").tolist()

    def likeliest(self, photo: int) -> list[tuple[str, float]]:
        """Return the names of a photo's five likeliest classes with their probabilities."""
        row = self.probabilities[photo]
        order = np.argsort(-row, kind="stable")[:LIKELIEST]
        return [(self.class_names[label], float(row[label])) for label in order]

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row per photo: path, label, name, probability, then name_2, probability_2, … of the next classes."""
        import pandas as pd

        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :LIKELIEST]
        names, values = np.asarray(self.class_names)[order], np.take_along_axis(self.probabilities, order, axis=1)
        columns = {"path": list(self.paths), "label": order[:, 0], "name": names[:, 0], "probability": values[:, 0]}
        for place in range(1, order.shape[1]):
            columns |= {f"name_{place + 1}": names[:, place], f"probability_{place + 1}": values[:, place]}
        return pd.DataFrame(columns)
