"""Tables in the terminal: columns that are too many for it go, the least first."""

import pytest

from corolla.commands.common import text_table

TITLES, ROWS = ("name", "weights", "macro F1"), [["resnet34-seed0", "none", "0.9121"], ["b", "pretrained", "0.95"]]


def test_what_fits_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert text_table(TITLES, ROWS, numeric=(False, False, True), least=("weights",)).splitlines() == [
        "name            weights     macro F1",
        "resnet34-seed0  none          0.9121",
        "b               pretrained      0.95",
    ]


def test_the_least_goes_first_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert text_table(TITLES, ROWS, least=("no such title", "weights", "macro F1")).splitlines() == [
        "name            macro F1",
        "resnet34-seed0  0.9121",
        "b               0.95",
        "(too narrow here for: weights)",
    ]


def test_the_line_on_what_is_left_out_is_as_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    table = text_table(TITLES, ROWS, least=("weights", "macro F1"))
    assert all(len(line) <= 20 for line in table.splitlines())
    assert "macro F1, weights)" in " ".join(table.split())


def test_a_pipe_takes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert "weights" in text_table(TITLES, [*ROWS, ["x" * 400, "", ""]], least=("weights",))
