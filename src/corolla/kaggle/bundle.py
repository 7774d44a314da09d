"""Runs as a Kaggle dataset, found, checked and laid out again in the notebook.

A dataset keeps flat files only (sub-folders are skipped in an upload, archives are unpacked), so a run's files are told
apart by a prefix, and a manifest says which is which, with a size and an SHA-256 each, and how the runs predict and are
joined. The manifest's own SHA-256 is the bundle's: the same members and settings have the same, and whatever else is
attached on Kaggle is refused.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corolla.ensemble.rules import RULE, EnsembleRule
from corolla.errors import UserError
from corolla.files import sha256
from corolla.text_files import decode_text, mismatch, parse_json, read_bytes

MANIFEST = "corolla-bundle.json"
FORMAT = 2
SHAPE = {
    **dict.fromkeys(("name", "competition"), str),
    "rule": RULE,
    "runs": [
        {
            **dict.fromkeys(("name", "checkpoint", "tta"), str),
            **{"size": (None, int), "epochs": (None, int), "val_macro_f1": (None, float), "files": {str: str}},
        }
    ],
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
    def rule(self) -> EnsembleRule:
        """The rule that joins the runs, with what was fitted at home."""
        return EnsembleRule.read(self.manifest["rule"])

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Members in order: name, checkpoint, tta, size, epochs and val_macro_f1 of the checkpoint, and files.

        `files` are names in the run to names here; a run that is there with several views has its files once.
        """
        return self.manifest["runs"]

    @property
    def how(self) -> str:
        """Checkpoints, views and method in a line."""
        told = (dict.fromkeys(run[key] for run in self.runs) for key in ("checkpoint", "tta"))
        return ", ".join([*(" and ".join(each) for each in told), self.rule.method])

    @property
    def num_bytes(self) -> int:
        """Size of the upload, the manifest aside."""
        return sum(file["size"] for file in self.manifest["files"].values())


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
