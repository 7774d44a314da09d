"""corolla download: the competition's TFRecords from Kaggle."""

from pathlib import Path

from corolla.commands.common import next_command, slug
from corolla.data.competition import SLUG
from corolla.errors import DONE, UserError


def download(
    competition: str = SLUG,
    size: int = 224,
    to: Path = Path("data"),
    timeout: float = 30.0,
    patience: float = 120.0,
) -> int:
    """Download one size of the competition's TFRecords from Kaggle, every file verified; go on where it stopped.

    Args:
        competition: the slug, the last part of the competition's address.
        size: which tfrecords-jpeg-SxS: 192, 224, 331 or 512.
        to: the data folder.
        timeout: seconds without a byte after which a connection counts as dead.
        patience: seconds of failing without progress after which it is given up.
    """
    from corolla.kaggle.download import download as download_data

    if timeout <= 0 or patience < 0:
        raise UserError("--timeout must be above 0 and --patience not below")
    done = download_data(slug(competition) or "", size=size, to=to, timeout_s=timeout, patience_s=patience)
    if done.mounted is not None:
        print(f"{to}: links to the data mounted at {done.mounted}; nothing to download")
    else:
        fetched = f"{done.num_fetched} fetched now" if done.num_fetched else "all were there"
        print(f"{to}: {done.num_files} files of {competition}, verified ({done.num_bytes / 1e6:.0f} MB; {fetched})")
    print(next_command("check", to, "--size", size))
    return DONE
