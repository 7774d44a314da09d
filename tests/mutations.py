"""Damaged files for the tests that give readers anything, and what a reader may do with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hypothesis import strategies as st

from corolla.errors import Failure, UserError

T = TypeVar("T")
Fuzz = Callable[..., None]
"""The fixture `fuzz`: `fuzz(check, inputs, fast=20, slow=2000)` holds a check against so many inputs."""

KINDS = ("flip", "set", "cut", "drop", "insert", "repeat", "swap")
LONGEST = 40  # bytes that one change concerns


def mutated(
    valid: bytes | st.SearchStrategy[bytes], *, pieces: Sequence[bytes] = (), most: int = 3
) -> st.SearchStrategy[bytes]:
    """Return files that are valid but for a few changes, or not changed at all.

    Args:
        pieces: bytes that have a meaning in such files, and are put in as well.
    """
    new = st.binary(max_size=6) | st.sampled_from(pieces) if pieces else st.binary(max_size=6)
    change = st.tuples(st.sampled_from(KINDS), st.integers(0, (1 << 24) - 1), st.integers(0, LONGEST - 1), new)
    return st.builds(_changed, st.just(valid) if isinstance(valid, bytes) else valid, st.lists(change, max_size=most))


def _changed(content: bytes, changes: list[tuple[str, int, int, bytes]]) -> bytes:
    for kind, place, amount, new in changes:
        at = place % (len(content) + 1)
        before, part, after = content[:at], content[at : at + amount + 1], content[at + amount + 1 :]
        if kind == "flip":
            part = bytes(byte ^ 1 << amount % 8 for byte in part[:1]) + part[1:]
        elif kind == "set":
            part = new + part[len(new) :]
        elif kind == "insert":
            part = new + part
        elif kind == "repeat":
            part *= 2
        elif kind == "swap":
            part, after = after[: amount + 1], part + after[amount + 1 :]
        elif kind == "cut":
            part = after = b""
        else:
            part = b""
        content = before + part + after
    return content


@dataclass(frozen=True)
class Refused:
    """A reader's one line on a file that it does not take."""

    line: str


def attempt(read: Callable[[Path], T], path: Path, content: bytes | None = None) -> T | Refused:
    """Return what a reader gives for a file, which is written where `content` is given, or that it refuses.

    It may refuse in one line that names the file; anything else that it raises goes on.
    """
    if content is not None:
        path.write_bytes(content)
    try:
        return read(path)
    except (UserError, Failure) as error:
        line = str(error)
        assert line.isprintable(), "the line is to be printed"
        assert path.name in line, "the line names the file"
        return Refused(line)
