"""`corolla export`: a run's network for other programs, held against the run's own before it has its name."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from corolla.errors import UserError
from corolla.evaluation.compute import PredictOptions, checkpoint_of
from corolla.files import replacing
from corolla.paths import AnyPath, as_path
from corolla.results import Result
from corolla.runs.best_epoch import best_fault
from corolla.runs.folder import CheckpointName, Run, open_run
from corolla.temporary import remove_leftovers, temporary_folder
from corolla.text_files import printable

if TYPE_CHECKING:
    import pandas as pd

    from corolla.export.check import Check, Classify
    from corolla.export.source import Source

log = logging.getLogger(__name__)

Format = Literal["onnx", "timm", "hub"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "timm": ".safetensors", "hub": ""}


@dataclass(frozen=True, repr=False)
class Export(Result):
    """A network as other programs load it; where a path is expected, its file or folder."""

    path: Path
    format: Format
    num_classes: int
    photos: str
    """Photos on which it was held against the run's own network, in words."""
    difference: float
    """Largest difference of a probability on them."""
    usage: str
    """Python that loads it."""

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def summary(self) -> str:
        """The file, and how far its probabilities are from the run's."""
        return (
            f"{self.path}, {self.num_classes} classes; largest difference of a probability from the run's own network "
            f"on {self.photos}: {self.difference:.2g}"
        )

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row: path, format, classes, photos, difference, usage."""
        import pandas as pd

        values = {"path": str(self.path), "format": self.format, "classes": self.num_classes}
        return pd.DataFrame(
            [{**values, "photos": self.photos, "difference": self.difference, "usage": self.usage}],
        )


def export(run: AnyPath, to: Format, *, out: AnyPath | None = None, checkpoint: CheckpointName = "best") -> Export:
    """Write a run's network for other programs, with its classes and preprocessing, and check it on twenty photos.

    The weights are in fp32 as they are evaluated: the moving average where it is on, batch norms as they are.

    Args:
        run: the run's folder, or the `Run`.
        to: onnx: a file of pixels to probabilities, for onnxruntime and others. timm: weights for
            `timm.create_model(..., checkpoint_path=FILE)`. hub: a folder for `timm.create_model("local-dir:FOLDER")`
            and Hugging Face's hub, with a model card.
        out: the file (.onnx, .safetensors) or folder; default: in the run's folder, export/NAME.
        checkpoint: best (chosen on val) or last.

    Raises:
        UserError: no such run or checkpoint, `out` has another suffix or is a folder that is there, timm has no such
            network, a package is missing, or torch cannot write this network as ONNX.
        Failure: the exported network gives other probabilities than the run's; nothing is written then.
    """
    if to not in get_args(Format):
        raise UserError(f"--to {printable(to)}: onnx, timm or hub is expected")
    run = open_run(run)
    checkpoint_of(run, PredictOptions(checkpoint=checkpoint))
    checkpoint = run.counting(checkpoint)
    path = _path(run, to, as_path(out), checkpoint)
    if checkpoint == "best" and (fault := best_fault(run)):
        log.warning("%s: %s; was the folder restored in part? --checkpoint last is sure", run.folder, fault)
    if to == "onnx":
        return _export_onnx(run, path, checkpoint)
    return _export_to_timm(run, path, checkpoint, to)


def _path(run: Run, to: Format, out: Path | None, checkpoint: CheckpointName) -> Path:
    """Return where the export goes; nothing that is no export has its name."""
    suffix = SUFFIXES[to]
    if out is None:
        ending = "" if checkpoint == "best" else "-last"
        out = run.folder / "export" / f"{run.folder.resolve().name}{ending}{suffix}"
    elif suffix and out.suffix != suffix:  # timm tells safetensors by it
        raise UserError(f"{out}: a name in {suffix} is expected for --to {to}")
    if out.is_dir() and (to != "hub" or any(out.iterdir())):
        raise UserError(f"{out}: this folder is there already; remove it, or choose another --out")
    if to == "hub" and out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; --to hub writes a folder")
    return out


def _write_checked(
    source: "Source", path: Path, write: Callable[["Source", Path], None], load: Callable[[Path], "Classify"]
) -> "Check":
    """Write to a hidden place and read it back; it gets its name once it gives the run's probabilities."""
    from corolla.export.check import check_export

    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    with temporary_folder(path.parent, path.name) as place:
        made = place / path.name
        write(source, made)
        check = check_export(load(made), source)
        if made.is_dir():
            if path.is_dir():  # an empty one, which not every system replaces
                path.rmdir()
            made.rename(path)
        else:
            with replacing(path) as temporary:
                made.replace(temporary)
    return check


def _export_onnx(run: Run, path: Path, checkpoint: CheckpointName) -> Export:
    from corolla.export.onnx_file import import_onnx, load_onnx, write_onnx
    from corolla.export.source import read_source

    import_onnx()
    source = read_source(run, checkpoint)
    size = source.meta.input_size
    check = _write_checked(source, path, write_onnx, load_onnx)
    usage = f'onnxruntime.InferenceSession({str(path)!r}).run(["probabilities"], {{"pixels": pixels}})'
    return _result(path, "onnx", source, check, f"{usage}  # uint8, N x 3 x {size} x {size}, RGB")


def _export_to_timm(run: Run, path: Path, checkpoint: CheckpointName, to: Format) -> Export:
    from corolla.export import timm_file
    from corolla.export.source import read_source
    from corolla.export.timm_network import timm_network

    source = read_source(run, checkpoint)
    num_classes = len(source.meta.class_names)
    network = timm_network(source.meta.config.model, num_classes, source.meta.input_size)
    if to == "timm":
        check = _write_checked(
            source, path, timm_file.write_weights, lambda file: timm_file.load_weights(file, network)
        )
        usage = network.call(num_classes=num_classes, checkpoint_path=str(path))
    else:
        timm_file.check_folder_name(path)
        check = _write_checked(
            source,
            path,
            lambda source, folder: timm_file.write_hub_folder(source, folder, network),
            timm_file.load_hub_folder,
        )
        usage = f"timm.create_model({f'local-dir:{path}'!r}, pretrained=True)"
    return _result(path, to, source, check, usage)


def _result(path: Path, to: Format, source: "Source", check: "Check", usage: str) -> Export:
    return Export(path, to, len(source.meta.class_names), check.photos, check.difference, usage)
