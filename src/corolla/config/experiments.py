"""Named experiments, each a base and the fields that differ; and configs read from files.

plain34, resnet34, resnet50 and resnet50_pretrained follow the ResNet report, the slides that this project started from,
and promise none of its accuracies: it trained four times as long. Its one pattern of file names took in all four sizes
of the competition's photos, so that an epoch had 4 x 12,753 images and 200 updates, 70 epochs 14,000, and a patience of
7 epochs was 1,400. Here, with one size, an epoch has 49 updates, 70 epochs 3,430, and the patience is 343; with
--train.repeat 4 an epoch has 199 (an incomplete batch is left out). Its evaluation was a plain centre crop of a square
photo, nothing resized: --augment.crop-fraction 1 on photos of the input size. Here 0.875 of the side is seen, as in the
ResNet paper. "Expect" gives corolla's own figures; the README has more, with their commands.
"""

import difflib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from corolla.config.config import Config, from_dict
from corolla.config.fields import AugmentConfig, ModelConfig, OptimConfig, TrainConfig
from corolla.config.keywords import with_keywords
from corolla.config.reading import read_settings, unfit
from corolla.errors import UserError
from corolla.paths import AnyPath, as_path
from corolla.text_files import printable


def resnet34() -> Config:
    """ResNet-34 from scratch by the ResNet paper's recipe: SGD 0.1, batch 256, plateau, 70 epochs.

    corolla train resnet34 --data data --size 224
    The ResNet report's epochs were four times as long (200 updates, not 49), and its evaluation a plain centre crop of
    a square photo: --train.repeat 4 --augment.crop-fraction 1.
    """
    return Config(
        model=ModelConfig(name="resnet34"),
        augment=AugmentConfig(crop="resnet"),
        optim=OptimConfig(name="sgd", lr=0.1, momentum=0.9, weight_decay=1e-4, schedule="plateau", patience=7),
        train=TrainConfig(epochs=70, batch_size=256, select_by="val_loss"),
    )


def resnet18() -> Config:
    """ResNet-18 from scratch, otherwise resnet34's recipe; the quickest of the family.

    corolla train resnet18 --data data --size 224
    The ResNet report did not train it.
    """
    return _with_model(resnet34(), "resnet18")


def plain34() -> Config:
    """The 34-layer net without shortcuts, otherwise resnet34's recipe: what residual learning is compared with.

    corolla train plain34 --data data --size 224
    The ResNet report's epochs were four times as long, and its evaluation a plain centre crop: --train.repeat 4
    --augment.crop-fraction 1.
    """
    return _with_model(resnet34(), "plain34")


def resnet50() -> Config:
    """ResNet-50 from scratch, 50 epochs, otherwise resnet34's recipe.

    corolla train resnet50 --data data --size 224
    The ResNet report's epochs were four times as long, and its evaluation a plain centre crop: --train.repeat 4
    --augment.crop-fraction 1.
    """
    base = _with_model(resnet34(), "resnet50")
    return replace(base, train=replace(base.train, epochs=50))


def resnet50_pretrained() -> Config:
    """ResNet-50 from ImageNet weights (torchvision's first set, by timm's hub), lr 0.01, 50 epochs.

    corolla train resnet50_pretrained --data data --size 224
    The ResNet report's epochs were four times as long, and its evaluation a plain centre crop: --train.repeat 4
    --augment.crop-fraction 1.
    """
    base = resnet50()
    return replace(base, model=replace(base.model, weights="pretrained"), optim=replace(base.optim, lr=0.01))


def lite0_pretrained() -> Config:
    """EfficientNet-Lite0 from the ImageNet weights of a pip package: transfer for machines without network.

    corolla train lite0_pretrained --data data --size 224
    Expect a val accuracy of about 0.93 after 5 epochs on Oxford-17 at 224 px (0.929 with seed 0).
    """
    return replace(
        lite0_scratch(),
        model=ModelConfig(name="timm:tf_efficientnet_lite0", weights="package"),
        optim=OptimConfig(
            name="sgd", lr=0.02, nesterov=True, weight_decay=1e-4, decay_norms=False, schedule="cosine", warmup_epochs=1
        ),
    )


def lite0_scratch() -> Config:
    """The same network as lite0_pretrained from random weights: the other side of the comparison.

    corolla train lite0_scratch --data data --size 224
    Expect far less than lite0_pretrained in so few epochs; it differs in the weights and in a learning rate for weights
    that start at random.
    """
    return Config(
        model=ModelConfig(name="timm:tf_efficientnet_lite0"),
        augment=AugmentConfig(crop="random-resized", area=(0.35, 1.0)),
        optim=OptimConfig(
            name="sgd", lr=0.1, nesterov=True, weight_decay=1e-4, decay_norms=False, schedule="cosine", warmup_epochs=1
        ),
        train=TrainConfig(epochs=10, batch_size=64, label_smoothing=0.1),
    )


