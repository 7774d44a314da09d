"""corolla table: the README's table of results."""

from pathlib import Path

from corolla.commands.common import Paths, without_others
from corolla.errors import DONE


def table(folders: Paths, /, into: Path | None = None) -> int:
    """Print a Markdown table of results from run folders: means over seeds, each line with its command.

    Args:
        folders: folders of runs.
        into: a Markdown file with the lines <!-- results:begin --> and <!-- results:end -->, between which it goes.
    """
    from corolla.compare.readme_table import results_table, update_readme

    lines = results_table(without_others(folders))
    print(lines)
    if into is not None:
        update_readme(into, lines)
        print(f"written into {into}")
    return DONE
