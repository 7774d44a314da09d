"""Parts of several subcommands: types of arguments, tables, and the line by which a command names the next one."""

import logging
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import tyro

from corolla.data.transforms.tta import ViewOptions
from corolla.errors import UserError
from corolla.runs.folder import is_run
from corolla.text_files import shell_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

Folder = Annotated[Path, tyro.conf.Positional]
Paths = Annotated[tuple[Path, ...], tyro.conf.Positional]
ViewArguments = Annotated[ViewOptions, tyro.conf.arg(name="")]
"""Options of test-time views, the same in every command."""


def slug(competition: str | None) -> str | None:
    """Return a competition's slug, also out of its address."""
    if competition is None:
        return None
    name = re.sub(r"^.*kaggle\.com/(?:competitions|c)/([^/?#]+).*$", r"\1", competition.strip())
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", name):
        raise UserError(f"--competition {competition}: a slug is expected, such as tpu-getting-started")
    return name


def check_workers(workers: int | None) -> None:
    """Raise UserError where the number of decoding processes is negative."""
    if workers is not None and workers < 0:
        raise UserError("--workers must be at least 0")


def refuse_without(needed: str, **options: object) -> None:
    """Raise UserError for the first option that was given (is not None), though it has no effect without another."""
    for name, value in options.items():
        if value is not None:
            raise UserError(f"--{name.replace('_', '-')} has no effect without {needed}: leave it out")


def refuse_with(other: str, **options: object) -> None:
    """Raise UserError for the first option that was given (is not None), though it has no effect with another."""
    for name, value in options.items():
        if value is not None:
            raise UserError(f"--{name.replace('_', '-')} has no effect with {other}: leave it out")


def without_others(paths: Sequence[Path], *, is_meant: Callable[[Path], bool] = lambda _: False) -> tuple[Path, ...]:
    """Return the paths without those that are no runs but lie beside one, as a shell makes them of runs/*.

    A line says of each that it is passed over.

    Args:
        is_meant: returns whether the command takes such a file or folder as well.
    """
    runs = [path for path in paths if is_run(path)]
    beside = {run.parent for run in runs}
    others = [path for path in paths if path not in runs and path.parent in beside and path.exists()]
    passed_over = [path for path in others if not is_meant(path)]
    for path in passed_over:
        log.info("%s: no run, passed over", path)
    return tuple(path for path in paths if path not in passed_over)


class Measured(Protocol):
    """A result that is a table and a figure."""

    def to_pandas(self) -> "pd.DataFrame":
        """Return the table."""
        ...

    def figure(self) -> "Figure":
        """Return the figure."""
        ...


def write_measured(result: Measured, names: Sequence[str], kind: str, out: Path | None) -> None:
    """Write the table and the figure of a result, and say where.

    Args:
        names: of the networks, after which comparisons/NAMES-KIND is called.
        out: the beginning of the files' names, in that folder's place.
    """
    from corolla.compare.places import comparison_name, folder_for, holds
    from corolla.files import replacing, write_atomically

    content = result.to_pandas().to_csv(index=False, lineterminator="\n").encode()
    if out is None:
        name = comparison_name(names, kind)
        out = folder_for(name, lambda folder: holds(folder / f"{kind}.csv", content)) / kind
    elif out.suffix.lower() in (".csv", ".png"):  # both are written: one of them was named
        out = out.with_suffix("")
    write_atomically(Path(f"{out}.csv"), content)
    with replacing(Path(f"{out}.png")) as temporary:
        result.figure().savefig(temporary, format="png", metadata={"Software": ""})
    print(f"wrote {out}.csv {out}.png")


def next_command(*words: object) -> str:
    """Return the command to go on with, as a shell takes it."""
    return f"next: corolla {shell_words(*words)}"


def given_words(**options: object) -> list[object]:
    """Return the words of the options that were given (are not None), for the command to go on with."""
    words: list[object] = []
    for name, value in options.items():
        if value is not None:
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{name.replace('_', '-')}", *values]
    return words


def text_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Sequence[bool] = (), least: Sequence[str] = ()
) -> str:
    """Lay out a table for the terminal, without the columns in `least`, one by one, as long as it is too wide.

    Args:
        numeric: which columns are set flush right; default: none.
        least: titles of the columns that go, the first first; a line below says which.
    """
    kept, gone = list(range(len(titles))), list[str]()
    numeric = numeric or [False] * len(titles)
    widths = [max(len(row[column]) for row in (titles, *rows)) for column in kept]
    for title in least:
        if sum(widths[column] + 2 for column in kept) - 2 <= _terminal_width():
            break
        if title in titles:
            kept.remove(titles.index(title))
            gone.append(title)
    lines = [
        "  ".join(
            row[column].rjust(widths[column]) if numeric[column] else row[column].ljust(widths[column])
            for column in kept
        ).rstrip()
        for row in (titles, *rows)
    ]
    if gone:
        lines += textwrap.wrap(f"(too narrow here for: {', '.join(reversed(gone))})", _terminal_width())
    return "\n".join(lines)


def _terminal_width() -> int:
    """Return the terminal's width in columns; a file or a pipe takes everything."""
    if "COLUMNS" in os.environ or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return sys.maxsize
