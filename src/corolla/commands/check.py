"""corolla check: find every fault of a data folder."""

import sys

from corolla.commands.common import Folder
from corolla.commands.hints import next_training
from corolla.errors import DONE, FAILED


def check(data: Folder, /, size: int | None = None) -> int:
    """Read everything, verify every checksum, decode every JPEG; print every fault.

    Args:
        data: the data folder.
        size: which tfrecords-jpeg-SxS; may be left out where there is one only.
    """
    from corolla.data.check import check as check_data

    result = check_data(data, size, progress=True)
    for fault in result.faults:
        print(fault)
    for note in result.notes:
        print(note, file=sys.stderr)
    counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
    print(f"{data}: {counts}; {result.num_bytes / 1e6:.0f} MB in {result.seconds:.1f} s", file=sys.stderr)
    if result.faults:
        print(f"{len(result.faults)} faults; replace the files named above", file=sys.stderr)
        return FAILED
    print(
        "no faults",
        next_training(data, result.size, result.counts),
        sep="\n",
        file=sys.stderr,
    )
    return DONE
