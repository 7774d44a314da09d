"""Paths as people write them in Python: text, a Path, or what lies at one, such as a run."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias, overload

from corolla.checked import short
from corolla.errors import UserError

AnyPath: TypeAlias = str | os.PathLike[str]
"""Text, a Path, or an object with a path of its own (a `Run`: its folder)."""
AnyPaths: TypeAlias = AnyPath | Iterable[AnyPath]
"""One or several of them."""


@overload
def as_path(path: AnyPath) -> Path: ...
@overload
def as_path(path: AnyPath | None) -> Path | None: ...
def as_path(path: AnyPath | None) -> Path | None:
    """Return a path; a `~` at its begin is the user's home, which no shell has replaced here.

    Raises:
        UserError: it is no path, but a number, bytes or a list.
    """
    if path is None:
        return None
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        raise UserError(f"{short(path)}: a path is expected, as text, a Path or a result, not {type(path).__name__}")
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user: a folder may be called so
        return Path(path)


def as_paths(paths: AnyPaths) -> list[Path]:
    """Return the paths, also where there is one alone: text is no list of letters.

    Raises:
        UserError: there is none, or one of them is no path.
    """
    if not isinstance(paths, Iterable) or isinstance(paths, str | bytes | os.PathLike):
        paths = (paths,)
    found = [as_path(path) for path in paths]
    if None in found:
        raise UserError("None: a path is expected, as text, a Path or a result")
    return found
