"""Every `next:` line can be typed: those of all stages that need no network are followed to their end."""

import contextlib
import io
import itertools
import shlex
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from support import smallest_config, textured

from corolla import cli
from corolla.training.train import train

NUMBERS = itertools.count(1)
QUICK = ["--device", "cpu", "--train.max-hours", "1e-9", "--train.batch-size", "8"]


def followed(words: list[str]) -> list[list[str]]:
    """Run a command, `train` up to its first step, and return the commands that it names as the next ones."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        options = {"train": QUICK, "predict": QUICK[:2], "compare": QUICK[:2]}.get(words[0], [])
        if words[0] == "train":
            options = [*options, "--run-name", f"of-{next(NUMBERS)}"]
        if "--train.corrections" in words:
            fill_in(Path(words[words.index("--train.corrections") + 1]))
        patch.setattr(sys, "argv", ["corolla", *words, *options])
        status = cli.main()
    output = said.getvalue()
    assert status == (75 if words[0] == "train" else 0), f"{shlex.join(words)}\n{output}"
    lines = [line.partition("next: corolla ")[2] for line in output.splitlines()]
    return [shlex.split(line) for line in lines if line]


def fill_in(csv: Path) -> None:
    """Drop the first training photo of an audit, as a person would write it."""
    table = pd.read_csv(csv, dtype=str)
    first = table["split"].tolist().index("train")
    table["action"] = ["drop" if row == first else "" for row in range(len(table))]
    table.to_csv(csv, index=False)


@pytest.mark.slow
def test_they_lead_from_photos_and_from_a_run_to_an_end(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(24):
        folder = tmp_path / "my photos" / ("rose", "tulip")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(textured(number, 40)).save(folder / f"{number}.png")
    train(smallest_config(tiny_data, tmp_path / "runs"), run_name="-a run")
    waiting = [["import", "my photos", "./-data", "--size", "32"]]
    waiting += [["synth", "drawn", "--size", "32", "--share", "0.001"]]
    waiting += [[stage, str(tiny_data)] for stage in ("check", "stats", "show", "audit")]
    waiting += [["predict", "runs/-a run"], ["predict", "runs/-a run", "my photos"], ["compare", "runs/-a run"]]
    done: list[list[str]] = []
    while waiting:
        words = waiting.pop()
        if words not in done:
            done.append(words)
            waiting += followed(words)
        assert len(done) < 40, "they go round in circles"
    stages = {words[0] for words in done}
    assert {"import", "check", "audit", "train", "predict", "ensemble", "score", "compare"} <= stages
