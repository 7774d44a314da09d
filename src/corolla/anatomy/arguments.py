"""The arguments that `corolla lesion` and `corolla gradients` share, checked before anything is read."""

from pathlib import Path

from corolla.errors import UserError
from corolla.paths import AnyPaths, as_paths
from corolla.runs.folder import is_run

MOST = 10_000
"""Draws, batches and the like that are taken at most: more would run for weeks."""


def checked_words(words: AnyPaths, what: str, *, workers: int | None, **numbers: tuple[int, int]) -> list[Path]:
    """Return the words that name what is to be measured.

    Args:
        words: folders of runs, and where they are taken names or files of experiments.
        what: named at least once, for the message.
        workers: decoding processes.
        numbers: options, each with its value and the least it may be.

    Raises:
        UserError: nothing is named, something twice, or a number is too small or too large.
    """
    found = as_paths(words)
    if not found:
        raise UserError(f"name at least one {what}")
    places = [path.resolve() if is_run(path) else path for path in found]
    if twice := [path for number, path in enumerate(found) if places[number] in places[:number]]:
        raise UserError(f"{twice[0]}: is named twice")
    for name, (value, least) in numbers.items():
        option = f"--{name.replace('_', '-')}"
        if value < least:
            raise UserError(f"{option} {value}: at least {least} is expected")
        if name != "seed" and value > MOST:
            raise UserError(f"{option} {value}: {MOST:,} at most is expected")
    if workers is not None and workers < 0:
        raise UserError(f"--workers {workers}: at least 0 is expected")
    return found
