"""Examine the runs: damaged ones, and those that can go on."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from corolla.doctor.report import Finding
from corolla.errors import UserError
from corolla.runs.folder import Run, checkpoint_fault, data_of


def run_findings(runs: Path) -> Iterator[Finding]:
    """Examine every run in a folder."""
    folders = {path.parent for name in ("config.json", "last.pt") for path in runs.glob(f"*/{name}")}
    folders = sorted(folder for folder in folders if not folder.name.endswith(".damaged"))  # moved away by our advice
    yield Finding("runs", "ok", f"{len(folders)} in {runs}")
    for folder in folders:
        yield from _run(Run(folder))


def _run(run: Run) -> Iterator[Finding]:
    """Examine a run for damage; one that is sound and not done can go on."""
    metrics, environment = run.folder / "metrics.jsonl", run.folder / "environment.json"
    broken = {path: fault for path in (run.last, run.best) if (fault := checkpoint_fault(path))}
    sound = [path for path in (run.last, run.best) if path.exists() and path not in broken]
    remedies: list[tuple[str, str]] = []
    try:
        epochs = run.config.train.epochs
    except UserError as error:
        epochs = 0
        remedies.append((str(error), _restore_config(run, sound)))
    for path, fault in broken.items():
        remedy = _make_readable(path) if "read" in fault else _restore_checkpoint(run, path, sound)
        remedies.append((f"{path} {fault}", remedy))
    for path, read in ((metrics, lambda: run.metrics), (environment, lambda: data_of(run))):
        try:
            read()
        except OSError as error:
            remedies.append((f"{path} can't be read ({error.strerror})", _make_readable(path)))
        except (ValueError, AttributeError, UserError):
            remedies.append((f"{path} can't be read", f"{_move_away(path)}, then the same corolla train command again"))
    for text, remedy in remedies:
        yield Finding("runs", "fault", f"damaged run: {text}", remedy)
    if not remedies and run.state == "stopped":
        text = f"{run.folder}: {len(run.metrics)} of {epochs} epochs are done; it was stopped, or is under way"
        config, data, runs = run.folder / "config.json", data_of(run), run.folder.parent
        words = ["corolla", "train", config, "--data", data, "--runs", runs, "--run-name", run.name]
        yield Finding("runs", "note", text, shlex.join(map(str, words)))


def _restore_config(run: Run, sound: list[Path]) -> str:
    """Return the remedy for a damaged config: checkpoints hold it too, and a run without any has nothing to lose."""
    if not sound:
        return f"{_move_away(run.folder)}, then the same corolla train command starts it anew"
    config = f'torch.load({json.dumps(str(sound[0]))}, "cpu", weights_only=True)["config"]'
    target = f'open({json.dumps(str(run.folder / "config.json"))}, "w")'
    return f"python -c {shlex.quote(f'import json, torch; json.dump({config}, {target}, indent=2)')}"


def _restore_checkpoint(run: Run, path: Path, sound: list[Path]) -> str:
    """Return the remedy for a damaged checkpoint: the other one is like it, and has the rows of metrics.jsonl too."""
    if not sound:
        return f"{_move_away(run.folder)}, then the same corolla train command starts it anew"
    copy = f"cp {shlex.quote(str(sound[0]))} {shlex.quote(str(path))}"
    if path == run.best:
        return f"{copy}: the last epoch then stands for the best one"
    return (
        f"{copy} && {_move_away(run.folder / 'metrics.jsonl')}, then the same corolla train command goes on from there"
    )


def _make_readable(path: Path) -> str:
    """Return the remedy for a file that may be whole, though this process can't read it: nothing is written over it."""
    return f"ls -l {shlex.quote(str(path))}; chmod u+r it, or work as the one who owns it"


def _move_away(path: Path) -> str:
    """Return the command that keeps a damaged file under another name."""
    return f"mv {shlex.quote(str(path))} {shlex.quote(str(path))}.damaged"
