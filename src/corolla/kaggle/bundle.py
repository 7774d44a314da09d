"""Pack runs as a Kaggle dataset, and unpack them again in the notebook.

A dataset keeps flat files only (sub-folders are skipped in an upload, archives are unpacked), so a run's files are told
apart by a prefix, and a manifest says which is which, with a size and an SHA-256 each. The manifest's own SHA-256 is
the bundle's: the same runs and settings have the same, and whatever else is attached on Kaggle is refused.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corolla.data.competition import SLUG
from corolla.data.transforms.tta import TTA
from corolla.ensemble.rules import PlainMethod
from corolla.errors import UserError
from corolla.files import sha256, write_atomically
from corolla.kaggle.image_wheels import fitting_wheels
from corolla.kaggle.needs import lacking_for_prediction
from corolla.kaggle.wheels import build_wheel
from corolla.runs.checkpoint import load_checkpoint, read_meta, read_progress
from corolla.runs.folder import CheckpointName, Run, open_run
from corolla.temporary import is_temporary
from corolla.text_files import decode_text, mismatch, parse_json, read_bytes

MANIFEST = "corolla-bundle.json"
FORMAT = 1
SHAPE = {
    **dict.fromkeys(("name", "competition", "checkpoint", "tta", "method"), str),
    "runs": [{"name": str, "epochs": (None, int), "val_macro_f1": (None, float), "files": {str: str}}],
    "files": {str: {"size": int, "sha256": str}},
}
MAX_DEPTH = 4  # /kaggle/input/<slug>/ or /kaggle/input/datasets/<owner>/<slug>/, below the folder that is searched


@dataclass(frozen=True)
class Bundle:
    """A folder of runs, wheels and a manifest."""

    folder: Path
    """Folder of the flat files that are uploaded, and of nothing else."""
    sha256: str
    """Hash of the manifest, and so of everything."""
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        return self.manifest["name"]

    @property
    def competition(self) -> str:
        return self.manifest["competition"]

    @property
    def checkpoint(self) -> CheckpointName:
        return self.manifest["checkpoint"]

    @property
    def tta(self) -> TTA:
        return self.manifest["tta"]

    @property
    def method(self) -> PlainMethod:
        return self.manifest["method"]

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Runs in order: name, epochs and val_macro_f1 of the checkpoint, and files (name in the run to name here)."""
        return self.manifest["runs"]

    @property
    def num_bytes(self) -> int:
        """Size of the upload, the manifest aside."""
        return sum(file["size"] for file in self.manifest["files"].values())