def scratch_best() -> Config:
    """ResNet-18-D from scratch for few photos: what trained best on one's own, chosen on val.

    corolla train scratch_best --data data --size 64 --input-size 96
    Expect a val macro F1 of 0.818 ± 0.008 on Oxford-102 at 64 px, 0.826 ± 0.006 with ten-crop (mean and standard
    deviation of seeds 0, 1, 2; last epoch). It was chosen on that val by seed 0; what was tried, and what changed
    together: docs/recipes.md.

    What single changes do to it, in macro F1 over three seeds at half its width, 48 px and 20 epochs
    (docs/studies.md#tricks_scratch): crops from 8 %, not 25 % -0.065; crops from 50 %, not 25 % +0.057; with CutMix
    -0.196 (has learned little); with RandAugment -0.070; with TrivialAugment -0.121. No difference shown: without the
    moving average; without smoothing; without growing photos; weight decay 5e-4, not 2e-3; with erasing; with mixup;
    with distillation; scratch_best, ten-crop. So small and short it wants milder crops; at its own size and length
    none of these changes was made alone, but for ten-crop.
    """
    return Config(
        model=ModelConfig(name="resnet18", stem="3x3", avg_shortcut=True, zero_gamma=True),
        augment=AugmentConfig(crop="random-resized", area=(0.25, 1.0), start_size=64),
        optim=OptimConfig(
            name="sgd", lr=0.1, nesterov=True, weight_decay=2e-3, decay_norms=False, schedule="cosine", warmup_epochs=2
        ),
        train=TrainConfig(epochs=40, batch_size=64, label_smoothing=0.1, ema=0.999),
    )


def transfer_best() -> Config:
    """EfficientNet-Lite0 from ImageNet weights without network: what trained best by transfer, chosen on val.

    corolla train transfer_best --data data --size 224
    Expect a val macro F1 of 0.948 ± 0.002 on Oxford-17, 0.973 ± 0.006 with ten-crop at --view-size 256; and of
    0.870 ± 0.004 on Oxford-102 at 64 px with --input-size 128, 0.893 ± 0.007 with ten-crop (mean and standard deviation
    of seeds 0, 1, 2; last epoch). It and the views were chosen on these vals: docs/recipes.md.

    What single changes do to it, in macro F1 over three seeds at 48 px and 5 epochs (docs/studies.md#tricks_transfer):
    one learning rate for all layers -0.268 (has learned little); with mixup -0.057; with CutMix -0.235; with
    RandAugment -0.032; transfer_best, ten-crop +0.055. No difference shown: without the head first; without the moving
    average; without smoothing; without weight decay; crops from 8 %, not 35 %; with TrivialAugment; with erasing; with
    distillation. At its own size and length none of these changes was made alone, but for ten-crop.
    """
    base = lite0_pretrained()
    return replace(
        base,
        optim=replace(base.optim, lr=0.03, layer_decay=0.8),
        train=replace(base.train, epochs=8, batch_size=32, head_epochs=1, ema=0.98),
    )


def _with_model(base: Config, name: str) -> Config:
    return replace(base, model=replace(base.model, name=name))


EXPERIMENTS: dict[str, Callable[[], Config]] = {
    make.__name__: make
    for make in (
        *(resnet18, plain34, resnet34, resnet50, resnet50_pretrained, lite0_pretrained, lite0_scratch),
        *(scratch_best, transfer_best),
    )
}


SUFFIXES = (".toml", ".json")


def find_experiment(name: AnyPath, **settings: Any) -> Config:
    """Return the config of a named experiment, or of a TOML or JSON file: `find_experiment("resnet34", epochs=3)`.

    Args:
        name: `transfer_best`, or a file's path.
        settings: what differs from it, as `corolla.train` takes it.

    Raises:
        UserError: neither is there (the nearest name is suggested), or a setting is none.
    """
    return with_keywords(find_config(name), settings)[0]


def find_config(name: AnyPath, *, near: Path | None = None, within: tuple[Path, ...] = ()) -> Config:
    """Return the config of an experiment or a file.

    Args:
        near: the file from whose folder a relative path starts; None: from the working directory.
        within: the files that are being read; one that has itself as its base is an error.
    """
    name = os.fspath(name)
    if name in EXPERIMENTS:
        return EXPERIMENTS[name]()
    path = near.parent / name if near else as_path(name)
    if path.suffix.lower() in SUFFIXES:
        return load_config(path, within=within)
    if os.path.exists(path):  # noqa: PTH110 - of a name that is too long pathlib raises
        kind = "a folder" if path.is_dir() else "no TOML or JSON file by its name"
        raise UserError(f"{path}: is {kind}: name an experiment, or a file that ends in {' or '.join(SUFFIXES)}")
    if near is None and len(path.parts) != 1:
        raise UserError(f"{printable(name)}: there is neither a run nor a file of this name")
    nearest = difflib.get_close_matches(name, EXPERIMENTS, 1, 0.0)[0]
    where = f"{near}: base: " if near else ""
    raise UserError(
        f"{where}unknown experiment {printable(name)}; nearest: {nearest}; there are: {', '.join(EXPERIMENTS)}"
    )


def experiment_name(name: AnyPath) -> str:
    """Return what a run is called: the experiment, the file's stem, or for runs/NAME/config.json that NAME."""
    path = Path(name)
    if path.suffix.lower() not in SUFFIXES:
        return os.fspath(name)
    return path.absolute().parent.name if path.name == "config.json" else path.stem


def load_config(path: Path, *, within: tuple[Path, ...] = ()) -> Config:
    """Return the config in a TOML file (`base = "resnet34"` and the fields that differ) or a run's config.json.

    Raises:
        UserError: the file, a key or a value in it is not valid; the message names it.
    """
    place = Path(os.path.realpath(path))  # resolve() raises where a link names itself
    if place in within:
        raise UserError(f"{path}: is its own base")
    values = read_settings(path)
    base = values.pop("base", None)
    if base is not None and not isinstance(base, str):
        raise UserError(f"{path}: base = {printable(base)}: the name of an experiment is expected")
    if wrong := unfit(base, "base"):
        raise UserError(f"{path}: {wrong}")
    return from_dict(
        values,
        base=find_config(base, near=path, within=(*within, place)) if base else None,
        source=str(path),
    )
