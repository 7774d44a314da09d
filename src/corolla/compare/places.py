"""Folders of comparisons: each has one of its own, so that none overwrites another."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

COMPARISONS = Path("comparisons")
LONGEST = 80  # characters of a name


def comparison_name(names: Sequence[str], *marks: str) -> str:
    """Return what a comparison is called: `resnet34-vs-plain34`, and behind that what is not the default."""
    words = "-vs-".join(names)
    for shown in range(len(names) - 1, 0, -1):
        if len(words) <= LONGEST:
            break
        words = "-vs-".join(names[:shown]) + f"-and-{len(names) - shown}-more"
    return "-".join([words[: 2 * LONGEST], *marks])


def folder_for(name: str, is_same: Callable[[Path], bool], *, parent: Path = COMPARISONS) -> Path:
    """Return comparisons/NAME, or with a number behind it the first that is not another comparison's.

    Args:
        is_same: returns whether a folder that is there holds this very comparison, which is then written once more.
        parent: a folder for other results than comparisons, which are not overwritten either.
    """
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        if not folder.exists() or is_same(folder):
            return folder
    raise AssertionError("numbers do not end")


def holds(path: Path, content: bytes) -> bool:
    """Return whether a file has this content."""
    return path.is_file() and path.read_bytes() == content