def pack(
    runs: Sequence[Path],
    folder: Path,
    *,
    checkpoint: CheckpointName,
    tta: TTA,
    method: PlainMethod,
    name: str,
    competition: str = SLUG,
    wheels: Sequence[Path] = (),
) -> Bundle:
    """Write `folder`/dataset: the runs' checkpoints with config, environment and metrics, wheels, and the manifest.

    Checkpoints are hard links where the file system has them. Two runs of one name get numbers. `wheels` go along
    beside those of what Kaggle's image lacks, which are kept in `folder`/wheels so that the same runs make the same
    bundle whether or not the package index answers; pip takes what fits where it runs.

    Raises:
        UserError: a run is not there, named twice, has no such checkpoint or other classes than the first; or
            `folder`/dataset holds files that are not a bundle's.
    """
    opened = _open(runs)
    described = [_describe(run, checkpoint) for run in opened]
    for run, (_, classes) in zip(opened, described, strict=True):
        if classes != described[0][1]:
            raise UserError(f"{run.folder}: was trained for other classes than {opened[0].folder}")
    dataset = folder / "dataset"
    _clear(dataset)
    build_wheel(dataset)
    for wheel in (*fitting_wheels(lacking_for_prediction(), folder / "wheels"), *wheels):
        shutil.copyfile(wheel, dataset / wheel.name)
    packed = []
    for run, unique, (facts, _) in zip(opened, _numbered([run.name for run in opened]), described, strict=True):
        packed.append({"name": unique, **facts, "files": _add_run(run, _safe(unique), dataset, checkpoint)})
    files = {path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in sorted(dataset.iterdir())}
    manifest = {
        "format": FORMAT,
        "created_by": f"corolla {importlib.metadata.version('corolla')}",
        "name": name,
        "competition": competition,
        "checkpoint": checkpoint,
        "tta": tta,
        "method": method,
        "runs": packed,
        "files": files,
    }
    write_atomically(dataset / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
    return read_bundle(dataset)


def read_bundle(dataset: Path) -> Bundle:
    """Read the manifest of the bundle in a folder; its files are not checked.

    Raises:
        UserError: there is no manifest that this version of corolla understands.
    """
    path, remedy = dataset / MANIFEST, "pack the runs again"
    content = read_bytes(path, remedy=remedy)
    text = decode_text(content, path, remedy=remedy)
    manifest = parse_json(text, {"format?": object}, source=str(path), remedy=remedy)
    if manifest.get("format") != FORMAT:
        raise UserError(f"{path}: not a bundle of this version of corolla; {remedy}")
    if wrong := mismatch(manifest, SHAPE):
        raise UserError(f"{path}: {wrong}; {remedy}")
    return Bundle(dataset, hashlib.sha256(content).hexdigest(), manifest)


def find_bundle(input_root: Path, sha256: str | None) -> Path:
    """Return the folder below `input_root` that holds the bundle with this SHA-256 (None: the only one there).

    Raises:
        UserError: there is none, or not exactly one; the message names those that are there.
    """
    # not read_bundle: a bundle of another version that is attached too is nobody's fault
    found = {place: hashlib.sha256((place / MANIFEST).read_bytes()).hexdigest() for place in _manifests(input_root)}
    if not found:
        reason = "attach the dataset that was packed; just after attaching, the first run may find it empty: run again"
        raise UserError(f"{input_root}: no {MANIFEST} there; {reason}")
    matching = [dataset for dataset, digest in found.items() if sha256 in (None, digest)]
    if not matching:
        there = ", ".join(map(str, found))
        raise UserError(f"{there}: the dataset's version attached is not the one packed; attach its newest version")
    if sha256 is None and len(matching) > 1:
        raise UserError(f"{input_root}: several bundles are attached ({', '.join(map(str, matching))}); leave one")
    return matching[0]


def restore_runs(dataset: Path, into: Path) -> list[Path]:
    """Check every file of a bundle against its manifest and lay out the runs as `into`/NAME, in their order.

    Checkpoints become symbolic links: the mount stays, and a notebook's output must not carry them.

    Raises:
        UserError: a file is missing or another one; the message names it.
    """
    bundle = read_bundle(dataset)
    for name, file in bundle.manifest["files"].items():
        path = dataset / _plain(name, dataset)
        if not path.is_file() or path.stat().st_size != file["size"] or sha256(path) != file["sha256"]:
            fault = "differs" if path.is_file() else "is missing"
            raise UserError(f"{path}: {fault}: the dataset's version attached is not the one packed")
    restored = []
    for run in bundle.runs:
        folder = into / _plain(run["name"], dataset)
        folder.mkdir(parents=True, exist_ok=True)
        for inside, name in run["files"].items():
            target = folder / _plain(inside, dataset)
            target.unlink(missing_ok=True)
            if name not in bundle.manifest["files"]:
                raise UserError(f"{dataset / MANIFEST}: {name} of run {run['name']} is not among its files")
            if target.suffix == ".pt":
                target.symlink_to((dataset / name).resolve())
            else:
                target.write_bytes((dataset / name).read_bytes())  # not its mode: the mount is read-only
        restored.append(folder)
    return restored


def _open(runs: Sequence[Path]) -> list[Run]:
    """Open the runs; each may be named once."""
    if not runs:
        raise UserError("name at least one run's folder")
    opened = [open_run(folder) for folder in runs]
    for position, run in enumerate(opened):
        if run.folder.resolve() in {other.folder.resolve() for other in opened[:position]}:
            raise UserError(f"{run.folder}: is named twice; every run has one vote")
    return opened


def _describe(run: Run, checkpoint: CheckpointName) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a checkpoint's epochs and score, for the notebook's reader, and its classes."""
    content = load_checkpoint(run.checkpoint(checkpoint))
    history = read_progress(content).history
    epochs = None if content.get("imported") else len(history)  # of an imported run it is unknown
    facts = {"epochs": epochs, "val_macro_f1": history[-1].get("macro_f1") if history else None}
    return facts, read_meta(content).class_names


def _add_run(run: Run, prefix: str, dataset: Path, checkpoint: CheckpointName) -> dict[str, str]:
    """Add a run's files under their prefixed names, and return name in the run -> name here."""
    files = {}
    for name in ("config.json", "environment.json", "metrics.jsonl", f"{checkpoint}.pt"):
        source, target = run.folder / name, dataset / f"{prefix}--{name}"
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


def _plain(name: str, dataset: Path) -> str:
    """Return a file's name unless it leads out of its folder."""
    if name != Path(name).name or name in ("", ".", ".."):
        raise UserError(f"{dataset / MANIFEST}: {name!r} is not the name of a file")
    return name


def _manifests(folder: Path, depth: int = 0) -> Iterator[Path]:
    """Yield folders with a manifest, but for the competition's own, which hold thousands of slow files and none."""
    if (folder / MANIFEST).is_file():
        yield folder
    elif depth < MAX_DEPTH and folder.is_dir():
        for inside in sorted(folder.iterdir()):
            if inside.is_dir() and not inside.name.startswith("tfrecords-"):
                yield from _manifests(inside, depth + 1)
