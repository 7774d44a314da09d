"""The data folders that are there, and what is missing, cut or left over in them."""

import re
import shlex
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from corolla.data.competition import CLASSES, NUM_TEST, SAMPLE_SUBMISSION, SPLITS
from corolla.data.index import count_in_name
from corolla.data.mounts import mounted_data
from corolla.data.tfrecord import masked_crc32c
from corolla.doctor.report import Finding
from corolla.errors import UserError
from corolla.kaggle.manifest import NAME, read_origin

QUICK_S = 10.0  # of walking through the records; files on a slow mount that are left then get a look at their start
NUM_FILES = 16  # of the competition, a split and size
NUM_IMAGES = {"train": sum(c[1] for c in CLASSES), "val": sum(c[2] for c in CLASSES), "test": NUM_TEST}


def data_folders(data: Path, competition: str) -> list[Path]:
    """The given folder, its direct sub-folders and the mount, so far as they hold TFRecord folders."""
    folders = [data, *sorted(path for path in data.glob("[!.]*") if path.is_dir())]
    mounted = mounted_data(competition)
    if mounted and mounted not in folders:
        folders.append(mounted)
    return [folder for folder in folders if _size_folders(folder)]


def _size_folders(folder: Path) -> dict[int, Path]:
    found = {path: re.fullmatch(r"tfrecords-jpeg-(\d+)x\1", path.name) for path in folder.glob("tfrecords-jpeg-*")}
    return {int(match[1]): path for path, match in sorted(found.items()) if match and path.is_dir()}


def data_findings(data: Path, folders: list[Path], mounted: Path | None) -> Iterator[Finding]:
    if not folders:
        remedy = f"corolla download --size 224 --to {_quote(data)}, or corolla synth {_quote(data / 'synthetic')}"
        yield Finding("data", "note", f"no TFRecords in {data} and its sub-folders", remedy)
    deadline = time.monotonic() + QUICK_S
    for folder in folders:
        for size, records in _size_folders(folder).items():
            yield from _records(folder, size, records, mounted=folder == mounted, deadline=deadline)
        yield from _sample_submission(folder, mounted=folder == mounted)
    for folder in dict.fromkeys([data, *folders]):
        yield from _partial_download(folder)


def _quote(path: Path) -> str:
    return shlex.quote(str(path))


def _again(folder: Path, size: int, *, mounted: bool) -> str:
    """How missing files of the competition come back."""
    if mounted:
        return "restart the session, or remove the competition from Input and add it again"
    return f"corolla download --size {size} --to {_quote(folder)}"


def _records(folder: Path, size: int, records: Path, *, mounted: bool, deadline: float) -> Iterator[Finding]:
    """Counts and bytes of one size, files that are missing, files that are cut."""
    files = {split: sorted((records / split).glob("[!.]*.tfrec")) for split in SPLITS}
    counts = {split: sum(count_in_name(path) or 0 for path in paths) for split, paths in files.items()}
    num_bytes = sum(path.stat().st_size for paths in files.values() for path in paths)
    text = ", ".join(f"{split} {count}" for split, count in counts.items())
    yield Finding("data", "ok", f"{folder}, {size} px: {text} images by the file names, {num_bytes / 1e6:.0f} MB")
    names = {f"{split}/{path.name}" for split, paths in files.items() for path in paths}
    wanted = competition_files(size)
    if _of_the_competition(folder, records, names & wanted, names) and (missing := sorted(wanted - names)):
        text = f"{records}: {len(missing)} of {len(wanted)} files are missing, {missing[0]} first"
        yield Finding("data", "fault", text, _again(folder, size, mounted=mounted))
    faults = [fault for paths in files.values() for path in paths if (fault := _quick_fault(path, deadline))]
    if faults:
        more = f", and {len(faults) - 1} more such files" if len(faults) > 1 else ""
        yield Finding("data", "fault", f"{faults[0]}{more}", f"corolla check {_quote(folder)} --size {size}")
    if time.monotonic() > deadline:
        text = f"{records}: this disk is slow, so not all files were looked at to their end"
        yield Finding("data", "note", text, f"corolla check {_quote(folder)} --size {size}")


def competition_files(size: int) -> set[str]:
    """The competition's files of one size, as SPLIT/NAME: all of a split hold as many records but for the last."""
    files = set()
    for split, total in NUM_IMAGES.items():
        each = -(-total // NUM_FILES)
        counts = [each] * (NUM_FILES - 1) + [total - each * (NUM_FILES - 1)]
        files |= {f"{split}/{number:02d}-{size}x{size}-{count}.tfrec" for number, count in enumerate(counts)}
    return files


def _of_the_competition(folder: Path, records: Path, known: set[str], names: set[str]) -> bool:
    """Files by the competition's names, with its classes, not drawn; a size that is empty counts as one begun."""
    own = (folder / "classes.txt").exists() or (records / "synthetic.json").exists()
    return not own and bool(known or not names)


def _quick_fault(path: Path, deadline: float) -> str | None:
    """Follow the records' lengths from header to header; the data itself is left to `corolla check`."""
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
    """Predictions become a submission by this file."""
    path, sizes = folder / SAMPLE_SUBMISSION, _size_folders(folder)
    names = {f"{f.parent.name}/{f.name}" for records in sizes.values() for f in records.glob("*/*.tfrec")}
    known = names & set().union(*map(competition_files, sizes))
    if (path.exists() and path.stat().st_size) or not any(name.startswith("test/") for name in names):
        return
    if any(_of_the_competition(folder, records, known, names) for records in sizes.values()):
        remedy = _again(folder, min(sizes), mounted=mounted)
    else:
        remedy = f"write {_quote(path)}: a line id,label, then a row for each test image"
    yield Finding("data", "fault", f"{path} is {'empty' if path.exists() else 'missing'}", remedy)


def _partial_download(folder: Path) -> Iterator[Finding]:
    staging = folder / ".corolla-download"
    files = [path.relative_to(staging) for path in staging.rglob("*") if path.is_file()] if staging.is_dir() else []
    if files := [path for path in files if path != Path("lock")]:  # the lock stays behind, and holds nothing
        sizes = re.findall(r"tfrecords-jpeg-(\d+)x", " ".join(map(str, files)))
        text = f"{staging}: a download that is not finished ({len(files)} files); the same corolla download goes on"
        remedy = f"corolla download --size {sizes[0] if sizes else 224} --to {_quote(folder)}"
        yield Finding("data", "note", text, remedy)
    try:
        read_origin(folder)
    except UserError as error:
        remedy = f"rm {_quote(folder / NAME)}, then corolla download again"
        yield Finding("data", "fault", str(error), remedy)
