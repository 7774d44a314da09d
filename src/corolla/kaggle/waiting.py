"""A line about what is waited for on Kaggle: kept up to date in a terminal, elsewhere a new one at every change."""

import logging
import time
from types import TracebackType

from tqdm import tqdm

log = logging.getLogger(__name__)


class Waiting:
    """Shows the state of something on Kaggle, and the minutes since it was first asked for."""

    def __init__(self, what: str) -> None:
        self._what, self._start, self._state = what, time.monotonic(), ""
        # None: it draws in a terminal alone; the state comes first, as what does not fit is cut off
        self._line = tqdm(bar_format="{desc}", dynamic_ncols=True, disable=None)

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._line.close()

    def show(self, state: str) -> None:
        """Show the state as it is now."""
        minutes = int((time.monotonic() - self._start) // 60)
        line = f"{state}, {minutes} min: {self._what}"
        if not self._line.disable:
            self._line.set_description_str(line)
        elif state != self._state:
            log.info("%s", line)
        self._state = state
