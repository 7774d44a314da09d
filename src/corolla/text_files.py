"""The one reader of text, JSON and CSV that others may have written or damaged.

It gives a value of the shape that the caller declares, or a `UserError` of one line: file, place, and what to do.
"""

import csv
import io
import json
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corolla.errors import UserError
from corolla.file_kinds import foreign_kind, not_text_kind
from corolla.packed_files import NotUnpacked, unpacked

MAX_BYTES = 256 << 20
"""More than any file that is read as text may hold: beyond it, another file was named."""

Shape = Any
"""The declared form of a JSON value: a type (`float` takes whole numbers too, `object` everything), None, a tuple of
alternatives, `[shape]` for a list, `{str: shape}` for an object of any keys, `{"key": shape, "key?": shape}` for one
with these keys, of which those with a question mark may be missing, and any others."""

NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}


def read_bytes(path: Path, *, remedy: str = "") -> bytes:
    """Return what a regular file holds.

    Raises:
        UserError: there is none, it is a pipe or a device (which might never end), or huge.
        OSError: it can't be read, though it may be whole; the message names it.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):  # a folder is told by the system
            raise _fault(path, "is a pipe or a device, not a regular file", remedy)
        if found.st_size > MAX_BYTES:
            raise _fault(path, f"holds {found.st_size >> 20} MiB, too much for a file of this kind", remedy)
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None


def read_text(path: Path, *, remedy: str = "") -> str:
    """Return the text of a UTF-8 file, without a byte order mark and with its line ends as they are.

    Raises:
        UserError: it can't be read, is in another encoding, or holds NUL bytes.
    """
    return decode_text(read_bytes(path, remedy=remedy), path, remedy=remedy)


def decode_text(content: bytes, path: Path, *, remedy: str = "") -> str:
    """Return bytes of a file as text, as `read_text` does."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _fault(path, "is UTF-16 text: save it as UTF-8", remedy)
    if kind := foreign_kind(content[:1024]):
        raise _fault(path, kind, remedy)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if kind := not_text_kind(content[:1024]):
            raise _fault(path, kind, remedy) from None
        line = content.count(b"\n", 0, error.start) + 1
        raise _fault(path, f"line {line}: is not UTF-8 text", remedy) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise _fault(path, f"line {line}: holds NUL bytes, so the file is damaged", remedy)
    return text


def read_json(path: Path, shape: Shape, *, remedy: str = "") -> Any:
    """Return the JSON value that a file holds.

    Raises:
        UserError: it can't be read, is no JSON, or of another shape.
    """
    return parse_json(read_text(path, remedy=remedy), shape, source=str(path), remedy=remedy)


def parse_json(text: str, shape: Shape, *, source: str, remedy: str = "", line: int = 1) -> Any:
    """Return the value of a JSON text.

    Args:
        source: the file, for the message.
        line: where in the file the text begins.

    Raises:
        UserError: it is no JSON, or of another shape.
    """
    if not text.strip():
        raise _fault(source, "is empty" if line == 1 else f"line {line} is empty", remedy)
    try:
        value = json.loads(text, object_pairs_hook=_each_once)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno + line - 1}, column {error.colno}"
        raise _fault(source, f"{place}: is no valid JSON ({error.msg}), perhaps cut short", remedy) from None
    except RecursionError:
        raise _fault(source, f"line {line}: is nested too deep", remedy) from None
    except _DoubledKey as error:
        raise _fault(source, f"{printable(error)} stands in it twice", remedy) from None
    except ValueError:  # of Python's limit on digits
        raise _fault(source, f"line {line}: holds a number of thousands of digits", remedy) from None
    if wrong := mismatch(value, shape):
        raise _fault(source, f"line {line}: {wrong}" if line > 1 else wrong, remedy)
    return value


