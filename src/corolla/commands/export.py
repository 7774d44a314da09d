"""corolla export: a run's network for other programs."""

from pathlib import Path
from typing import Literal

from corolla.commands.common import Folder
from corolla.errors import DONE


def export(
    run: Folder,
    /,
    to: Literal["onnx", "timm", "hub"],
    out: Path | None = None,
    checkpoint: Literal["best", "last"] = "best",
) -> int:
    """Write a run's network for other programs: ONNX, timm, or a folder for Hugging Face's hub.

    It is held against the run's own network on twenty photos before it is said to be done.

    Args:
        run: the run's folder.
        to: onnx: a file of pixels to probabilities (needs the extra: pip install 'corolla[export]'); timm: weights for
            timm.create_model(..., checkpoint_path=FILE); hub: a folder for timm.create_model("local-dir:FOLDER"), with
            a model card.
        out: the file (.onnx, .safetensors) or folder to write; default: in the run's folder, export/NAME.
        checkpoint: best (chosen on val) or last.
    """
    from corolla.export.export import export as export_run

    done = export_run(run, to, out=out, checkpoint=checkpoint)
    print(f"wrote {done.path}: {done.num_classes} classes and the preprocessing are inside")
    print(
        f"  held against the run's own network on {done.photos}: probabilities differ by {done.difference:.2g} at most"
    )
    print(f"  in Python: {done.usage}")
    return DONE
