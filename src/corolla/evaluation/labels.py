"""CSVs of ids and labels, and the checks of both."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from corolla.errors import UserError
from corolla.text_files import printable, read_csv_rows, shown

NUM_SHOWN = 3


def check_submission(table: pd.DataFrame, sample: pd.DataFrame, num_classes: int, *, source: str) -> None:
    """Check a submission for faults that Kaggle would refuse, or score wrongly.

    Args:
        table: columns id (str) and label (int), as `read_labels` gives them.
        sample: the competition's sample_submission.csv, whose ids must all be there exactly once.

    Raises:
        UserError: ids missing, unknown or doubled, or labels out of range; the message names the first few.
    """
    ids = table["id"].tolist()
    check_ids(ids, sample["id"].tolist(), source=source)
    outside = [
        f"{label} ({name})" for name, label in zip(ids, table["label"], strict=True) if not 0 <= label < num_classes
    ]
    if outside:
        raise UserError(f"{source}: {len(outside)} labels outside 0..{num_classes - 1}: {first_few(outside)}")


def check_ids(ids: Sequence[str], wanted: Sequence[str], *, source: str) -> None:
    """Check that `ids` are those `wanted`, each exactly once, in any order.

    Raises:
        UserError: ids missing, unknown or doubled; the message names the first few.
    """
    missing, unknown = sorted(set(wanted) - set(ids)), sorted(set(ids) - set(wanted))
    if written := _written_otherwise(missing, unknown):
        (asked, there), *_ = written
        raise UserError(
            f"{source}: {len(written)} ids are written in another way than asked for: {there} instead of {asked}"
        )
    faults = {
        "doubled ids": sorted(name for name, count in Counter(ids).items() if count > 1),
        "ids that are asked for twice": sorted(name for name, count in Counter(wanted).items() if count > 1),
        "missing ids": missing,
        "unknown ids": unknown,
    }
    for what, those in faults.items():
        if those:
            instead = f", and {len(unknown)} unknown: {first_few(unknown)}" if those is missing and unknown else ""
            raise UserError(f"{source}: {len(those)} {what}: {first_few(those)}{instead}")


def first_few(values: Sequence[object]) -> str:
    """Return the first values for a message of one line."""
    more = ", ..." if len(values) > NUM_SHOWN else ""
    return ", ".join(shown(printable(value)) for value in values[:NUM_SHOWN]) + more


def _written_otherwise(missing: Sequence[str], unknown: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of a missing id and an unknown one that means the same."""
    meant = {_bare_id(identity): identity for identity in missing}
    return [(meant[bare], identity) for identity in unknown if (bare := _bare_id(identity)) in meant]


def _bare_id(identity: str) -> str:
    """Return an id without what programs put around it: b'…', quotes, blanks, a folder, a suffix, leading zeros."""
    bare = re.sub(r"""^\s*(?:b(?=["']))?(["']?)(.*?)\1\s*$""", r"\2", identity).strip().casefold()
    bare = re.split(r"[/\\]", bare)[-1]
    return re.sub(r"\.(jpe?g|png|webp|tfrec|0)$", "", bare).lstrip("0")


def read_labels(path: Path) -> pd.DataFrame:
    """Read a CSV with the columns id (str) and label (int), also one in .csv.gz or .zip.

    Raises:
        UserError: no such file, other columns, a blank id, or a label that is not a whole number (its line is named).
    """
    if path.is_dir():
        raise UserError(f"{path}: not a CSV but a folder")
    rows: list[tuple[str, int]] = []
    # Not pandas' reader: it takes ids that look like numbers or missing values for such unless it is told not to,
    # and where every line has a field too many, the first for an index.
    lines = read_csv_rows(path)
    _, columns = next(lines, (1, list[str]()))
    if columns != ["id", "label"]:
        raise UserError(f"{path}: the columns are {shown(printable(','.join(columns)))}, not id,label")
    for number, row in lines:
        if not row:
            continue
        if len(row) != 2 or not row[0] or not re.fullmatch(r"-?[0-9]{1,9}", row[1]):
            cells = shown(printable(",".join(row)))
            raise UserError(f"{path}: line {number}: {cells}: an id and a whole number are expected")
        rows.append((row[0], int(row[1])))
    if not rows:
        raise UserError(f"{path}: there are no rows")
    return pd.DataFrame(rows, columns=["id", "label"]).astype({"label": "int64"})
