"""`corolla download`: one size of the competition's TFRecords, every file verified before it is moved into place."""

import contextlib
import errno
import logging
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corolla.data.competition import SAMPLE_SUBMISSION, SLUG
from corolla.data.mounts import attached, mount_problem, mounted_data
from corolla.errors import UserError
from corolla.files import locked
from corolla.kaggle.client import PATIENCE_S, TIMEOUT_S, Kaggle, connect
from corolla.kaggle.fetch import STAGING, Downloader, bytes_in, staging_of
from corolla.kaggle.manifest import DataManifest, read_manifest
from corolla.kaggle.retry import pages
from corolla.kaggle.verify import ids_agree, missing
from corolla.paths import AnyPath, as_path

log = logging.getLogger(__name__)

SPARE_BYTES = 64 << 20  # left free on the disk
PAGE_SIZE = 200  # the most that Kaggle lists at a time


@dataclass(frozen=True, kw_only=True)
class Download:
    """A data folder after a download."""

    folder: Path
    num_files: int
    num_fetched: int
    num_bytes: int
    """Size of all the files."""
    mounted: Path | None = None
    """Folder of the data that Kaggle has mounted, to which `folder` now links; None where it was downloaded."""

    def __fspath__(self) -> str:
        return str(self.folder)


def download(
    competition: str = SLUG,
    *,
    size: int = 224,
    to: AnyPath = "data",
    timeout_s: float = TIMEOUT_S,
    patience_s: float = PATIENCE_S,
    progress: bool = True,
) -> Download:
    """Fetch sample_submission.csv and the TFRecords of `size`, but for what is there and verified.

    Every file is staged in `to`/.corolla-download, its size, record framing, CRCs and number of records are verified,
    and only then it gets its name. Killed at any moment and called again, it goes on with the bytes that are there.
    Inside a Kaggle notebook `to` gets links to the mounted data instead.

    Args:
        size: side of the photos in pixels, as in tfrecords-jpeg-SxS.
        timeout_s: seconds without a byte after which a connection counts as dead.
        patience_s: seconds of failing without progress after which it is given up.

    Raises:
        UserError: the user can fix it (credentials, rules, slug, size, disk space).
        Failure: Kaggle or the network does not deliver; what has arrived is kept.
    """
    to = as_path(to)
    if (mounted := mounted_data(competition)) is not None:
        return _link(mounted, competition, size, to)
    if problem := mount_problem(competition):
        if attached(competition):
            raise UserError(problem)
        log.warning(problem)  # downloading works too, where the session has internet and credentials
    to.mkdir(parents=True, exist_ok=True)
    with _exclusive(to):
        manifest = read_manifest(to) or DataManifest(competition)
        if manifest.competition != competition:
            raise UserError(f"{to}: holds data of {manifest.competition}; choose another folder with --to")
        wanted = manifest.files.get(str(size))
        if wanted and not missing(to, wanted, progress=progress) and ids_agree(to, wanted):
            return Download(folder=to, num_files=len(wanted), num_fetched=0, num_bytes=sum(wanted.values()))
        kaggle = connect(timeout_s=timeout_s, patience_s=patience_s)
        wanted = select(list_files(kaggle, competition), size, competition)
        manifest.files[str(size)] = wanted
        lacking = missing(to, wanted, progress=progress)
        _check_space(to, lacking)
        manifest.save(to)
        if lacking:
            size_mb = sum(lacking.values()) / 1e6
            log.info("%s: fetching %d files, %.0f MB, into %s", competition, len(lacking), size_mb, to)
        Downloader(kaggle, competition, to, lacking).run(progress=progress)
        if not ids_agree(to, wanted):  # the one file without a checksum
            Downloader(kaggle, competition, to, {SAMPLE_SUBMISSION: wanted[SAMPLE_SUBMISSION]}).run(progress=progress)
            if not ids_agree(to, wanted):
                log.warning("%s: its ids are not those of test; corolla check says more", to / SAMPLE_SUBMISSION)
            lacking[SAMPLE_SUBMISSION] = wanted[SAMPLE_SUBMISSION]
    return Download(folder=to, num_files=len(wanted), num_fetched=len(lacking), num_bytes=sum(wanted.values()))


