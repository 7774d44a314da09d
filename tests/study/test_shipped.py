"""The studies that ship: their records make the committed tables again, with every version of every library."""

from pathlib import Path

import pytest

from corolla.study.records import FILE
from corolla.study.study import study_table

STUDIES = Path(__file__).parents[2] / "studies"
SHIPPED = sorted(STUDIES.glob(f"*/{FILE}"))


@pytest.mark.parametrize("record", SHIPPED, ids=lambda record: record.parent.name)
def test_the_record_makes_the_committed_tables(record: Path, tmp_path: Path) -> None:
    result = study_table(STUDIES / f"{record.parent.name}.toml", folder=tmp_path)
    committed = [path for path in record.parent.iterdir() if path.suffix in (".md", ".csv")]
    assert len(committed) == 5 + len(result.results.records.measured)
    for path in committed:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
    assert any(row.records for row in result.results.rows)
    assert record.stat().st_size < 200_000


def test_there_are_some() -> None:
    assert SHIPPED
