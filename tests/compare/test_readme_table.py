"""corolla table: the README's table, with commands that train the same runs again."""

import dataclasses
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import tyro
from support import set_history

from corolla.compare.readme_table import BEGIN, END, command_of, results_table, update_readme
from corolla.config import Config, from_dict, read_settings
from corolla.config.experiments import find_experiment
from corolla.errors import UserError
from corolla.runs.folder import Run
from corolla.training.train import train


def test_the_results_are_means_over_seeds_with_the_command(make_run: Callable[..., Run], tmp_path: Path) -> None:
    runs = [make_run(f"r{seed}", [0.9, 0.5 + seed / 10], seed=seed, epochs=2) for seed in range(3)]
    lone = make_run("lone", [0.2, 0.25], epochs=2, lengthened_from=[1])
    for run in [*runs, lone]:
        set_history(run, run.metrics)
    table = results_table([run.folder for run in [*runs, lone, lone]])
    first, second = table.splitlines()[2:]
    assert "| 0, 1, 2 | 2 | 0.600 ± 0.100 | 0.600 ± 0.100 | 0.900 ± 0.000 | 2 |" in first
    assert "`corolla train resnet18 --size 64 --train.epochs 2`" in first
    assert "| 0.250 | 0.250 | 0.250 |" in second
    assert second.startswith("| resnet18, lengthened from 1 to 2 epochs |"), "by its command it is another run"
    with pytest.raises(UserError, match="no run is in this folder"):
        results_table([tmp_path / "none"])
    with pytest.raises(UserError, match="has 1 of 9 epochs; finish it first"):
        results_table([make_run("begun", [0.25], epochs=9).folder])


def test_the_command_gives_the_same_config(make_run: Callable[..., Run]) -> None:
    base = dataclasses.replace(find_experiment("resnet18"), size=64, input_size=64)
    augment = dataclasses.replace(base.augment, color=True, area=(0.3, 0.9), flip=False)
    run = make_run("r", [0.1], config=dataclasses.replace(base, augment=augment))
    words = shlex.split(command_of(run))
    parsed = tyro.cli(Config, default=find_experiment(words[2]), args=words[3:])
    assert dataclasses.replace(parsed, input_size=64) == run.config


@pytest.mark.parametrize("experiment", ["tiny", "resnet18"])
def test_the_command_names_the_checkpoint_that_a_run_began_with(
    tiny_config: Config, tmp_path: Path, experiment: str
) -> None:
    """config.json has its hash alone, which nobody can train from."""
    source = train(dataclasses.replace(tiny_config, run_name="the first"))
    config = dataclasses.replace(tiny_config, run_name="second", init_from=source.folder, input_size=40)
    run = train(dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=1)), experiment=experiment)
    words = shlex.split(command_of(run))
    assert "--init-sha256" not in words
    base = from_dict(read_settings(Path(words[2]))) if experiment == "tiny" else find_experiment(experiment)
    again = tyro.cli(Config, default=base, args=words[3:])
    assert again.init_from == source.last
    places = {"data": tiny_config.data, "runs": tmp_path / "again", "device": "cpu"}
    places["pipeline"] = dataclasses.replace(again.pipeline, workers=0)
    assert train(dataclasses.replace(again, **places)).config == run.config

    settings = json.loads((run.folder / "environment.json").read_text())
    (run.folder / "environment.json").write_text(json.dumps(settings | {"init_from": None}))
    assert "--init-from" not in command_of(run)
    if experiment == "resnet18":  # the user is asked for the checkpoint
        assert f"--init-sha256 {run.config.init_sha256}" in command_of(run)


def test_the_table_goes_between_the_marks(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# a\n{BEGIN}\nold\n{END}\nrest\n")
    update_readme(readme, "| new |")
    assert readme.read_text() == f"# a\n{BEGIN}\n| new |\n{END}\nrest\n"
    readme.write_text("# nothing\n")
    with pytest.raises(UserError, match="say where the table goes"):
        update_readme(readme, "| new |")
    assert readme.read_text() == "# nothing\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "are not both there"),
        (f"{END}\n{BEGIN}\n".encode(), "are not both there"),
        (f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n".encode(), "each once"),
        (f"{BEGIN}\n{END}\n".encode("utf-16"), "is UTF-16 text"),
        (f"{BEGIN}\n{END}\n\xfc".encode("latin-1"), "line 3: is not UTF-8 text"),
        (f"{BEGIN}\n\0{END}\n".encode(), "line 2: holds NUL bytes"),
    ],
)
def test_a_readme_that_is_not_fit_stays_as_it_was(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        update_readme(path, "| a |")
    assert path.read_bytes() == content


def test_line_ends_and_mark_of_a_readme_stay(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(b"\xef\xbb\xbf" + f"ä\r\n{BEGIN}\r\nold\r\n{END}\r\nend\r\n".encode())
    update_readme(path, "| a |\n| b |")
    assert path.read_bytes() == b"\xef\xbb\xbf" + f"ä\r\n{BEGIN}\r\n| a |\r\n| b |\r\n{END}\r\nend\r\n".encode()
