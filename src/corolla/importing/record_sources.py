"""Find the TFRecord files of others that an import names, the split of each, and unpack those that are compressed."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from corolla.data.foreign_records import packing
from corolla.data.protobuf import Buffer
from corolla.data.record_files import SUFFIXES
from corolla.data.tfrecord import RecordFault, has_header, map_file
from corolla.errors import UserError
from corolla.importing.photos import is_photo
from corolla.importing.split_names import split_of, split_within

CHUNK = 1 << 20
_NAME = re.compile(rf"(?:{'|'.join(map(re.escape, SUFFIXES))})\b|-\d+-of-\d+", re.IGNORECASE)


@dataclass(frozen=True)
class RecordFile:
    """A TFRecord file, its path relative to the folder that holds all of them, and the split that its path tells."""

    path: Path
    name: str
    split: str | None
    by_name: bool
    """True where its own name, and not that of a folder, tells the split."""


def root_of(sources: Sequence[Path]) -> Path:
    """Return the folder that holds all sources."""
    folders = [path if path.is_dir() else path.parent for path in sources]
    return folders[0] if len(set(folders)) == 1 else Path(os.path.commonpath([path.absolute() for path in folders]))


def holds_records(source: Path) -> bool:
    """Return whether a path is a TFRecord file, or a folder with some and without photos."""
    if source.is_dir():
        return any(map(_is_named_so, _below(source))) and not any(map(is_photo, _below(source)))
    if not source.is_file() or is_photo(source):
        return False
    return _is_named_so(source) or has_header(map_file(source))


def find_record_files(sources: Sequence[Path]) -> list[RecordFile]:
    """Return the TFRecord files that are named, and those in the folders that are.

    Raises:
        UserError: there are none, or those of several sizes of the same photos.
    """
    root = root_of(sources)
    paths = [path for source in sources for path in (_records_in(source) if source.is_dir() else [source])]
    files: dict[str, RecordFile] = {}
    for path in paths:
        name = (path.relative_to(root) if path.is_relative_to(root) else path.absolute().relative_to(root)).as_posix()
        folders = (*name.split("/")[:-1], *([root.absolute().name] if "/" not in name else []))
        told = next((split for folder in reversed(folders) if (split := split_of(folder))), None)
        files[name] = RecordFile(path, name, told or split_within(path.stem), told is None)
    sizes = {part for name in files for part in name.split("/")[:-1] if re.fullmatch(r"tfrecords-jpeg-(\d+)x\1", part)}
    if len(sizes) > 1:
        raise UserError(f"{root} holds the same photos in several sizes: name one of {', '.join(sorted(sizes))} in it")
    return [files[name] for name in sorted(files)]


def _records_in(folder: Path) -> list[Path]:
    found = [path for path in _below(folder) if _is_named_so(path)]
    if not found:
        raise UserError(f"{folder} holds no TFRecords: files called *{', *'.join(SUFFIXES)} or *-00000-of-00001")
    return found


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, without hidden ones; a link that leads back into it is passed over."""
    seen: set[str] = set()
    for path, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(path)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            yield from (Path(path, name) for name in sorted(names) if not name.startswith("."))
        seen.add(real)


def _is_named_so(path: Path) -> bool:
    return bool(_NAME.search(path.name))


def open_records(path: Path, unpacked: Path) -> tuple[Path, Buffer]:
    """Map a TFRecord file and return it with the path of its plain bytes: compressed ones are unpacked first.

    Raises:
        RecordFault: it is empty or no regular file, or its compressed bytes are damaged.
    """
    try:
        buffer = map_file(path)
    except OSError as error:
        raise RecordFault(path, 0, 0, f"can't be read: {error.strerror}") from None
    if not buffer:
        raise RecordFault(path, 0, 0, "the file is empty")
    if has_header(buffer) or not packing(buffer[:512]):
        return path, buffer
    plain = unpacked / f"{len(list(unpacked.iterdir()))}"
    try:
        _unpack(path, plain)
    except (zlib.error, EOFError) as error:
        raise RecordFault(path, 0, 0, f"the compressed file is damaged or cut short ({error})") from None
    buffer = map_file(plain)
    if not buffer:
        raise RecordFault(path, 0, 0, "the file is empty")
    return plain, buffer


def _unpack(path: Path, plain: Path) -> None:
    """Unpack gzip, of one part or many, or zlib."""
    with path.open("rb") as source, plain.open("wb") as target:
        decoder, rest = zlib.decompressobj(wbits=47), source.read(CHUNK)  # 47: gzip or zlib, by the first bytes
        while rest:
            target.write(decoder.decompress(rest, CHUNK))
            rest = decoder.unconsumed_tail or (decoder.unused_data.lstrip(b"\0") if decoder.eof else b"")
            rest = rest or source.read(CHUNK)
            if decoder.eof and rest:
                decoder = zlib.decompressobj(wbits=47)
        target.write(decoder.flush())
        if not decoder.eof:
            raise EOFError("its end is missing")
