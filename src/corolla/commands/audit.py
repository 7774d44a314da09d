"""corolla audit: find faults of the data that no checksum tells."""

from pathlib import Path
from typing import TYPE_CHECKING

from corolla.commands.common import Folder, next_command
from corolla.errors import DONE, UserError

if TYPE_CHECKING:
    from corolla.audit.audit import Audit

LINES = 10  # findings printed; the CSV and the HTML have more


def audit(
    folder: Folder,
    /,
    size: int | None = None,
    runs: tuple[Path, ...] = (),
    folds: int = 5,
    html: Path | None = None,
    csv: Path | None = None,
    self_test: bool = False,
    cache_dir: Path | None = None,
) -> int:
    """Find duplicates within and across splits, likely label errors, outliers and class imbalance.

    Args:
        folder: the data folder.
        size: which tfrecords-jpeg-SxS; may be left out where there is one only.
        runs: judge val's labels by what these runs predict, in place of train's and val's by pretrained features.
        folds: number of parts of the cross-validation over pretrained features.
        html: write contact sheets to this file.
        csv: write every finding to this file.
        self_test: put 20 duplicates and 50 wrong labels into a temporary copy; report recall and precision.
        cache_dir: folder for the index; default: the user's cache.
    """
    from corolla.audit.audit import audit as audit_data

    if self_test:
        if runs or html or csv:
            raise UserError("--self-test judges a copy by pretrained features: leave out --runs, --html and --csv")
        return _self_test(folder, size, folds, cache_dir)
    found = audit_data(folder, size=size, cache_dir=cache_dir, runs=runs, folds=folds)
    _print_worst(found)
    print(*found.sentences(), sep="\n")
    if csv:
        found.write_csv(csv)
        print(f"wrote {csv}: every finding")
    if html:
        from corolla.audit.html import write_html

        write_html(found, html)
        print(f"wrote {html}: contact sheets, for a browser")
    size_option = ["--size", found.photos.index.size]
    if csv or html:
        print(next_command("train", "resnet34", "--data", folder, *size_option))
    else:
        print(next_command("audit", folder, *size_option, "--html", "audit.html", "--csv", "audit.csv"))
    return DONE


def _print_worst(found: "Audit") -> None:
    columns = ["kind", "split", "id", "name", "suggested_name", "partner", "score", "note"]
    for _, rows in found.table()[columns].groupby("kind", sort=False):
        shown = rows.head(LINES).dropna(axis="columns", how="all")
        print(shown.to_string(index=False, na_rep="", float_format="{:.3f}".format))  # pyright: ignore[reportArgumentType]
        if len(rows) > LINES:
            print(f"… and {len(rows) - LINES} more")
        print()


def _self_test(folder: Path, size: int | None, folds: int, cache_dir: Path | None) -> int:
    from corolla.audit.self_test import self_test

    result = self_test(folder, size=size, folds=folds, cache_dir=cache_dir)
    print(*result.audit.sentences(), *result.scores, sep="\n")
    print(next_command("audit", folder, "--size", result.audit.photos.index.size, "--html", "audit.html"))
    return DONE
