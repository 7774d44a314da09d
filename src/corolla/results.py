"""A result shows itself: a line in a terminal, a table in a notebook, a DataFrame for everything else."""

import html
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 20
"""Rows of a table in a notebook; the rest is in `to_pandas()`."""


class Result(ABC):
    """A result that shows itself. Its dataclass says repr=False."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """The result in a line."""

    @abstractmethod
    def to_pandas(self) -> "pd.DataFrame":
        """Return the result as a table."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the line and the table, which is cut when it is long."""
        table = self.to_pandas()
        shown = table.to_html(index=False, max_rows=MOST_ROWS, float_format="{:.4f}".format, na_rep="", border=0)
        return f"<p>{html.escape(self.summary)}</p>{shown}"
