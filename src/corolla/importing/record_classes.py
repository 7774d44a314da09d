"""The names of the classes of other people's TFRecords, in the order of their numbers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from corolla.data.class_names import read_class_names
from corolla.data.competition import CLASS_NAMES
from corolla.errors import UserError
from corolla.files import natural_key
from corolla.importing.record_values import Label
from corolla.importing.split_names import split_of
from corolla.text_files import read_text, split_lines

Value = int | str


class Classes(NamedTuple):
    """The name of each class as the records write it, all names in the order of the labels, and what was decided."""

    name: Mapping[Value, str]
    names: tuple[str, ...]
    notes: list[str]


def name_classes(labels: Iterable[tuple[Label, str | None]], root: Path) -> Classes:
    """Return the names of the classes that records have, each with the text beside it where there is one.

    Numbers are named by classes.txt or labels.txt beside the files, by the texts, by the competition where they are
    just its 104, or else by themselves.

    Raises:
        UserError: numbers and texts are mixed, or the names contradict them.
    """
    texts = defaultdict[Value, set[str]](set)
    lengths: set[int] = set()
    for label, text in labels:
        texts[label.value].update([text] if text else [])
        lengths |= {label.classes} if label.classes else set()
    if all(str(value).isdecimal() for value in texts):
        numbers: dict[Value, set[str]] = {int(value): found for value, found in texts.items()}
    elif any(isinstance(value, int) for value in texts):
        raise UserError(f"{root}: some classes are numbers and others text: name one feature, --features class=FEATURE")
    else:
        numbers = {}
    if len(lengths) > 1:
        raise UserError(f"{root}: one-hot classes of several lengths, {', '.join(map(str, sorted(lengths)))}")
    source, listed = _listed_names(root)
    if not numbers:
        return _of_texts([str(value) for value in texts], source, listed)
    found = _of_numbers(numbers, lengths.pop() if lengths else 0, source, listed)
    names = {value: found.name[int(value)] for value in texts}
    return Classes(names, found.names, found.notes)


def _of_texts(texts: list[str], source: Path | None, listed: Mapping[int, str]) -> Classes:
    names = tuple(listed.values()) or tuple(sorted(texts, key=natural_key))
    if missing := sorted(set(texts) - set(names)):
        raise UserError(f"{source} does not name the class {missing[0]!r} of the records; add it, or remove the file")
    return Classes({text: text for text in texts}, names, [f"the classes are named by {source}"] if listed else [])


def _of_numbers(
    numbers: Mapping[Value, set[str]], one_hot: int, source: Path | None, listed: Mapping[int, str]
) -> Classes:
    values = sorted(int(value) for value in numbers)
    if listed and source:
        return _of_list(values, numbers, source, listed)
    keys = list(range(one_hot)) if one_hot > values[-1] else values
    if keys == list(range(len(CLASS_NAMES))) and not any(numbers.values()):
        return Classes(
            dict(zip(keys, CLASS_NAMES, strict=True)), CLASS_NAMES, ["the 104 classes are named as the competition's"]
        )
    notes = []
    if keys != list(range(len(keys))):
        whole = keys[-1] - keys[0] + 1 == len(keys)
        told = (
            f"{keys[0]} to {keys[-1]}"
            if whole
            else f"{', '.join(map(str, keys[:5]))}, …"
            if len(keys) > 5
            else str(keys)
        )
        notes.append(f"the class numbers {told} become 0 to {len(keys) - 1}, in their order")
    clear: dict[Value, str] = {value: min(numbers[value]) for value in values if len(numbers[value]) == 1}
    if len(set(clear.values())) == len(values) == len(keys):
        return Classes(clear, tuple(clear[value] for value in values), [*notes, "the classes are named by their texts"])
    if any(numbers.values()):
        notes.append("the texts beside the class numbers are not one for each, so the numbers are the names")
    return Classes({key: str(key) for key in keys}, tuple(map(str, keys)), notes)


def _of_list(values: list[int], numbers: Mapping[Value, set[str]], source: Path, listed: Mapping[int, str]) -> Classes:
    """Return the classes as a file names them: from 0 on, or from 1 on where only that fits."""
    notes, shift = [f"the classes are named by {source}"], 0
    keys = sorted(listed)
    if values[-1] > keys[-1]:
        if values[0] < 1 or len(keys) != values[-1] or keys[0] != 0:
            raise UserError(f"{source} names {len(keys)} classes, but the records have a class {values[-1]}")
        shift = 1
        notes.append(f"the class numbers begin at 1: class 1 becomes 0 ({listed[0]}), class {values[-1]} {keys[-1]}")
    elif values[0] > keys[0]:
        notes.append(f"no photo is of class {keys[0]} ({listed[keys[0]]}): do the numbers begin at 1?")
    name = {}
    for value in values:
        if value - shift not in listed:
            raise UserError(f"{source} does not name the class {value} of the records; add it, or remove the file")
        name[value] = listed[value - shift]
        if numbers[value] - {name[value]}:
            raise UserError(
                f"{source} names class {value} {name[value]!r}, the records {sorted(numbers[value])[0]!r}: correct "
                "the file, or move it away to name the classes by the records"
            )
    return Classes(name, tuple(listed[key] for key in keys), notes)


def _listed_names(root: Path) -> tuple[Path | None, dict[int, str]]:
    """Return the file beside the records, or above them, that names the classes by their numbers, and the names."""
    folder = root.absolute()
    folders = [root]
    while split_of(folder.name) or re.fullmatch(r"tfrecords-jpeg-(\d+)x\1", folder.name):
        folder = folder.parent
        folders.append(folder)
    for path in (folder / name for folder in folders for name in ("classes.txt", "labels.txt")):
        if not path.is_file():
            continue
        lines = [line.strip() for line in split_lines(read_text(path)) if line.strip()]
        numbered = [re.fullmatch(r"(\d+)\s*[:,\t ]\s*(\S.*)", line) for line in lines]
        if path.name == "labels.txt" and lines and all(numbered):  # as TF-Slim writes it: 0:daisy
            names = {int(match[1]): match[2] for match in numbered if match}
        else:
            names = dict(enumerate(read_class_names(path)))
        if len(set(names.values())) < len(lines):
            raise UserError(f"{path} names a class, or a number, twice; correct it")
        return path, names
    return None, {}
