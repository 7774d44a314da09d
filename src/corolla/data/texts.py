"""Read the text of lists and tables as people's programs write them: UTF-8, UTF-16 with a mark, Windows' Latin-1."""

import csv
import logging
import re
from pathlib import Path

from corolla.errors import UserError
from corolla.text_files import split_lines

log = logging.getLogger(__name__)

MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe\0\0": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
DELIMITERS = "\t;,|"
NO_VALUE = {"nan", "<na>", "null", "n/a", "#n/a"}
"""Cells that programs write for an empty one, in lower case."""


def read_any_text(path: Path) -> str:
    """Return a file's text, by the mark at its beginning, as UTF-8, or as Windows-1252.

    Raises:
        UserError: the file can't be read, or is no text.
    """
    try:
        return decode_any_text(path.read_bytes(), path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def decode_any_text(data: bytes, path: Path) -> str:
    """Return the bytes of a file as text, as `read_any_text` does."""
    if data.startswith((b"PK\3\4", b"\xd0\xcf\x11\xe0")):
        raise UserError(f"{path} is packed, or a spreadsheet's own file (.xlsx, .ods, .xls): save it as CSV")
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), None)
    if encoding is None and b"\0" in data[:200]:  # without a mark: ASCII has its zeros on one side
        encoding = "utf-16-le" if data[1:200:2].count(0) > data[0:200:2].count(0) else "utf-16-be"
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise UserError(f"{path} is damaged, or no text ({error}); save it as UTF-8") from None
        text = _windows_text(path, data)
    if "\0" in text:
        raise UserError(f"{path} is no text; save it as UTF-8 with a photo a line")
    return text.replace("\ufeff", "")  # where files were joined, the mark is in the middle


def _windows_text(path: Path, data: bytes) -> str:
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:  # letters that can't be told would make two classes one
        raise UserError(f"{path} is neither UTF-8 nor UTF-16 nor Windows-1252; save it as UTF-8") from None
    log.warning("%s is not UTF-8, so it is read as Windows-1252; if the classes look odd, save it as UTF-8", path)
    return text


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the cells of a CSV with their lines' numbers, by the delimiter that its first line has most of.

    Empty lines are left out.

    Raises:
        UserError: it is no text, or no CSV, or a cell goes on over a line's end: no path or class does.
    """
    return rows_in(read_any_text(path), path)


def rows_in(text: str, path: Path) -> list[tuple[int, list[str]]]:
    """Return the cells of a CSV's text as `read_rows` does."""
    lines, delimiter = _lines_and_delimiter(text)
    rows = []
    for number, line in enumerate(lines, 1):  # a quotation mark that is never closed must not swallow photos
        rows += [(number, row) for row in _cells([line], delimiter, path, number)]
    return [(number, row) for number, row in rows if any(row)]


def spreadsheet_rows_in(text: str, path: Path) -> list[tuple[int, list[str]]]:
    """Return the cells of a CSV's text with the numbers of their rows in a spreadsheet, where a cell may have lines.

    Raises:
        UserError: it is no CSV.
    """
    lines, delimiter = _lines_and_delimiter(text)
    rows = _cells([line + "\n" for line in lines], delimiter, path, 1)
    return [(number, row) for number, row in enumerate(rows, 1) if any(row)]


def _lines_and_delimiter(text: str) -> tuple[list[str], str]:
    """Return a CSV's lines, without the one by which Excel names the delimiter, and what the first has most of."""
    lines = split_lines(text)
    if re.fullmatch(r'"?sep=.?"?', lines[0].strip()):  # which Excel writes and takes for no row
        lines[0] = ""
    first = next((line for line in lines if line.strip()), "")
    return lines, max(DELIMITERS, key=first.count) if any(first.count(mark) for mark in DELIMITERS) else ","


def _cells(lines: list[str], delimiter: str, path: Path, number: int) -> list[list[str]]:
    """Return the cells of lines of a CSV, of which the first is its line `number`."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    rows, start = [], number
    try:
        for row in reader:
            rows.append([cell.strip() for cell in row])
            start = number + reader.line_num
    except csv.Error as error:
        raise UserError(f"{path}:{start}: no CSV ({error}): look at its quotation marks") from None
    return rows


def as_posix(path: str) -> str:
    """Return a path as POSIX writes it: with / for Windows' backslash, without a leading ./."""
    path = path.replace("\\", "/")
    while path.startswith("./"):
        path = path[2:]
    return path
