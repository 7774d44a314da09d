"""The names of a data folder's classes, in the order of their labels."""

from pathlib import Path

from corolla.data.competition import CLASS_NAMES
from corolla.errors import UserError
from corolla.text_files import read_text, split_lines


def read_class_names(path: Path) -> tuple[str, ...]:
    """Return the classes that `classes.txt` names, a line each; the competition's where there is no such file.

    Raises:
        UserError: it is not text, or a name is blank.
    """
    if not path.exists():
        return CLASS_NAMES
    names = tuple(line.strip() for line in split_lines(read_text(path).rstrip()))
    if not all(names) or not names:
        raise UserError(f"{path}: line {names.index('') + 1 if names else 1} is blank, where a class name should be")
    return names
