"""Text, JSON and CSV of others: a value of the declared shape, or one line with file, place and remedy."""

import bz2
import gzip
import json
import lzma
import os
import pickle
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import outcome, write_data

from corolla.cli import run_command
from corolla.errors import UserError
from corolla.text_files import (
    mismatch,
    parse_json,
    printable,
    read_bytes,
    read_csv_rows,
    read_json,
    read_json_lines,
    read_text,
    shell_words,
)

SHAPE = {"name": str, "files": {str: {"bytes": int}}, "score?": (None, float), "runs?": [{"run": str}]}
GOOD: dict[str, Any] = {"name": "a", "files": {"x": {"bytes": 1}}, "score": 1, "runs": [{"run": "r"}], "other": []}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from([*GOOD]), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{"name": "a",\n "fi', "line 2, column 2: is no valid JSON"),
        ('{"name": "a"}'.encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        (b'{"name":\n "\xff"}', "line 2: is not UTF-8 text"),
        (b'{"name"\n: 1}\n\0\0\0', "line 3: holds NUL bytes"),
        (b'{"a": ' * 100_000, "line 1: is nested too deep"),
        (b"[" * 100_000, "line 1: is nested too deep"),
        (b'{"name": ' + b"9" * 5000 + b"}", "line 1: holds a number of thousands of digits"),
        (b"[1]", "an object is expected, not a list"),
        (b"null", "an object is expected, not null"),
        (b'{"name": "a"}', "files is missing"),
        (b'{"name": 5, "files": {}}', "name: text is expected, not 5"),
        (b'{"name": "a\\u0000b", "files": {}}', "name: text without NUL is expected"),
        (b'{"name": "a", "files": {"x": {"bytes": true}}}', "files.x.bytes: a whole number is expected, not true"),
        (b'{"name": "a", "files": {"x": 1}}', "files.x: an object is expected, not 1"),
        (b'{"name": "a", "files": {}, "score": "1"}', "score: null is expected, not 1"),
        (b'{"name": "a", "name": "b", "files": {}}', "name stands in it twice"),
        (b'{"name": "a", "files": {"x": {"bytes": 1, "bytes": 2}}}', "bytes stands in it twice"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (b"\n<!DOCTYPE html>", "is a web page"),
        (b'{"name": "a", "files": {}, "runs": [1]}', r"runs\[0\]: an object is expected, not 1"),
    ],
)
def test_json_that_is_damaged_or_of_another_shape_is_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"x\.json: {message}.*; remove it") as caught:
        read_json(path, SHAPE, remedy="remove it")
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_and_other_keys_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert read_json(path, SHAPE) == GOOD


@given(JSON)
def test_a_value_of_a_shape_has_what_the_shape_promises(value: Any) -> None:
    if mismatch(value, SHAPE) is None:
        assert isinstance(value["name"], str)
        assert all(isinstance(each["bytes"], int) for each in value["files"].values())


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_a_value_or_one_line(content: bytes) -> None:
    came = outcome(lambda: parse_json(content.decode("utf-8", "replace"), SHAPE, source="x.json"))
    assert not isinstance(came, str) or len(came.splitlines()) == 1


