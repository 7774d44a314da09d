"""Examine the data folders: files that are missing, cut or left over."""

import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from corolla.data.competition import CLASSES, NUM_TEST, SAMPLE_SUBMISSION, SPLITS
from corolla.data.mounts import mounted_data
from corolla.data.record_files import count_in_name, passed_over, record_files, size_folders
from corolla.data.tfrecord import masked_crc32c
from corolla.doctor.report import Finding
from corolla.errors import UserError
from corolla.kaggle.manifest import COMPETITION_JSON, read_manifest
from corolla.text_files import shell_words

QUICK_S = 10.0  # for walking through the records; of files that are left then, on a slow mount, only the start is read
NUM_FILES = 16  # in a split of one size of the competition
NUM_IMAGES = {"train": sum(c[1] for c in CLASSES), "val": sum(c[2] for c in CLASSES), "test": NUM_TEST}


def data_folders(data: Path, competition: str) -> list[Path]:
    """Return the given folder, its direct sub-folders and the mount, so far as they hold TFRecord folders."""
    folders = [data, *sorted(path for path in data.glob("[!.]*") if path.is_dir())]
    mounted = mounted_data(competition)
    if mounted and mounted not in folders:
        folders.append(mounted)
    return [folder for folder in folders if size_folders(folder)]


def data_findings(data: Path, folders: list[Path], mounted: Path | None) -> Iterator[Finding]:
    """Examine the data folders, and downloads that were broken off."""
    if not folders:
        remedy = f"corolla download --size 224 --to {_quote(data)}, or corolla synth {_quote(data / 'synthetic')}"
        yield Finding("data", "note", f"no TFRecords in {data} and its sub-folders", remedy)
    deadline = time.monotonic() + QUICK_S
    for folder in folders:
        for size, records in size_folders(folder).items():
            yield from _records(folder, size, records, mounted=folder == mounted, deadline=deadline)
        yield from _sample_submission(folder, mounted=folder == mounted)
    for folder in dict.fromkeys([data, *folders]):
        yield from _partial_download(folder)


def _quote(path: Path) -> str:
    """Return a path as a shell takes it."""
    return shell_words(path)


def _restore(folder: Path, size: int, *, mounted: bool) -> str:
    """Return the remedy that brings missing files of the competition back."""
    if mounted:
        return "restart the session, or remove the competition from Input and add it again"
    return f"corolla download --size {size} --to {_quote(folder)}"


def _records(folder: Path, size: int, records: Path, *, mounted: bool, deadline: float) -> Iterator[Finding]:
    """Examine one size: counts and bytes, files that are missing, files that are cut."""
    files = {split: record_files(records / split) for split in SPLITS}
    counts = {split: sum(count_in_name(path) or 0 for path in paths) for split, paths in files.items()}
    num_bytes = sum(path.stat().st_size for paths in files.values() for path in paths)
    text = ", ".join(f"{split} {count}" for split, count in counts.items())
    yield Finding("data", "ok", f"{folder}, {size} px: {text} images by the file names, {num_bytes / 1e6:.0f} MB")
    names = {f"{split}/{path.name}" for split, paths in files.items() for path in paths}
    wanted = competition_files(size)
    if _is_competition(folder, records, names & wanted, names) and (missing := sorted(wanted - names)):
        text = f"{records}: {len(missing)} of {len(wanted)} files are missing, {missing[0]} first"
        yield Finding("data", "fault", text, _restore(folder, size, mounted=mounted))
    faults = [fault for paths in files.values() for path in paths if (fault := _quick_fault(path, deadline))]
    if faults:
        more = f", and {len(faults) - 1} more such files" if len(faults) > 1 else ""
        yield Finding("data", "fault", f"{faults[0]}{more}", f"corolla check {_quote(folder)} --size {size}")
    for path, reason in passed_over(records):
        what, _, remedy = reason.partition(": ")
        yield Finding("data", "fault", f"{path} {what}", remedy)
    if time.monotonic() > deadline:
        text = f"{records}: this disk is slow, so not all files were looked at to their end"
        yield Finding("data", "note", text, f"corolla check {_quote(folder)} --size {size}")


def competition_files(size: int) -> set[str]:
    """Return the competition's files of one size, as SPLIT/NAME: all of a split but the last hold as many records."""
    files = set()
    for split, total in NUM_IMAGES.items():
        each = -(-total // NUM_FILES)
        counts = [each] * (NUM_FILES - 1) + [total - each * (NUM_FILES - 1)]
        files |= {f"{split}/{number:02d}-{size}x{size}-{count}.tfrec" for number, count in enumerate(counts)}
    return files


def _is_competition(folder: Path, records: Path, known: set[str], names: set[str]) -> bool:
    """Return whether files are the competition's, by name and classes; a size without any counts as one begun."""
    own = (folder / "classes.txt").exists() or (records / "synthetic.json").exists()
    return not own and bool(known or not names)


def _quick_fault(path: Path, deadline: float) -> str | None:
    """Return the first fault on the way from header to header; the data itself is left to `corolla check`."""
    offset = number = 0
    try:
        size = path.stat().st_size
        with path.open("rb", buffering=0) as file:
            while offset < size and (number == 0 or time.monotonic() < deadline):
                file.seek(offset)
                header = file.read(12)
                if len(header) < 12 or masked_crc32c(header[:8]) != struct.unpack("<I", header[8:])[0]:
                    return f"{path}:{offset} record {number}: the header is damaged or cut"
                offset, number = offset + 16 + struct.unpack("<Q", header[:8])[0], number + 1
    except OSError as error:
        return f"{path}: can't be read ({error.strerror})"
    if size == 0:
        return f"{path}: the file is empty"
    if offset > size:
        return f"{path}: truncated in record {number - 1}"
    if offset == size and count_in_name(path) not in (None, number):
        return f"{path}: the file holds {number} records, its name says {count_in_name(path)}"
    return None


def _sample_submission(folder: Path, *, mounted: bool) -> Iterator[Finding]:
    """Examine sample_submission.csv, without which predictions become no submission."""
    path, sizes = folder / SAMPLE_SUBMISSION, size_folders(folder)
    names = {f"{f.parent.name}/{f.name}" for records in sizes.values() for f in records.glob("*/*.tfrec")}
    known = names & set().union(*map(competition_files, sizes))
    if (path.exists() and path.stat().st_size) or not any(name.startswith("test/") for name in names):
        return
    if any(_is_competition(folder, records, known, names) for records in sizes.values()):
        remedy = _restore(folder, min(sizes), mounted=mounted)
    else:
        remedy = f"write {_quote(path)}: a line id,label, then a row for each test image"
    yield Finding("data", "fault", f"{path} is {'empty' if path.exists() else 'missing'}", remedy)


def _partial_download(folder: Path) -> Iterator[Finding]:
    """Find a download that was broken off, and a damaged competition.json."""
    staging = folder / ".corolla-download"
    files = [path.relative_to(staging) for path in staging.rglob("*") if path.is_file()] if staging.is_dir() else []
    if files := [path for path in files if path != Path("lock")]:  # the lock stays behind, and holds nothing
        sizes = re.findall(r"tfrecords-jpeg-(\d+)x", " ".join(map(str, files)))
        text = f"{staging}: a download that is not finished ({len(files)} files); the same corolla download goes on"
        remedy = f"corolla download --size {sizes[0] if sizes else 224} --to {_quote(folder)}"
        yield Finding("data", "note", text, remedy)
    try:
        read_manifest(folder)
    except UserError as error:
        remedy = f"rm {_quote(folder / COMPETITION_JSON)}, then corolla download again"
        yield Finding("data", "fault", str(error), remedy)
