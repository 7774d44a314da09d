"""The files of a run's folder are read in the shape they were written in, or named in one line with a remedy."""

from pathlib import Path

import pytest

from corolla.compare.readme_table import results_table
from corolla.config import Config, to_dict
from corolla.errors import UserError
from corolla.runs.folder import Run
from corolla.runs.writing import write_config

ROW = (
    '{"epoch": 1, "step": 4, "lr": 0.1, "train_loss": 1.5, "val_loss": 1, "top1": 0.5, "top5": 1.0, "macro_f1": 0.4}\n'
)
DAMAGE = {
    "cut": b'{"epoch": 1, "st',
    "UTF-16": ROW.encode("utf-16"),
    "NUL": b"\0" * 512,
    "nested": b"[" * 50_000 + b"\n",
    "a list": b"[]\n",
    "another shape": b'{"data": 5, "epoch": "1"}\n',
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "a")
    write_config(run, Config())
    (run.folder / "last.pt").touch()
    return run


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_metrics_and_environment_that_are_damaged(content: bytes, run: Run) -> None:
    (run.folder / "metrics.jsonl").write_bytes(ROW.encode() + content)
    with pytest.raises(UserError, match=r"metrics\.jsonl: .*; move it away, and the same corolla train") as caught:
        _ = run.metrics
    assert "\n" not in str(caught.value)
    (run.folder / "environment.json").write_bytes(content)
    with pytest.raises(UserError, match=r"environment\.json: .*; move it away, and the same corolla train") as caught:
        _ = run.environment
    assert "\n" not in str(caught.value)


def test_a_mark_of_byte_order_and_an_empty_file_hurt_nothing(run: Run) -> None:
    (run.folder / "metrics.jsonl").write_bytes(b"\xef\xbb\xbf" + ROW.encode())
    assert run.metrics[0]["macro_f1"] == 0.4
    (run.folder / "metrics.jsonl").write_bytes(b"")
    assert run.metrics == []
    run.last.unlink()
    with pytest.raises(UserError, match="has 0 of 70 epochs"):
        results_table([run.folder])


def test_a_line_of_times_that_is_cut_is_left_out_and_another_shape_is_told(run: Run) -> None:
    path = run.folder / "timing.jsonl"
    good = '{"epoch": 1, "total_seconds": 2.0}\n'
    path.write_text(good + '{"epoch": 2, "tot')
    assert [row["epoch"] for row in run.timing] == [1]
    for content in ("{}\n", '{"epoch": 1, "total_seconds": "2"}\n', good + "\0\0\n"):
        path.write_text(content)
        with pytest.raises(UserError, match=r"timing\.jsonl: .*; move it away: nothing but the times"):
            _ = run.timing


def test_the_config_of_a_run_keeps_its_values(run: Run) -> None:
    assert to_dict(run.config, with_runtime=False) == to_dict(Config(), with_runtime=False)