def test_lines_are_named_and_cut_ones_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\r\n{"a": "\u2028"}\n\n{"a"', encoding="utf-8")
    assert read_json_lines(path, {"a": (int, str)}, end="}") == [{"a": 1}, {"a": "\u2028"}]
    with pytest.raises(UserError, match=r"x\.jsonl: line 4, column 5: is no valid JSON"):
        read_json_lines(path, {"a": (int, str)})
    with pytest.raises(UserError, match=r"x\.jsonl: line 2: a: a whole number is expected"):
        read_json_lines(path, {"a": int})


@pytest.mark.parametrize("make", ["fifo", "device"])
def test_what_never_ends_is_not_read(make: str, tmp_path: Path) -> None:
    path = Path("/dev/zero") if make == "device" else tmp_path / "pipe"
    if make == "fifo":
        os.mkfifo(path)
    for read in (read_bytes, read_text, lambda path: list(read_csv_rows(path)), lambda path: read_json(path, object)):
        with pytest.raises(UserError, match="is a pipe or a device, not a regular file"):
            read(path)


def test_a_file_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        read_text(tmp_path / "none")
    with pytest.raises(IsADirectoryError) as caught:  # main() shows it in one line
        read_text(tmp_path)
    assert caught.value.filename == str(tmp_path)


ROWS = [["id", "label"], ["ä,b", "1"]]
TABLE = 'id,label\n"ä,b",1\n'.encode()


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_csv_is_read_packed_or_not(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(TABLE))
    zipped(tmp_path / "a.zip", **{"a.csv": TABLE, "__MACOSX/._a.csv": b"x", "b/.DS_Store": b"x"})
    for name in ("a.csv", "a.csv.gz", "a.zip"):
        assert [row for _, row in read_csv_rows(tmp_path / name)] == ROWS


@pytest.mark.parametrize("position", range(4, 40, 6))
def test_a_packed_csv_that_is_cut_is_one_line(position: int, tmp_path: Path) -> None:
    whole = {"a.gz": gzip.compress(TABLE), "a.zip": zipped(tmp_path / "whole.zip", a=TABLE).read_bytes()}
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content[:position])
        with pytest.raises(UserError, match="can't be unpacked"):
            list(read_csv_rows(tmp_path / name))
    with pytest.raises(UserError, match="holds 2 files"):
        list(read_csv_rows(zipped(tmp_path / "two.zip", a=TABLE, b=TABLE)))


@pytest.mark.parametrize(
    ("pack", "said"),
    [
        (bz2.compress, "is compressed with bzip2: unpack it first"),
        (lzma.compress, "is compressed with xz: unpack it first"),
        (lambda table: gzip.compress(gzip.compress(table)), "is compressed with gzip: unpack it first"),
        (lambda _: pickle.dumps([1]), "is a pickle of Python"),
        (lambda _: b"\x93NUMPY" + bytes(99), "is a NumPy array"),
        (lambda _: b"\xff\xd8\xff\xe0\0\x10JFIF", "is a photo"),
    ],
)
def test_what_is_no_text_is_told_by_its_bytes(pack: Callable[[bytes], bytes], said: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(pack(TABLE))
    with pytest.raises(UserError, match=rf"a\.csv: {said}"):
        list(read_csv_rows(tmp_path / "a.csv"))


def test_a_workbook_is_told_and_a_directory_of_another_content_is_damage(tmp_path: Path) -> None:
    book = zipped(tmp_path / "a.xlsx", **{"[Content_Types].xml": b"x", "xl/workbook.xml": b"x"})
    with pytest.raises(UserError, match=r"a\.xlsx: is an Excel workbook: save it as CSV"):
        list(read_csv_rows(book))
    whole = zipped(tmp_path / "a.zip", **{"a.csv": TABLE}).read_bytes()
    place = whole.index(b"PK\1\2") + 16  # CRC and sizes of the directory: an empty file has none
    (tmp_path / "a.zip").write_bytes(whole[:place] + bytes(12) + whole[place + 12 :])
    with pytest.raises(UserError, match=r"a\.zip: can't be unpacked \(Bad directory entry of 'a\.csv'\)"):
        list(read_csv_rows(tmp_path / "a.zip"))


def test_names_in_a_checkpoint_that_are_no_text_are_one_line() -> None:
    assert mismatch({"config": {5: 1}}, {"config": {str: object}}) == "config: names are expected, not 5"


def test_what_is_printed_can_be_pasted() -> None:
    assert shell_words("train", "--data", Path("./-dash"), Path("a b"), "--x") == "train --data ./-dash 'a b' --x"
    assert printable(Path(os.fsdecode(b"l\xe4\n\x1b"))) == r"l\xe4\n\x1b"


def test_the_next_command_of_a_folder_with_a_dash_and_a_blank_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "-my data")
    assert run_command(["check", "./-my data"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("next: corolla ")]
    stage, *words = shlex.split(line.removeprefix("next: corolla "))
    assert words[words.index("--data") + 1] == "./-my data"
    with pytest.raises(UserError, match=r"has no effect|no such|--model") as caught:  # it was read as a folder
        run_command([stage, *words, "--model.dropout", "0.1", "--optim.patience", "3", "--optim.schedule", "cosine"])
    assert "-my data" not in str(caught.value)
