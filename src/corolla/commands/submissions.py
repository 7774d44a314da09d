"""corolla submissions: the ledger and Kaggle's list side by side."""

from pathlib import Path

from corolla.commands.common import slug, text_table
from corolla.errors import DONE, Failure
from corolla.kaggle.ledger import LEDGER

LEAST = ("message", "ref", "runs", "here", "Kaggle", "private", "time")
"""Columns that a narrow terminal goes without, the first first; the ledger has them all."""


def submissions(competition: str | None = None, ledger: Path = LEDGER) -> int:
    """List the ledger beside what Kaggle has, and fill in scores that came later.

    Args:
        competition: the slug; default: every competition in the ledger.
        ledger: the file that records every submission.
    """
    from corolla.kaggle.ledger import Ledger
    from corolla.kaggle.submissions import Listed
    from corolla.kaggle.submissions import submissions as list_all

    def show(lines: list[Listed]) -> None:
        rows = [
            {
                "time": line.entry.time[:16],
                "file": line.entry.csv,
                "runs": line.entry.runs,
                "val F1": line.entry.val_macro_f1,
                "public": line.entry.public_score,
                "private": line.entry.private_score,
                "status": line.entry.status,
                "ref": line.entry.ref,
                "here": "yes" if line.in_ledger else "-",
                "Kaggle": "yes" if line.on_kaggle else "-",
                "message": line.entry.message,
            }
            for line in lines
        ]
        values = [[str(value) for value in row.values()] for row in rows]
        print(text_table(tuple(rows[0]), values, least=LEAST) if rows else "no submissions yet")

    try:
        show(list_all(slug(competition), ledger=ledger))
    except Failure:
        show([Listed(entry, True, False) for entry in Ledger(ledger).read()])  # all that is known without Kaggle
        raise
    return DONE
