"""The TFRecord files of a data folder by their names, and folders beside them that nothing would read."""

import re
from collections.abc import Iterator
from pathlib import Path

from corolla.data.competition import SPLITS
from corolla.data.tfrecord import has_header
from corolla.text_files import shell_words

SUFFIXES = (".tfrec", ".tfrecord", ".tfrecords")
UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".aria2")
PACKED = (".zip", ".gz", ".zst", ".xz", ".bz2", ".7z")
OTHER_NAMES = {
    "train": ("train", "training", "trainval", "trn", "tr"),
    "val": ("val", "valid", "validation", "validate", "dev", "eval", "holdout"),
    "test": ("test", "testing", "tests", "tst"),
}
"""Names of splits elsewhere, also with a filler behind (val_set); also ours in capitals are not read."""
FILLERS = r"(set|data|dataset|split|images|imgs|files|records|tfrecs?|tfrecords?)?"


def record_files(folder: Path) -> list[Path]:
    """Return the TFRecord files in the folder of a split, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    # macOS leaves ._name beside files on foreign disks
    return sorted(path for path in folder.iterdir() if _is_record_file(path) and not path.name.startswith("."))


def _is_record_file(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def count_in_name(path: Path) -> int | None:
    """Return how many records a file should hold by a name such as 00-224x224-798; None where it is of another form."""
    match = re.fullmatch(r"\d+-(\d+)x\1-(\d+)", path.stem)
    return int(match[2]) if match else None


def size_folders(data: Path) -> dict[int, Path]:
    """Return the folder of each size in a data folder."""
    found = {path: re.fullmatch(r"tfrecords-jpeg-(\d+)x\1", path.name) for path in data.glob("tfrecords-jpeg-*")}
    return {int(match[1]): path for path, match in sorted(found.items()) if match and path.is_dir()}


def passed_over(records: Path) -> Iterator[tuple[Path, str]]:
    """Yield what in the folder of a size would not be read although it holds records: its path, and what mends it."""
    if not records.is_dir():
        return
    for path in sorted(records.iterdir()):
        if path.name.startswith("."):
            continue
        if path.name in SPLITS and path.is_dir():
            yield from _unread(path)
        elif path.is_dir() and record_files(path):
            split = _split_meant(path)
            yield path, _mended(path, records / split if split else None)
        elif _is_record_file(path):
            yield path, f"is in no split, so it would be passed over: {shell_words('mv', path, records / 'train')}"
    for path in sorted(records.parent.iterdir()):  # one level too high
        split = _split_meant(path)
        if split and path.name[0] != "." and record_files(path) and not record_files(records / split):
            yield path, _mended(path, records / split)


def _split_meant(path: Path) -> str | None:
    """Return the split that a folder's name says in other words."""
    letters = re.sub("[^a-z]", "", path.name.lower())
    return next(
        (split for split, names in OTHER_NAMES.items() if re.fullmatch(f"({'|'.join(names)}){FILLERS}", letters)), None
    )


def _unread(split: Path) -> Iterator[tuple[Path, str]]:
    """Yield what in the folder of a split holds records and would not be read, but for second copies of what is."""
    alike: dict[str, list[tuple[Path, str]]] = {}
    read = record_files(split)
    for path in sorted(set(split.iterdir()) - set(read)):
        is_copy = any(path.name.startswith(each.name) for each in read)
        if not path.name.startswith(".") and not is_copy and (why := _why_unread(path)):
            alike.setdefault(why[0], []).append((path, why[1]))
    for what, places in alike.items():
        path, remedy = places[0]
        more = f" (and so {len(places) - 1} more there)" if len(places) > 1 else ""
        yield path, f"{what}, so it would be passed over{more}: {remedy}"


def _why_unread(path: Path) -> tuple[str, str] | None:
    """Return why a path in the folder of a split is not read, and what to do; None where it holds no records."""
    if path.is_dir():
        inside = record_files(path)
        return ("is a folder in that of a split", shell_words("mv", *inside, path.parent)) if inside else None
    if _is_packed(path):
        return "is packed", "unpack it there"
    if path.suffix.lower() in UNFINISHED:
        return "is a download that has not ended", "download it anew, or remove it"
    if _holds_records(path):
        return f"ends in none of {', '.join(SUFFIXES)}", shell_words("mv", path, f"{path}.tfrec")
    return None


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() in PACKED and Path(path.stem).suffix.lower() in SUFFIXES


def _holds_records(path: Path) -> bool:
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as file:
            return has_header(file.read(12))
    except OSError:
        return False


def _mended(path: Path, target: Path | None) -> str:
    """Return that a folder is no split, and the command by which it becomes one, `target`."""
    what = "would be passed over, as the splits are called train, val and test"
    if target is None:
        return f"{what}: rename it as the one that it is, or move it away"
    if target.parent != path.parent:
        what = f"would be passed over, as the splits lie in {target.parent.name}"
    if target.exists():
        return f"{what}, and there is {target} too: move its records there, or the folder away"
    return f"{what}: {shell_words('mv', path, target)}"


def where_else(data: Path) -> str:
    """Return a hint where records lie near a folder that has none at the place where they are looked for."""
    for records in size_folders(data).values():
        for path, reason in passed_over(records):
            return f"; {path} {reason}"
    for above in (data, *data.absolute().parents[:2]):
        if re.fullmatch(r"tfrecords-jpeg-(\d+)x\1", above.name):
            return f"; name the folder above: {above.parent}"
    below = sorted({path.parent for path in data.glob("*/tfrecords-jpeg-*") if any(map(record_files, path.glob("*")))})
    if below:
        return f"; there are some in {', '.join(map(str, below[:3]))}"
    loose = [path for path in sorted([*data.glob("*"), *data.glob("*/*")]) if _is_record_file(path)]
    if loose:
        return f"; {loose[0]} is not in such a folder: move it there, S being the side of its photos in pixels"
    return ""
