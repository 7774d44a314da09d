"""Verify files of the competition against its listing."""

from pathlib import Path

from tqdm import tqdm

from corolla.data.competition import SAMPLE_SUBMISSION
from corolla.data.protobuf import Buffer
from corolla.data.record_files import count_in_name
from corolla.data.tfrecord import Record, RecordFault, map_file, parse_example, read_records
from corolla.errors import UserError
from corolla.kaggle.submission import read_labels
from corolla.parallel import hidden


class VerificationError(Exception):
    """A file is not the one that the competition lists; the message is the reason."""


def verify(path: Path, name: str, num_bytes: int, *, as_sent: int | None = None) -> None:
    """Check that `path` holds the competition's file `name`: size, and of TFRecords framing, CRCs, number of records.

    Args:
        num_bytes: as listed; 0 where the listing does not say.
        as_sent: bytes that came over the network, where they were a zip.

    Raises:
        VerificationError: it does not.
    """
    actual = path.stat().st_size
    if num_bytes and num_bytes not in (actual, as_sent):
        page = " and looks like a web page" if is_html(path) else ""
        raise VerificationError(f"has {actual} bytes instead of {num_bytes}{page}")
    if name == SAMPLE_SUBMISSION:
        try:
            read_labels(path)
        except UserError as error:
            raise VerificationError(str(error).removeprefix(f"{path}: ")) from None
        return
    try:
        count = 0
        buffer = map_file(path)
        for record in read_records(path, buffer):
            if not record.intact:
                raise VerificationError(f"record {record.number} at byte {record.offset}: data CRC differs")
            if "/test/" in name:  # its ids are read below
                _check_example(buffer, record)
            count += 1
    except RecordFault as fault:
        raise VerificationError(f"record {fault.record} at byte {fault.offset}: {fault.reason}") from None
    stated = count_in_name(Path(name))
    if stated is not None and stated != count:
        raise VerificationError(f"holds {count} records, its name says {stated}")


def _check_example(buffer: Buffer, record: Record) -> None:
    """Raise VerificationError where a record is no example."""
    try:
        parse_example(buffer, record.start, record.end)
    except ValueError as error:
        raise VerificationError(f"record {record.number} at byte {record.offset}: {error}") from None


def is_html(path: Path) -> bool:
    """Return whether a file looks like a web page."""
    with path.open("rb") as file:
        return file.read(256).lstrip()[:1] == b"<"


def missing(folder: Path, wanted: dict[str, int], *, progress: bool) -> dict[str, int]:
    """Return the files that are not there, or not as they were listed."""
    missing = {}
    total, disable = sum(wanted.values()), hidden(progress)
    with tqdm(total=total, desc="verify", unit="B", unit_scale=True, leave=False, disable=disable) as bar:
        for name, num_bytes in wanted.items():
            try:
                verify(folder / name, name, num_bytes)
            except (VerificationError, FileNotFoundError):
                missing[name] = num_bytes
            bar.update(num_bytes)
    return missing


def ids_agree(folder: Path, wanted: dict[str, int]) -> bool:
    """Return whether sample_submission.csv asks for exactly the ids of test."""
    ids: set[str | None] = set()
    for name in (name for name in wanted if "/test/" in name):
        buffer = map_file(folder / name)
        ids |= {parse_example(buffer, record.start, record.end).id for record in read_records(folder / name, buffer)}
    return ids == set(read_labels(folder / SAMPLE_SUBMISSION)["id"])
