"""corolla import-checkpoint: make a run of a checkpoint that others have trained."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from corolla.commands.common import Folder, given_words, next_command
from corolla.errors import DONE
from corolla.text_files import shell_words


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """The network of a checkpoint; all but its name as in `corolla train`."""

    name: str = ""
    """timm:NAME, with the tag of the weights that it began with where these have a preprocessing of their own
    (timm:resnet50.a1_in1k), or resnet18 and the other own networks; default: as timm's training script says in the
    file."""
    shortcut: Literal["A", "B", "C"] = "B"
    """Shortcuts of the own ResNets."""
    stride_in_1x1: bool = False
    """Bottlenecks stride in their first 1x1."""
    stem: Literal["7x7", "3x3", "small", "small-pool"] = "7x7"
    """First layers."""
    avg_shortcut: bool = False
    """Own ResNets: 2x2 average pool before a shortcut's 1x1."""
    activation: Literal["relu", "silu", "gelu"] | None = None
    """Activation; default: the network's own."""
    width: float = 1.0
    """Own ResNets: channels times this."""


AS_NAMED = NetworkOptions()


def import_checkpoint(
    checkpoint: Folder,
    out: Folder,
    /,
    model: NetworkOptions = AS_NAMED,
    classes: Path | None = None,
    data: Path | None = None,
    size: int | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    input_size: int | None = None,
    interpolation: Literal["bilinear", "bicubic"] | None = None,
    crop_fraction: float | None = None,
    cache_dir: Path | None = None,
) -> int:
    """Make a run of a checkpoint trained elsewhere, as it is: predict, compare, ensemble and submit take it.

    Args:
        checkpoint: a file of weights: a state dict, safetensors, or the checkpoint of a training script.
        out: the run's folder, as runs/NAME.
        classes: text with the name of a class a line, in the order of the classifier's outputs; default: those of
            --data, or the competition's 104 where there are so many.
        data: the data folder that is predicted where none is named; it need not be the one it was trained with.
        size: which tfrecords-jpeg-SxS of --data; default: the only one, or that of the input size.
        mean: subtracted from red, green and blue in [0, 1]. This, --std, --input-size, --interpolation and
            --crop-fraction are by default what the file says, else what timm's pretrained_cfg of the network says.
        std: divides what is left.
        input_size: side of the images that the network sees, in pixels.
        interpolation: of the resize.
        crop_fraction: the shorter side is resized to input size / this, then the centre is cropped.
        cache_dir: folder for the index of --data; default: the user's cache.
    """
    from corolla.importing.checkpoint import import_checkpoint as make_run

    run = make_run(
        checkpoint, out, model=asdict(model), classes=classes, data=data, size=size, mean=mean, std=std,
        input_size=input_size, interpolation=interpolation, crop_fraction=crop_fraction, cache_dir=cache_dir,
    )  # fmt: skip
    print(f"{run.folder}: best.pt and last.pt hold these weights as they are; what they were trained with is unknown")
    if data is None:
        print(f"it names the classes of photos: corolla predict {shell_words(run.folder)} PHOTO…")
    print(
        next_command("predict", run.folder, *given_words(cache_dir=cache_dir))
        if data
        else next_command("runs", run.folder.parent)
    )
    return DONE
