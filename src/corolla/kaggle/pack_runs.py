"""Write the dataset of a notebook: checkpoints, wheels, and the manifest that says how they predict."""

import importlib.metadata
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corolla.data.competition import SLUG
from corolla.data.folds import COPY as FOLDS
from corolla.errors import UserError
from corolla.files import sha256, write_atomically
from corolla.kaggle.bundle import FORMAT, MANIFEST, Bundle, read_bundle
from corolla.kaggle.image_wheels import fitting_wheels
from corolla.kaggle.needs import lacking_for_prediction
from corolla.kaggle.notebook_members import NotebookEnsemble, NotebookMember
from corolla.kaggle.wheels import build_wheel
from corolla.runs.checkpoint import load_checkpoint, read_meta, read_progress
from corolla.temporary import is_temporary


def pack(
    ensemble: NotebookEnsemble,
    folder: Path,
    *,
    name: str,
    competition: str = SLUG,
    wheels: Sequence[Path] = (),
) -> Bundle:
    """Write `folder`/dataset: the checkpoints with config, environment and metrics, wheels, and the manifest.

    Checkpoints are hard links where the file system has them. Two members of one name get numbers. `wheels` go along
    beside those of what Kaggle's image lacks, which are kept in `folder`/wheels so that the same members make the same
    bundle whether or not the package index answers; pip takes what fits where it runs.

    Raises:
        UserError: a run has no such checkpoint or other classes than the first; or `folder`/dataset holds files that
            are not a bundle's.
    """
    members = ensemble.members
    described = [_describe(member) for member in members]
    for member, (_, classes) in zip(members, described, strict=True):
        if classes != described[0][1]:
            raise UserError(f"{member.run.folder}: was trained for other classes than {members[0].run.folder}")
    if ensemble.rule.prior is not None and described[0][1] and len(ensemble.rule.prior) != len(described[0][1]):
        raise UserError(f"the runs have {len(described[0][1])} classes, --adjust has {len(ensemble.rule.prior)}")
    dataset = folder / "dataset"
    _clear(dataset)
    build_wheel(dataset)
    for wheel in (*fitting_wheels(lacking_for_prediction(), folder / "wheels"), *wheels):
        shutil.copyfile(wheel, dataset / wheel.name)
    runs, there = list[dict[str, Any]](), dict[tuple[Path, str], dict[str, str]]()
    for member, unique, (facts, _) in zip(
        members, _numbered([each.run.name for each in members]), described, strict=True
    ):
        place = member.run.folder.resolve(), member.checkpoint
        if place not in there:  # with several views it is there once
            there[place] = _add_run(member, _safe(unique), dataset)
        how = {"checkpoint": member.checkpoint, "tta": member.tta, "size": member.size}
        runs.append({"name": unique, **how, **facts, "files": there[place]})
    manifest = {
        "format": FORMAT,
        "created_by": f"corolla {importlib.metadata.version('corolla')}",
        "name": name,
        "competition": competition,
        "rule": ensemble.rule.described(),
        "runs": runs,
        "files": {
            path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in sorted(dataset.iterdir())
        },
    }
    write_atomically(dataset / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
    return read_bundle(dataset)


def _describe(member: NotebookMember) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a checkpoint's epochs and score, for the notebook's reader, and its classes."""
    content = load_checkpoint(member.run.checkpoint(member.checkpoint))
    history = read_progress(content).history
    epochs = None if content.get("imported") else len(history)  # of an imported run it is unknown
    facts = {"epochs": epochs, "val_macro_f1": history[-1].get("macro_f1") if history else None}
    return facts, read_meta(content).class_names


def _add_run(member: NotebookMember, prefix: str, dataset: Path) -> dict[str, str]:
    """Add a run's files under their prefixed names, and return name in the run -> name here."""
    files = {}
    for name in ("config.json", "environment.json", "metrics.jsonl", FOLDS, f"{member.checkpoint}.pt"):
        source, target = member.run.folder / name, dataset / f"{prefix}--{name}"
        if not source.exists():
            continue
        files[name] = target.name
        if source.suffix == ".pt":
            _link(source.resolve(), target)
        else:
            write_atomically(target, source.read_bytes())
    return files


def _link(source: Path, target: Path) -> None:
    """Make a hard link, or a copy where that is not possible."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _clear(dataset: Path) -> None:
    """Remove an earlier bundle: every file that is left there would be uploaded."""
    dataset.mkdir(parents=True, exist_ok=True)
    there = {path.name for path in dataset.iterdir()}
    # of a pack that was cut short there may be no manifest yet, but then nothing but what pack writes
    ours = {name for name in there if name.endswith(".whl") or "--" in name} | {MANIFEST, "dataset-metadata.json"}
    ours |= {name for name in there if is_temporary(name, "*--*", "*.whl", "*.json")}
    if foreign := sorted(there - ours):
        raise UserError(f"{dataset / foreign[0]}: was not packed by corolla, but would be uploaded; move it away")
    for name in there:
        (dataset / name).unlink()


def _numbered(names: Sequence[str]) -> list[str]:
    """Return unique names, also as file names and where case does not count: NAME, NAME-2, ..."""
    taken: set[str] = set()
    unique = []
    for name in names:
        number, candidate = 1, name
        while _safe(candidate).lower() in taken:
            number += 1
            candidate = f"{name}-{number}"
        taken.add(_safe(candidate).lower())
        unique.append(candidate)
    return unique


def _safe(name: str) -> str:
    """Return a name that every file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip("._-") or "run"
