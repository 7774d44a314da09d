"""A run goes on in another place: --resume-from names its folder of an earlier session, mounted read-only, say."""

import json
import shutil
from pathlib import Path

from corolla.config import Config
from corolla.data.index import Index
from corolla.files import replacing, write_atomically
from corolla.training.checkpoint import load_checkpoint
from corolla.training.run import Run, differing_fields
from corolla.training.start import refuse_other_data

SMALL = ("timing.jsonl", "metrics.jsonl", "environment.json", "config.json")
LARGE = ("best.pt", "epoch-*.pt", "tensorboard/*", "predictions/*")


def adopt(run: Run, config: Config, index: Index) -> None:
    """Make `run` a copy of the run that --resume-from names, if it has no checkpoint yet and the configs are equal.

    A run of another config is not copied (the learner goes on from its checkpoint), nor is a lone checkpoint.

    Raises:
        UserError: the run was trained with other data, or its checkpoint is not readable; nothing is copied then.
    """
    if config.resume_from is None or run.last.exists():
        return
    source = Run(config.resume_from)
    path = source.folder / "config.json"
    if not (path.is_file() and source.last.is_file()):
        return
    if differing := differing_fields(path, config):
        print(f"{source.folder} is a run of other settings ({'; '.join(differing)}), so it is not copied")
        return
    refuse_other_data(load_checkpoint(source.last), index, source.last)
    print(f"going on with a copy of {source.folder} in {run.folder}", flush=True)  # copying takes a while
    copy_run(source, run, resumed_from=str(source.folder), data=str(index.folder.resolve()))


def copy_run(source: Run, run: Run, **facts: str) -> None:
    """Copy what belongs to a run, with `facts` in its environment.json; `source` is only read.

    last.pt makes a folder a run to resume and config.json one to read: they get their names at the very end, so that a
    kill leaves neither. The copies take nothing of the modes of the originals, which may be read-only.
    """
    # Read before last.pt: if the source is still training, its metrics may lag behind its checkpoint, never lead.
    small = {name: (source.folder / name).read_bytes() for name in SMALL if (source.folder / name).is_file()}
    environment = {**json.loads(small.get("environment.json", b"{}")), **facts}
    small["environment.json"] = (json.dumps(environment, indent=2) + "\n").encode()
    with replacing(run.last) as unnamed:
        shutil.copyfile(source.last, unnamed)
        for path in _large_files(source.folder):
            with replacing(run.folder / path.relative_to(source.folder)) as temporary:
                shutil.copyfile(path, temporary)
        for name, content in small.items():
            write_atomically(run.folder / name, content)


def _large_files(folder: Path) -> list[Path]:
    """Without those half-written by a killed process, whose names begin with a dot."""
    found = [path for pattern in LARGE for path in sorted(folder.glob(pattern))]
    return [path for path in found if path.is_file() and not path.name.startswith(".")]
