"""A run goes on in another place: a copy of its folder, which may be mounted read-only."""

import json
import shutil
from pathlib import Path

from corolla.config import Config, to_dict
from corolla.data.corrections import COPY
from corolla.data.folds import COPY as FOLDS
from corolla.files import replacing, write_atomically
from corolla.runs.folder import Run

SMALL = ("timing.jsonl", "metrics.jsonl", "environment.json", COPY, FOLDS, "config.json")
LARGE = ("best.pt", "epoch-*.pt", "events.out.tfevents.*", "tensorboard/*", "predictions/*")


def copy_run(source: Run, run: Run, config: Config, **facts: str) -> None:
    """Copy what belongs to a run, with `config` in its config.json and `facts` in its environment.json.

    `source` is only read. last.pt makes a folder a run to resume and config.json one to read: they get their names at
    the very end, so that a kill leaves neither. The copies take nothing of the modes of the originals, which may be
    read-only.
    """
    # Read before last.pt: if the source is still training, its metrics may lag behind its checkpoint, never lead.
    small = {name: (source.folder / name).read_bytes() for name in SMALL if (source.folder / name).is_file()}
    environment = {**source.environment, **facts}
    if (before := source.config.train.epochs) != config.train.epochs:  # its learning rates are of several lengths
        environment["lengthened_from"] = [*(source.environment.get("lengthened_from") or []), before]
    small["environment.json"] = (json.dumps(environment, indent=2) + "\n").encode()
    small["config.json"] = (json.dumps(to_dict(config, with_runtime=False), indent=2) + "\n").encode()
    with replacing(run.last) as unnamed:
        shutil.copyfile(source.last, unnamed)
        for path in _large_files(source.folder):
            with replacing(run.folder / path.relative_to(source.folder)) as temporary:
                shutil.copyfile(path, temporary)
        for name, content in small.items():
            write_atomically(run.folder / name, content)


def _large_files(folder: Path) -> list[Path]:
    """Return the large files, without those half-written by a killed process, whose names begin with a dot."""
    found = [path for pattern in LARGE for path in sorted(folder.glob(pattern))]
    return [path for path in found if path.is_file() and not path.name.startswith(".")]
