"""corolla train: a run folder from TFRecords."""

import inspect
import logging
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from corolla.arguments import help_text, parse
from corolla.commands.common import given_words, next_command
from corolla.config import Config, keys
from corolla.config.experiments import EXPERIMENTS, experiment_name, find_experiment
from corolla.errors import DONE, STOPPED, USER_ERROR
from corolla.runs.data import check_is_here, own_settings
from corolla.runs.folder import Run
from corolla.text_files import shell_words

log = logging.getLogger(__name__)

FIRST = (
    *("--data", "--size", "--input-size", "--train.epochs", "--train.batch-size", "--optim.lr", "--train.seed"),
    *("--run-name", "--train.fit-hours", "--device"),
)
"""The options that --help shows."""
RANGE_TESTS = Path("learning-rates")
"""The folder of what --find-lr writes."""
PROG = "corolla train EXPERIMENT"
EXPECTED = "one of these experiments, or a .toml or .json file, or the folder of a run to go on with"
DESCRIPTION = (
    "Train an experiment, a TOML file or a run's config.json; the same command again goes on where it stopped."
)


@dataclass(frozen=True, kw_only=True)
class Options(Config):
    """The settings, and what is to be done with them."""

    find_lr: bool = False
    """Train no run, but some 200 steps at ever higher learning rates (the range test of Smith 2017, section 3.3), and
    propose an --optim.lr; the curve goes into learning-rates/NAME."""


def train(arguments: Sequence[str]) -> int:
    """Train an experiment or a TOML file, or go on with runs/NAME; the same command goes on where it stopped."""
    if not arguments or arguments[0].startswith("-"):
        if {"-h", "--help", "--help-all"} & set(arguments):
            first = () if "--help-all" in arguments else FIRST
            print(help_text(Options, prog=PROG, description=DESCRIPTION, first=first, below=f"\n{_experiments()}"))
            return DONE
        print(f"usage: {PROG} [OPTIONS]\n\n{_experiments()}\n")
        print(f"{PROG} --help lists the options with that experiment's values", file=sys.stderr)
        return USER_ERROR
    name, *options = arguments
    begun = Run(Path(name)) if (Path(name) / "config.json").is_file() else None
    base = find_experiment(name) if begun is None else own_settings(begun)
    description = _description(name) if name in EXPERIMENTS else f"The settings of {name}."
    parsed = parse(
        Options,
        prog=f"corolla train {name}",
        words=options,
        default=Options(**_settings_of(base)),
        description=description,
        first=FIRST,
    )
    config = Config(**_settings_of(parsed))
    if begun is not None:
        check_is_here(begun, config.data)
    experiment = experiment_name(name) if begun is None else begun.environment.get("experiment", "custom")
    if parsed.find_lr:
        return _find_lr(config, experiment, name, options, begun)

    from corolla.training.train import train as train_run

    run = train_run(config, experiment=experiment, explicit=_typed(options))
    if run.state != "done":
        return STOPPED
    curves = shell_words("tensorboard", "--logdir", run.folder.parent)
    print(f"{run.folder}: {'best.pt, ' * run.validates}last.pt, metrics.jsonl; curves: {curves}")
    if run.validates and (page := _report(run, config)):
        print(f"{page}: curves, confusions, mistakes with photos, every class; for a browser")
    print(f"to name a photo: corolla {shell_words('predict', run.folder)} PHOTO.jpg")
    device = None if config.device == "auto" else config.device
    given = given_words(cache_dir=config.cache_dir, device=device, workers=config.pipeline.workers)
    print(next_command("predict", run.folder, "--tta", "ten-crop", *given))
    return DONE


run = train
"""It parses its arguments by itself: the experiment decides the defaults of the options."""


def _experiments() -> str:
    """Return what may be trained, as wide as the terminal."""
    width = shutil.get_terminal_size().columns
    listing = [
        textwrap.fill(f"{name:20} {_summary(name)}", width, initial_indent="  ", subsequent_indent=" " * 23)
        for name in EXPERIMENTS
    ]
    return "\n".join([textwrap.fill(f"EXPERIMENT: {EXPECTED}:", width), *listing])


def _report(run: Run, config: Config) -> Path | None:
    """Return the run's page, which is written unless it is there already; None where that fails: the run is done."""
    page = run.folder / "report.html"
    if page.exists() and page.stat().st_mtime >= run.last.stat().st_mtime:
        return page
    try:
        from corolla.compare.report.run_page import report

        return report(run, cache_dir=config.cache_dir, device=config.device, workers=config.pipeline.workers).path
    except Exception as error:  # whatever a page needs, training has ended well
        reason = str(error).partition("\n")[0] or type(error).__name__
        log.warning("%s: its report is not written (%s); corolla report %s tries again", run.folder, reason, run.folder)
    return None


def _settings_of(config: Config) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(Config)}


def _find_lr(config: Config, experiment: str, name: str, options: Sequence[str], begun: Run | None) -> int:
    """Run the range test; the next command is the same one with the learning rate that it proposes."""
    from corolla.compare.places import folder_for, holds
    from corolla.training.find_lr import find_lr

    result = find_lr(config, experiment=experiment, explicit=_typed(options))
    content = result.csv()
    folder = folder_for(result.name, lambda folder: holds(folder / "curve.csv", content), parent=RANGE_TESTS)
    paths = result.save(folder)
    print(result.summary)
    print(f"wrote {' and '.join(map(str, paths))}")
    if result.proposed is None:
        return DONE
    words: list[object] = [name, *_without(options, "--find-lr", "--optim.lr")]
    if begun is not None:  # its settings in a run of its own
        own = {"data": config.data, "run-name": f"{begun.name}-lr"}
        lacking = {name: value for name, value in own.items() if name.replace("-", "_") not in _typed(options)}
        words = [begun.folder / "config.json", *given_words(**lacking), *words[1:]]
    print(next_command("train", *words, "--optim.lr", f"{result.proposed:g}"))
    return DONE


def _without(options: Sequence[str], switch: str, option: str) -> list[str]:
    """Return the words of the command line without a switch, and without an option and its value."""
    kept = list[str]()
    words = iter(options)
    for word in words:
        said = word.partition("=")[0].replace("_", "-")
        if said == option and "=" not in word:
            next(words)
        elif said not in (switch, option):
            kept.append(word)
    return kept


def _summary(experiment: str) -> str:
    return (inspect.getdoc(EXPERIMENTS[experiment]) or "").partition("\n")[0]


def _description(experiment: str) -> str:
    """Return what an experiment says of itself, its command in a paragraph of its own."""
    return re.sub(r"^(corolla train .*)\n", r"\1\n\n", inspect.getdoc(EXPERIMENTS[experiment]) or "", flags=re.M)


def _typed(options: Sequence[str]) -> set[str]:
    """Return the keys of the settings among the words of the command line."""
    names = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in options if word.startswith("--")}
    names |= {re.sub(r"(^|\.)no_", r"\1", name) for name in names}
    return names & set(keys())
