"""Examine the runs: damaged ones, and those that can go on."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from corolla.config import from_dict, read_settings
from corolla.doctor.report import Finding
from corolla.errors import UserError
from corolla.runs.best_epoch import best_fault
from corolla.runs.folder import Run, checkpoint_fault, data_of
from corolla.runs.imported import import_words
from corolla.runs.without_torch import check_undamaged, read_without_tensors
from corolla.text_files import shell_words


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
    broken = {path: fault for path in (run.last, run.best) if (fault := _damage(path))}
    sound = [path for path in (run.last, run.best) if path.exists() and path not in broken]
    remedies: list[tuple[str, str]] = []
    try:
        from_dict(read_settings(run.folder / "config.json"), source=str(run.folder / "config.json"))
    except UserError as error:
        remedies.append((str(error), _restore_config(run, sound)))
    for path, fault in broken.items():
        remedy = _make_readable(path) if fault.startswith("can't be read") else _restore_checkpoint(run, path, sound)
        remedies.append((f"{path} {fault}", remedy))
    for path, read in ((metrics, lambda: run.copied_metrics), (environment, lambda: data_of(run))):
        try:
            read()
        except OSError as error:
            remedies.append((f"{path} can't be read ({error.strerror})", _make_readable(path)))
        except (ValueError, AttributeError, UserError):
            again = "" if run.imported else ", then the same corolla train command again"
            remedies.append((f"{path} can't be read", f"{_move_away(path)}{again}"))
    for text, remedy in remedies:
        yield Finding("runs", "fault", f"damaged run: {text}", remedy)
    if not remedies:
        yield from _progress(run)


def _damage(path: Path) -> str | None:
    """Return what is wrong with a checkpoint, told by every byte of it; None of one that is sound or not there."""
    if (fault := checkpoint_fault(path)) or not path.exists():
        return fault
    try:
        check_undamaged(path)
        read_without_tensors(path)
    except UserError as error:
        return str(error).removeprefix(f"{path}: ").partition("; whole beside it")[0]
    return None


def _progress(run: Run) -> Iterator[Finding]:
    """Tell of a run that can go on, of one whose metrics.jsonl is not its checkpoint's, and of an imported one."""
    if imported := run.imported:
        text = f"{run.folder}: imported from {imported['file']}; with what and how long it was trained is unknown"
        yield Finding("runs", "ok", text)
        return
    rows, epochs, copied = run.metrics, run.config.train.epochs, len(run.copied_metrics)
    config, data, runs = run.folder / "config.json", data_of(run), run.folder.parent
    name = [f"--run-name={run.name}"] if run.name.startswith("-") else ["--run-name", run.name]
    best = best_fault(run)
    words = ["corolla", "train", config, "--data", data, "--runs", runs, *name]
    if run.state == "stopped":
        text = f"{run.folder}: {len(rows)} of {epochs} epochs are done; it was stopped, or is under way"
    elif run.last.exists() and run.copied_metrics != rows:
        text = f"{run.folder}: metrics.jsonl is not that of last.pt, which counts; train writes it anew"
    elif best is not None:
        remedy = "put the best.pt of this run back, or predict and compare with --checkpoint last"
        yield Finding("runs", "note", f"{run.folder}: {best}; was the folder restored in part?", remedy)
        return
    else:
        return
    if copied > len(rows):
        text += f" (metrics.jsonl tells of {copied}: last.pt is an older one, and counts)"
    text += f" ({best}; until it is written anew, take --checkpoint last)" if best else ""
    yield Finding("runs", "note", text, shell_words(*words))


def _restore_config(run: Run, sound: list[Path]) -> str:
    """Return the remedy for a damaged config: checkpoints hold it too, and a run without any has nothing to lose."""
    if not sound:
        return _anew(run)
    config = f'torch.load({json.dumps(str(sound[0]))}, "cpu", weights_only=True)["config"]'
    target = f'open({json.dumps(str(run.folder / "config.json"))}, "w")'
    return f"python -c {shlex.quote(f'import json, torch; json.dump({config}, {target}, indent=2)')}"


def _restore_checkpoint(run: Run, path: Path, sound: list[Path]) -> str:
    """Return the remedy for a damaged checkpoint: the other one is like it."""
    if not sound:
        return _anew(run)
    copy = shell_words("cp", sound[0], path)
    if run.imported:
        return f"{copy}: the two are the same"
    if path == run.best:
        return f"{copy}: the last epoch then stands for the best one"
    return f"{copy}, then the same corolla train command goes on from there"


def _anew(run: Run) -> str:
    """Return how a run is made once more of which no checkpoint is whole."""
    if run.imported:
        return f"{_move_away(run.folder)}, then {shell_words(*import_words(run))}"
    return f"{_move_away(run.folder)}, then the same corolla train command starts it anew"


def _make_readable(path: Path) -> str:
    """Return the remedy for a file that may be whole, though this process can't read it: nothing is written over it."""
    return f"{shell_words('ls', '-l', path)}; {shell_words('chmod', 'u+r', path)}, or work as the one who owns it"


def _move_away(path: Path) -> str:
    """Return the command that keeps a damaged file under another name."""
    return shell_words("mv", path, path.with_name(f"{path.name}.damaged"))
