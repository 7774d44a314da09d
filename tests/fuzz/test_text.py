"""Text files of others, changed anyhow: the values that csv, json and tomllib give, or one line."""

import csv
import gzip
import io
import json
import re
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from mutations import Fuzz, Refused, attempt, mutated, with_other_fields, zipped

from corolla.compare.readme_table import BEGIN, END, update_readme
from corolla.config import Config, flatten, from_dict, to_dict
from corolla.config.experiments import load_config
from corolla.config.reading import read_settings
from corolla.data.class_names import read_class_names
from corolla.data.texts import read_rows
from corolla.kaggle.credentials import credential_faults, find_credentials
from corolla.kaggle.ledger import COLUMNS, Entry, Ledger
from corolla.kaggle.manifest import read_manifest
from corolla.kaggle.submission import read_labels
from corolla.runs.folder import Run, data_of
from corolla.text_files import read_csv_rows

MARKS = [b",", b'"', b"\n", b"\r", b"\r\n", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc2\x85", b"\xe2\x80\xa8", b"\xff"]
CELLS = st.text(max_size=5) | st.sampled_from(["id", "label", "0", "-1", "1.0", "٣", " 1", "1e3", 'a"b', "a,b", "a\nb"])


def packed(content: bytes, how: str) -> bytes:
    """Return a file as it is, or alone in a gzip file or a zip archive."""
    if how == "gzip":
        return gzip.compress(content, 1, mtime=0)
    if how == "zip":
        return zipped({"a.csv": content}, zipfile.ZIP_DEFLATED)
    return content


def as_csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


ROWS = st.lists(st.lists(CELLS, max_size=3), max_size=4)
LABELS = st.lists(st.tuples(CELLS, st.integers(-3, 200).map(str)), max_size=4).map(
    lambda rows: [["id", "label"], *map(list, rows)]
)


def by_csv(content: bytes) -> list[list[str]] | None:
    """Return what Python's own reader makes of a file in UTF-8; None where it makes nothing of it."""
    try:
        text = content.decode("utf-8-sig")
        return None if "\0" in text else list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None


@pytest.mark.parametrize("how", ["plain", "gzip", "zip"])
def test_a_csv_gives_the_rows_of_csv(how: str, fuzz: Fuzz, tmp_path: Path) -> None:
    def check(content: bytes) -> None:
        found = attempt(lambda path: [row for _, row in read_csv_rows(path)], tmp_path / "a.csv", packed(content, how))
        assert (None if isinstance(found, Refused) else found) == by_csv(content)

    fuzz(check, mutated((ROWS | LABELS).map(as_csv), pieces=MARKS), fast=15, slow=1500)


def test_a_list_of_photos_has_the_rows_of_csv(fuzz: Fuzz, tmp_path: Path) -> None:
    """But for the marks that part its columns, which are found, and its cells, whose blanks are taken away."""

    def check(content: bytes) -> None:
        found = attempt(lambda path: [row for _, row in read_rows(path)], tmp_path / "a.csv", content)
        rows = by_csv(content)
        if (
            isinstance(found, Refused)
            or not content.isascii()
            or set(content) & set(b"\t;|\0 \x0b\x0c\x1c\x1d\x1e\x1f")
        ):
            return
        assert rows is not None
        assert found == [cells for row in rows if any(cells := [cell.strip() for cell in row])]

    known = [b'a.jpg,"rose\nb.jpg,tulip\n', b'a.jpg,"tul"ip"\n', b"a.jpg,ro\x0cse\n"]
    fuzz(check, mutated(ROWS.map(as_csv), pieces=MARKS), fast=15, slow=1500, known=known)


@pytest.mark.parametrize("how", ["gzip", "zip"])
def test_a_damaged_archive_gives_the_rows_or_one_line(how: str, fuzz: Fuzz, tmp_path: Path) -> None:
    rows = [["id", "label"], ["a", "1"], ["b", "2"]]

    def check(content: bytes) -> None:
        found = attempt(lambda path: [row for _, row in read_csv_rows(path)], tmp_path / "a.csv.zip", content)
        if isinstance(found, Refused):
            return
        if content.startswith(b"PK\3\4"):
            assert found == rows
        else:
            assert found == by_csv(gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content)

    whole = packed(as_csv(rows), "zip")
    directory = whole.index(b"PK\1\2")
    known = [
        whole[:18] + whole[19:],  # its parts begin a byte before the file
        whole[: directory + 28] + b"\0\0\5\0" + whole[directory + 32 :],  # a part without a name
        whole[:8] + b"\x0e" + whole[9 : directory + 10] + b"\x0e" + whole[directory + 11 :],  # packed as by LZMA
        whole[:8] + b"\x0c" + whole[9 : directory + 10] + b"\x0c" + whole[directory + 11 :],  # and by bzip2
        whole[: directory + 16]
        + bytes(4)
        + whole[directory + 20 : directory + 24]
        + bytes(4)
        + whole[directory + 28 :],
    ]  # the last: its directory tells of an empty file
    fuzz(check, mutated(packed(as_csv(rows), how)), fast=30, slow=3000, known=known)


def test_labels_are_those_of_csv(fuzz: Fuzz, tmp_path: Path) -> None:
    def check(content: bytes) -> None:
        found = attempt(read_labels, tmp_path / "a.csv", content)
        rows = [row for row in by_csv(content) or [] if row]
        sound = rows[:1] == [["id", "label"]] and len(rows) > 1
        sound = sound and all(len(row) == 2 and row[0] and re.fullmatch("-?[0-9]{1,9}", row[1]) for row in rows[1:])
        if isinstance(found, Refused):
            assert not sound
        else:
            assert [list(row) for row in found.itertuples(index=False)] == [[row[0], int(row[1])] for row in rows[1:]]

    fuzz(check, mutated(LABELS.map(as_csv), pieces=MARKS), fast=20, slow=1500)


def test_a_ledger_keeps_the_rows_that_are_there(fuzz: Fuzz, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.csv")
    fields = dict.fromkeys(("time", "competition", "csv", "sha256", "runs", "val_macro_f1", "status", "message"), "x")
    valid = as_csv([[*COLUMNS, "mine"], *([str(n)] * len(COLUMNS) + ["kept"] for n in range(2))])

    def check(content: bytes) -> None:
        found = attempt(lambda _: ledger.read(), ledger.path, content)
        if isinstance(found, Refused):
            assert ledger.path.read_bytes() == content
            return
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
        assert [[getattr(entry, name) for name in COLUMNS] for entry in found] == [
            [row.get(name) or "" for name in COLUMNS] for row in rows
        ]
        ledger.write(Entry(**fields, tag="new"))
        assert ledger.read() == [*found, Entry(**fields, tag="new")]

    fuzz(check, mutated(valid, pieces=[*MARKS, b",,", b",mine"]), fast=10, slow=1200)


IN_JSON = [b'"', b"{", b"[", b"]", b"}", b":", b"null", b"NaN", b"1e999", b"\\ud800", b"\\u0000", b"\\", *MARKS]


def damaged_json(valid: Any) -> st.SearchStrategy[bytes]:
    """Return files of a JSON value whose fields, or bytes, are others."""
    fields = with_other_fields(valid) | st.just(valid)
    return mutated(fields.map(lambda value: json.dumps(value).encode()), pieces=IN_JSON, most=2)


EARLIER_ROW = {"epoch": 0, "step": 5, "lr": 0.1, "train_loss": 1, "val_loss": 1.5}
EARLIER_ROW |= {"top1": 0.5, "top5": 1.0, "macro_f1": 0.5}
ROW = EARLIER_ROW | {"train_top1": 0.25}
TIMES = {"epoch": 0, "total_seconds": 3.5, "memory_mib": 10}
ENVIRONMENT = {"data": "d", "experiment": "e", "fingerprint": {"train": "f"}, "started": ["s"], "git_commit": None}
MANIFEST = {"competition": "c", "files": {"224": {"train/a.tfrec": 12}}}
FILES: dict[str, tuple[Any, Callable[[Run], Any], list[bytes]]] = {
    "metrics.jsonl": (
        ROW,
        lambda run: run.copied_metrics,
        [json.dumps(each).encode() for each in (ROW | {"top1": 10**400}, ROW | {"train_top1": None}, EARLIER_ROW)],
    ),
    "timing.jsonl": (TIMES, lambda run: run.timing, []),
    "environment.json": (
        ENVIRONMENT,
        lambda run: (run.environment, data_of(run).exists())[0],
        [json.dumps(ENVIRONMENT | {"data": "\ud800"}).encode(), rb'{"fingerprint": {"\ud800": "f"}}'],
    ),
    "competition.json": (
        MANIFEST,
        lambda run: (manifest := read_manifest(run.folder)) and vars(manifest),
        [rb'{"competition": "c", "files": {"\u001f": null}}'],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_json_gives_the_values_of_json(name: str, fuzz: Fuzz, tmp_path: Path) -> None:
    valid, read, known = FILES[name]

    def check(content: bytes) -> None:
        found = attempt(lambda path: read(Run(path.parent)), tmp_path / name, content)
        if isinstance(found, Refused):
            return
        text = content.decode("utf-8-sig")
        if name == "competition.json":
            wanted = {key: json.loads(text)[key] for key in found}
        elif name == "environment.json":
            wanted = json.loads(text)
        else:  # a line of the times that a crash has cut is left out
            end = "}" if name == "timing.jsonl" else ""
            wanted = [json.loads(line) for line in text.split("\n") if line.strip() and line.rstrip().endswith(end)]
            if name == "metrics.jsonl":  # None is what earlier versions did not write
                wanted = [line | {"train_top1": line.get("train_top1")} for line in wanted]
        assert str(found) == str(wanted)  # of NaN too

    fuzz(check, damaged_json(valid), fast=15, slow=1200, known=known)


SETTINGS = sorted(flatten(Config()))
TOML_VALUES = [
    *(
        "1",
        "0",
        "-1",
        "1e400",
        "nan",
        "inf",
        "-0.0",
        "1_000",
        "0x10",
        "0x" + "f" * 40,
        "9" * 5000,
        "true",
        "2020-01-01",
    ),
    *(
        '"x"',
        '""',
        "'''a\nb'''",
        r'"\u0000"',
        r'"\u2028"',
        "[1, 2]",
        "[]",
        "[0.5, 1]",
        "{a = 1}",
        '"bilinear"',
        "07:32:00",
    ),
    *('"auto"', '"cpu"', "[[[[[[1]]]]]]", '"../x"', "5e-324", "1e308", "0.1", "2", "1" + "0" * 30),
]
LINES = st.builds(
    lambda key, value: f"{key} = {value}\n",
    st.sampled_from([*SETTINGS, "base", "train", "x"]),
    st.sampled_from(TOML_VALUES),
)
IN_TOML = [b"[train]", b"[[train]]", b"=", b".", b"#", b"'", b'"""', b"\\", b"{", b"}", b'base = "resnet18"\n', *MARKS]
TOML = mutated(st.lists(LINES, max_size=4).map(lambda lines: "".join(lines).encode()), pieces=IN_TOML)


def test_a_table_of_settings_is_that_of_tomllib(fuzz: Fuzz, tmp_path: Path) -> None:
    def check(content: bytes) -> None:
        found = attempt(read_settings, tmp_path / "a.toml", content)
        try:
            text = content.decode("utf-8-sig")
            wanted: Any = Refused("") if "\0" in text else tomllib.loads(text)
        except (ValueError, RecursionError):
            wanted = Refused("")
        assert str(found if isinstance(found, dict) else {}) == str(wanted if isinstance(wanted, dict) else {})
        assert isinstance(found, Refused) == isinstance(wanted, Refused)

    fuzz(check, TOML, fast=20, slow=1500)


def told(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the settings in a table by their whole names."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= told(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def check_config(path: Path, content: bytes) -> None:
    """Check that a config has every value of its file, and that it can be kept and read again."""
    config = attempt(load_config, path, content)
    if isinstance(config, Refused):
        return
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    values = flatten(config)
    for key, value in told(read_settings(path)).items():
        if key != "base":
            ours = values[key]
            ours = list(ours) if isinstance(ours, tuple) else ours
            assert ours == value or str(ours) == str(Path(str(value))) or "sha256" in key, key


def test_a_config_has_what_its_toml_says(fuzz: Fuzz, tmp_path: Path) -> None:
    known = [rb'base = "a\nb"', b'base = "x"', rb'base = "a\u0000.toml"', rb'base = ["a\nb"]']
    fuzz(lambda content: check_config(tmp_path / "a.toml", content), TOML, fast=15, slow=1500, known=known)


def test_a_config_has_what_its_json_says(fuzz: Fuzz, tmp_path: Path) -> None:
    valid = to_dict(Config(), with_runtime=False)
    known = [rb'{"size": "\ud800"}', rb'{"base": "\ud800.json"}', rb'{"\ud800": 1}']
    inputs = damaged_json(valid)
    fuzz(lambda content: check_config(tmp_path / "config.json", content), inputs, fast=10, slow=1200, known=known)


def test_names_of_classes_are_the_lines(fuzz: Fuzz, tmp_path: Path) -> None:
    def check(content: bytes) -> None:
        found = attempt(read_class_names, tmp_path / "classes.txt", content)
        if not isinstance(found, Refused):
            lines = io.StringIO(content.decode("utf-8-sig"), newline=None).read().rstrip().split("\n")
            assert list(found) == [line.strip() for line in lines]
            assert all(found)

    fuzz(check, mutated("rose\ntulip\nä ö\n".encode(), pieces=MARKS), fast=20, slow=1500, known=[b"a\x0cb\nc"])


def test_a_readme_keeps_all_but_the_table(fuzz: Fuzz, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    begin, end = BEGIN.encode(), END.encode()
    valid = b"# a\r\n\n" + begin + b"\nold\n" + end + b"\nb\n"

    def check(content: bytes) -> None:
        if isinstance(attempt(lambda path: update_readme(path, "| new |\n| row |"), path, content), Refused):
            assert path.read_bytes() == content
            return
        before, after = content.split(begin)[0], content.split(end)[1]
        written = path.read_bytes()
        assert written.startswith(before + begin)
        assert written.endswith(end + after)
        assert written[len(before + begin) : -len(end + after)].split() == b"| new | | row |".split()

    fuzz(check, mutated(valid, pieces=[begin, end, *MARKS]), fast=20, slow=1500)


SECRET = "d34db33f"


def test_a_kaggle_json_is_used_or_told_about(fuzz: Fuzz, tmp_path: Path) -> None:
    (tmp_path / ".kaggle").mkdir()
    path = tmp_path / ".kaggle" / "kaggle.json"
    environ = {"HOME": str(tmp_path)}

    def check(content: bytes) -> None:
        path.write_bytes(content)
        path.chmod(0o600)
        faults = credential_faults(environ)
        assert find_credentials(environ) or faults
        for fault in faults:
            assert (fault.what + fault.remedy).isprintable()
            assert SECRET not in fault.what + fault.remedy

    fuzz(check, damaged_json({"username": "me", "key": SECRET}), fast=20, slow=1500)
