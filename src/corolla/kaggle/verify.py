"""One file of the competition: is it what was listed?"""

from pathlib import Path

from tqdm import tqdm

from corolla.data.competition import SAMPLE_SUBMISSION
from corolla.data.index import count_in_name
from corolla.data.tfrecord import Buffer, Record, RecordFault, map_file, parse_example, read_records
from corolla.errors import UserError
from corolla.kaggle.submission import read_labels


class Rejected(Exception):
    """A file that is not what the competition listed, with the reason."""


def verify(path: Path, name: str, num_bytes: int, *, as_sent: int | None = None) -> None:
    """That `path` holds the competition's file `name`: size, and for TFRecords framing, CRCs and number of records.

    Args:
        num_bytes: as listed; 0 where the listing does not say.
        as_sent: bytes that came over the network, where they were a zip.

    Raises:
        Rejected: says why not.
    """
    actual = path.stat().st_size
    if num_bytes and num_bytes not in (actual, as_sent):
        page = " and looks like a web page" if is_html(path) else ""
        raise Rejected(f"has {actual} bytes instead of {num_bytes}{page}")
    if name == SAMPLE_SUBMISSION:
        try:
            read_labels(path)
        except UserError as error:
            raise Rejected(str(error).removeprefix(f"{path}: ")) from None
        return
    try:
        count = 0
        buffer = map_file(path)
        for record in read_records(path, buffer):
            if not record.intact:
                raise Rejected(f"record {record.number} at byte {record.offset}: data CRC differs")
            if "/test/" in name:  # whose ids are looked at
                _refuse_foreign(buffer, record)
            count += 1
    except RecordFault as fault:
        raise Rejected(f"record {fault.record} at byte {fault.offset}: {fault.reason}") from None
    stated = count_in_name(Path(name))
    if stated is not None and stated != count:
        raise Rejected(f"holds {count} records, its name says {stated}")


def _refuse_foreign(buffer: Buffer, record: Record) -> None:
    try:
        parse_example(buffer, record.start, record.end)
    except ValueError as error:
        raise Rejected(f"record {record.number} at byte {record.offset}: {error}") from None


def is_html(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(256).lstrip()[:1] == b"<"


def missing(folder: Path, wanted: dict[str, int], *, progress: bool) -> dict[str, int]:
    """The files that are not there, or not as they should be."""
    missing = {}
    hidden = None if progress else True
    with tqdm(total=sum(wanted.values()), desc="verify", unit="B", unit_scale=True, leave=False, disable=hidden) as bar:
        for name, num_bytes in wanted.items():
            try:
                verify(folder / name, name, num_bytes)
            except (Rejected, FileNotFoundError):
                missing[name] = num_bytes
            bar.update(num_bytes)
    return missing


def ids_agree(folder: Path, wanted: dict[str, int]) -> bool:
    """Whether sample_submission.csv asks for the ids of test, neither more nor fewer."""
    ids: set[str | None] = set()
    for name in (name for name in wanted if "/test/" in name):
        buffer = map_file(folder / name)
        ids |= {parse_example(buffer, record.start, record.end).id for record in read_records(folder / name, buffer)}
    return ids == set(read_labels(folder / SAMPLE_SUBMISSION)["id"])
