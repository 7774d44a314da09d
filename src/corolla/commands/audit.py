"""corolla audit: find faults of the data that no checksum tells."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from corolla.commands.common import Folder, given_words, next_command, text_table
from corolla.commands.hints import next_training
from corolla.errors import DONE, UserError
from corolla.text_files import printable

if TYPE_CHECKING:
    from corolla.audit.audit import Audit

LINES = 10  # findings printed; the CSV and the HTML have more
FOLDS = 5


def audit(
    data: Folder,
    /,
    size: int | None = None,
    runs: tuple[Path, ...] = (),
    folds: int = FOLDS,
    html: Path | None = None,
    csv: Path | None = None,
    self_test: bool = False,
    cache_dir: Path | None = None,
) -> int:
    """Find duplicates within and across splits, likely label errors, outliers and class imbalance.

    Args:
        data: the data folder.
        size: which tfrecords-jpeg-SxS; may be left out where there is one only.
        runs: judge val's labels by what these runs predict, in place of train's and val's by pretrained features.
        folds: number of parts of the cross-validation over pretrained features.
        html: write contact sheets to this file.
        csv: write every finding to this file, with a column `action` to fill: drop, or label=N (a class's number or its
            name); corolla train --train.corrections FILE takes it.
        self_test: put 20 duplicates and 50 wrong labels into a temporary copy; report recall and precision.
        cache_dir: folder for the index; default: the user's cache.
    """
    from corolla.audit.audit import audit as audit_data
    from corolla.data.corrections import check_not_filled

    if self_test:
        if runs or html or csv:
            raise UserError("--self-test judges a copy by pretrained features: leave out --runs, --html and --csv")
        return _self_test(data, size, folds, cache_dir)
    if csv:
        check_not_filled(csv)  # before the minutes that it takes to find something to write
    found = audit_data(data, size=size, cache_dir=cache_dir, runs=runs, folds=folds)
    _print_worst(found)
    print(*found.sentences(), sep="\n")
    if csv:
        found.write_csv(csv)
        print(f"wrote {csv}: every finding")
    if html:
        from corolla.audit.html import write_html

        write_html(found, html)
        print(f"wrote {html}: contact sheets, for a browser")
    index = found.photos.index
    if not (csv or html):
        given = given_words(size=index.size, runs=runs or None, folds=_unusual(folds), cache_dir=cache_dir)
        print(next_command("audit", data, *given, "--html", "audit.html", "--csv", "audit.csv"))
        return DONE
    options: list[object] = []
    if csv and any(found.table().dropna(subset="id")["split"] == "train"):
        print(f"{csv}: write drop or label=N into the column action where a photo of train is wrong; training takes it")
        # A name of its own: the run without corrections is often there, and is what this one is compared with.
        options = ["--train.corrections", csv, "--run-name", "corrected"]
    counts = {name: len(each) for name, each in index.splits.items()}
    print(next_training(data, index.size, counts, cache_dir=cache_dir, options=options))
    return DONE


def _print_worst(found: "Audit") -> None:
    wanted = ["kind", "split", "id", "path", "name", "suggested_name", "partner", "partner_path", "score", "note"]
    for kind, rows in found.table()[wanted].groupby("kind", sort=False):
        shown = rows.drop(columns="kind").head(LINES).dropna(axis="columns", how="all")
        cells = [[_cell(value) for value in row] for row in shown.itertuples(index=False)]
        least = ["partner_path", "score", "name", "split", "partner", "note"]
        if "suggested_name" in shown:  # beside which the other name is what matters
            least.remove("name")
        print(f"{kind} ({len(rows)})")
        print(text_table(list(shown), cells, numeric=[title == "score" for title in shown], least=least))
        if len(rows) > LINES:
            print(f"… and {len(rows) - LINES} more")
        print()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3f}"
    return "" if value is None else printable(value)


def _self_test(data: Path, size: int | None, folds: int, cache_dir: Path | None) -> int:
    from corolla.audit.self_test import self_test

    result = self_test(data, size=size, folds=folds, cache_dir=cache_dir)
    print(*result.audit.sentences(), *result.scores, sep="\n")
    given = given_words(size=result.audit.photos.index.size, folds=_unusual(folds), cache_dir=cache_dir)
    print(next_command("audit", data, *given, "--html", "audit.html"))
    return DONE


def _unusual(folds: int) -> int | None:
    return None if folds == FOLDS else folds