def list_files(kaggle: Kaggle, competition: str) -> dict[str, int]:
    """Return every file of the competition with its size in bytes."""

    def page(token: str) -> object:
        return kaggle.call(
            lambda: kaggle.api.competition_list_files(competition, page_token=token or None, page_size=PAGE_SIZE),
            subject=competition,
        )

    return {file.name: file.total_bytes for found in pages(page) for file in found.files or []}


def select(files: dict[str, int], size: int, competition: str) -> dict[str, int]:
    """Return the files of one size, and the sample submission.

    Raises:
        UserError: there are none of that size; the message names the sizes that there are.
    """
    pattern = re.compile(r"tfrecords-jpeg-(\d+)x\1/(?:train|val|test)/[^/]+\.tfrec")
    sizes = {name: int(match[1]) for name in files if (match := pattern.fullmatch(name))}
    chosen = {name: files[name] for name in files if sizes.get(name) == size}
    if not chosen:
        there = ", ".join(map(str, sorted(set(sizes.values())))) or "none"
        raise UserError(f"{competition}: has no TFRecords of size {size}; the sizes there are {there} (--size)")
    if SAMPLE_SUBMISSION not in files:
        raise UserError(f"{competition}: lists no {SAMPLE_SUBMISSION}; is it the flower competition?")
    return {SAMPLE_SUBMISSION: files[SAMPLE_SUBMISSION], **dict(sorted(chosen.items()))}


def _check_space(folder: Path, lacking: dict[str, int]) -> None:
    """Raise UserError where the disk has no room for the files that are lacking."""
    num_bytes = sum(lacking.values())
    staged = sum(bytes_in(staging_of(folder, name)) for name in lacking)
    needed, free = num_bytes - staged + SPARE_BYTES, shutil.disk_usage(folder).free
    if num_bytes and needed > free:
        raise UserError(
            f"{folder}: {needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB free; make room, or choose another "
            "folder with --to, or a smaller --size"
        )


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Let one download at a time into a folder, by a lock that dies with the process; the next one finds the files."""
    staging = folder / STAGING
    try:
        staging.mkdir(exist_ok=True)
        (staging / "lock").touch()
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        yield  # nobody writes here, so verifying is all that can be done
        return
    with locked(
        staging / "lock",
        waiting=lambda: log.info("another download into %s is under way; waiting for it to end", folder),
    ):
        yield


def _link(mounted: Path, competition: str, size: int, to: Path) -> Download:
    """Make links in `to` to the data that Kaggle has mounted, so that --data works the same everywhere."""
    name = f"tfrecords-jpeg-{size}x{size}"
    if not (mounted / name).is_dir():
        there = ", ".join(sorted(path.name for path in mounted.glob("tfrecords-jpeg-*")))
        raise UserError(f"{mounted}: has no {name}; there are {there} (--size)")
    to.mkdir(parents=True, exist_ok=True)
    for entry in (name, SAMPLE_SUBMISSION):
        place = to / entry
        if not place.exists():
            place.unlink(missing_ok=True)  # a link into an earlier session
            place.symlink_to(mounted / entry)
        elif place.resolve() != (mounted / entry).resolve():
            raise UserError(
                f"{place}: is there already and not the mounted data; use --data {mounted}, or another --to"
            )
    if read_manifest(to) is None:
        DataManifest(competition).save(to)
    files = [mounted / SAMPLE_SUBMISSION, *(mounted / name).glob("*/*.tfrec")]
    return Download(
        folder=to,
        num_files=len(files),
        num_fetched=0,
        num_bytes=sum(path.stat().st_size for path in files),
        mounted=mounted,
    )
