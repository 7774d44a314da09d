"""`corolla table`: the README's table of results, made from run folders, each line with the command that makes it."""

import codecs
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from corolla.compare.formatting import spread
from corolla.config import as_options, flatten
from corolla.config.experiments import EXPERIMENTS
from corolla.data.corrections import COPY
from corolla.errors import UserError
from corolla.files import write_atomically
from corolla.runs.folder import Run, open_run
from corolla.runs.imported import import_words
from corolla.runs.length import best_score
from corolla.text_files import decode_text, read_bytes, shell_words

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def command_of(run: Run) -> str:
    """Return the command that trains a run again, its seed left out: its experiment with the settings that differ."""
    if run.imported:
        return shell_words(*import_words(run))
    experiment = run.environment.get("experiment", "")
    start = options_to_start(run)
    if experiment not in EXPERIMENTS:
        return shell_words("corolla", "train", run.folder / "config.json", *start)
    settings, usual = flatten(run.config), flatten(EXPERIMENTS[experiment]())
    left_out = {"train.seed", "train.corrections_sha256"} | ({"init_sha256"} if "--init-from" in start else set())
    if settings["input_size"] == settings["size"] and not settings["init_sha256"]:
        left_out.add("input_size")  # the default, but for a run that starts from a checkpoint
    words = ["corolla", "train", experiment]
    for key, value in settings.items():
        if value != usual[key] and key not in left_out:
            words += as_options(key, value)
    return shell_words(*words, *start)


def options_to_start(run: Run) -> list[str]:
    """Return the files of which a run's config.json has the hash alone, for the command that trains it again.

    They are `--init-from PATH`, where that is known, and the copy of the corrections of its training photos.
    """
    config, path = run.config, run.environment.get("init_from")
    words = ["--init-from", str(path)] if config.init_sha256 and path else []
    return [*words, *["--train.corrections", str(run.folder / COPY)] * bool(config.train.corrections_sha256)]


def results_table(folders: Sequence[Path]) -> str:
    """Return a Markdown table: a line per recipe, means and sd over its seeds of the last epoch's scores on val.

    Raises:
        UserError: a folder holds no run, or one that is not finished.
    """
    recipes: dict[str, list[Run]] = {}
    for run in {run.folder.resolve(): run for run in map(open_run, folders)}.values():
        if run.state not in ("done", "imported"):
            raise UserError(
                f"{run.folder}: has {len(run.metrics)} of {run.config.train.epochs} epochs; finish it first"
            )
        settings = flatten(run.config) | {"train.seed": None, "data": run.environment.get("fingerprint")}
        settings |= {"lengthened from": run.environment.get("lengthened_from")}
        settings |= {"imported": str(run.folder.resolve()) if run.imported else None}
        recipes.setdefault(json.dumps(settings, sort_keys=True), []).append(run)
    if not recipes:
        raise UserError("name at least one run's folder")
    lines = [
        "| recipe | seeds | epochs | macro F1 | top-1 | best epoch's macro F1 (chosen on val) | minutes | command |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join(lines + [_line(runs) for runs in recipes.values()])


def _line(runs: Sequence[Run]) -> str:
    if runs[0].imported:
        return _row([f"{runs[0].name}, imported", *["unknown"] * 6, f"`{command_of(runs[0])}`"])
    last = [run.metrics[-1] for run in runs]
    best = [row["macro_f1"] for run in runs if (row := best_score(run.metrics))]
    minutes = [timing[-1]["total_seconds"] / 60 for run in runs if (timing := run.timing)]
    seeds = ", ".join(str(run.config.train.seed) for run in runs)
    name = runs[0].environment.get("experiment", runs[0].name)
    if fold := runs[0].config.train.fold:
        name += f", fold {fold}"
    if earlier := runs[0].environment.get("lengthened_from"):  # its command trains another run
        name += f", lengthened from {' to '.join(map(str, [*earlier, runs[0].config.train.epochs]))} epochs"
    cells = [
        name,
        seeds,
        str(len(runs[0].metrics)),
        *(
            [_spread([row["macro_f1"] for row in last]), _spread([row["top1"] for row in last]), _spread(best)]
            if best
            else ["none, learned from val", "", ""]
        ),
        f"{statistics.mean(minutes):.0f}" if minutes else "",
        f"`{command_of(runs[0])}`",
    ]
    return _row(cells)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _spread(values: Sequence[float]) -> str:
    return spread(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)


def update_readme(path: Path, table: str) -> None:
    """Put the table between the two marks in a Markdown file.

    Raises:
        UserError: the marks are not there, each once and in their order.
    """
    content = read_bytes(path)
    text = decode_text(content, path)
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if text.count(BEGIN) != 1 or text.count(END) != 1 or END in before:
        raise UserError(
            f"{path}: the lines {BEGIN} and {END} say where the table goes, and are not both there, "
            "each once and in this order"
        )
    line_end = "\r\n" if "\r\n" in text else "\n"  # the file stays as its editor wrote it
    lines = line_end.join([f"{before}{BEGIN}", *table.split("\n"), f"{END}{after}"])
    write_atomically(path, codecs.BOM_UTF8 * content.startswith(codecs.BOM_UTF8) + lines.encode())