class _DoubledKey(ValueError):
    """An object has a key twice, of which Python would take the last."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of a JSON text.

    Raises:
        _DoubledKey: which of two values is meant is not known.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DoubledKey(next(key for key in keys if keys.count(key) > 1))
    return values


def read_json_lines(path: Path, shape: Shape, *, remedy: str = "", end: str = "") -> list[Any]:
    """Return the JSON value of each line of a file.

    Args:
        end: how a line ends that is whole; others, which a crash has cut, are left out.

    Raises:
        UserError: it can't be read, or a line (which is named) is no JSON or of another shape.
    """
    lines = read_text(path, remedy=remedy).split("\n")  # splitlines would part at U+2028, which JSON may hold
    rows = [(number, text) for number, text in enumerate(lines, 1) if text.strip() and text.rstrip().endswith(end)]
    return [parse_json(text, shape, source=str(path), remedy=remedy, line=number) for number, text in rows]


def mismatch(value: Any, shape: Shape, where: str = "") -> str | None:
    """Return how a value differs from a declared shape, with the place; None where it fits."""
    if isinstance(shape, tuple):
        first = [mismatch(value, each, where) for each in shape]
        return first[0] if all(first) else None
    prefix = f"{where}: " if where else ""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{prefix}an object is expected, not {shown(value)}"
        if str in shape:
            named = dict.fromkeys(value, shape[str])
        else:
            required = [key for key in shape if not key.endswith("?")]
            if missing := [key for key in required if key not in value]:
                return f"{prefix}{missing[0]} is missing"
            named = {key.removesuffix("?"): each for key, each in shape.items() if key.removesuffix("?") in value}
        if other := [key for key in named if not isinstance(key, str)]:  # in a checkpoint
            return f"{prefix}names are expected, not {shown(other[0])}"
        places = {key: f"{where}.{printable(key)}" if where else printable(key) for key in named}
        faults = (not_text(key, places[key]) or mismatch(value[key], named[key], places[key]) for key in named)
        return next(filter(None, faults), None)
    if isinstance(shape, list):
        if not isinstance(value, list | tuple):  # a checkpoint has tuples too
            return f"{prefix}a list is expected, not {shown(value)}"
        faults = (mismatch(each, shape[0], f"{where}[{number}]") for number, each in enumerate(value))
        return next(filter(None, faults), None)
    if shape is None:
        return None if value is None else f"{prefix}null is expected, not {shown(value)}"
    kinds = (int, float) if shape is float else shape
    if isinstance(value, kinds) and not (isinstance(value, bool) and shape in (int, float)):
        if isinstance(value, int) and abs(value) >= 1 << 63:  # numpy can't hold it, nor a float one of 309 digits
            return f"{prefix}the number is too large"
        return not_text(value, where) if isinstance(value, str) else None
    return f"{prefix}{NAMES[shape]} is expected, not {shown(value)}"


def not_text(value: str, where: str) -> str | None:
    """Return what keeps text from being written as UTF-8, or from being the name of a file; None where nothing."""
    prefix = f"{where}: " if where else ""
    if "\0" in value:
        return f"{prefix}text without NUL is expected"
    is_cut = any("\ud800" <= letter <= "\udfff" for letter in value)  # JSON can spell half of a UTF-16 pair: \ud800
    return f"{prefix}text that UTF-8 can hold is expected" if is_cut else None


def shown(value: Any, width: int = 60) -> str:
    """Return a value for a message: in one line, and not too long."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = value if isinstance(value, str) and value.isprintable() else json.dumps(value, default=str)
    return text if len(text) <= width else f"{text[:width]}..."


def shell_words(*words: object) -> str:
    """Return a command's words as a shell takes them; a path that begins with a dash is no option."""
    return shlex.join(
        f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words
    )


def split_lines(text: str) -> list[str]:
    """Return a text's lines; str.splitlines would part them at a form feed or U+2028 too, which a name may hold."""
    return re.split(r"\r\n|\r|\n", text)


def printable(text: object) -> str:
    """Return a text, such as a path, for a message of one line: what can't be shown, or is no UTF-8, is escaped."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in str(text))


def _escaped(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # a byte that is no UTF-8, as os.fsdecode keeps it
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()


def read_csv_rows(path: Path, *, remedy: str = "") -> Iterator[tuple[int, list[str]]]:
    """Yield each row of a CSV, also of one in `.csv.gz` or alone in a `.zip`, with the number of its last line.

    Raises:
        UserError: it can't be read, is no text, or no CSV.
    """
    text = decode_text(read_unpacked(path, remedy=remedy), path, remedy=remedy)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise _fault(path, f"line {rows.line_num}: not a CSV ({error})", remedy) from None


def read_unpacked(path: Path, *, remedy: str = "") -> bytes:
    """Return the file inside a gzip file or a zip archive, known by their first bytes; any other file as it is.

    Raises:
        UserError: it can't be read or unpacked, or the archive holds other than one file.
    """
    try:
        inside = unpacked(read_bytes(path, remedy=remedy), MAX_BYTES + 1)
    except NotUnpacked as error:
        raise _fault(path, printable(error), remedy) from None
    if len(inside) > MAX_BYTES:
        raise _fault(path, f"unpacks to more than {MAX_BYTES >> 20} MiB", remedy)
    return inside


def _fault(source: object, what: str, remedy: str) -> UserError:
    return UserError(f"{source}: {what}" + (f"; {remedy}" if remedy else ""))
