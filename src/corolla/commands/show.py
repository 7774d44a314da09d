"""corolla show: write contact sheets of photos, of their augmentation or of test-time views."""

import dataclasses
from pathlib import Path

from corolla.commands.common import Folder, ViewArguments, given_words, refuse_with, refuse_without
from corolla.commands.hints import next_training
from corolla.config import Config
from corolla.config.experiments import find_experiment
from corolla.data.competition import SplitName
from corolla.data.index import load_index
from corolla.data.transforms.tta import ViewOptions
from corolla.errors import DONE

NO_VIEWS = ViewOptions()


def show(
    data: Folder,
    /,
    size: int | None = None,
    split: SplitName | None = None,
    per_class: int | None = None,
    seed: int = 0,
    augment: str | None = None,
    epochs: int | None = None,
    input_size: int | None = None,
    out: Path | None = None,
    cache_dir: Path | None = None,
    views: ViewArguments = NO_VIEWS,
) -> int:
    """Write a contact sheet as PNG: photos of each class with its number and name, or as a network is given them.

    Args:
        data: the data folder.
        size: which tfrecords-jpeg-SxS; may be left out where there is one only.
        split: train (default), val or test.
        per_class: photos of each class; default: 1.
        seed: another seed picks other photos, or augments them otherwise.
        augment: an experiment or a .toml: show training photos as its first epochs see them.
        epochs: with --augment: how many of them; default: 6.
        input_size: with --augment or --tta: side of what the network sees; default: the experiment's, or the photos'.
        out: the PNG to write; default: contact-FOLDER-SIZExSIZE-WHAT.png in this folder.
        cache_dir: folder for the index; default: the user's cache.
        views: show val photos as prediction sees them, by the views of corolla predict.
    """
    if augment is None and views.is_default:
        from corolla.show.show import show as show_data

        refuse_without("--augment", epochs=epochs)
        refuse_without("--augment or --tta", input_size=input_size)
        per_class = 1 if per_class is None else per_class
        path = show_data(
            data, size=size, split=split or "train", per_class=per_class, seed=seed, out=out, cache_dir=cache_dir
        )
    else:
        from corolla.show.show import show_augmented

        _refuse_unused(augment, views, split=split, per_class=per_class, epochs=epochs)
        base = find_experiment(augment) if augment is not None else Config()
        config = dataclasses.replace(
            base,
            data=data,
            size=size or base.size,
            input_size=input_size or base.input_size,
            cache_dir=cache_dir,
            train=dataclasses.replace(base.train, seed=seed),
        )
        tta = None if views.is_default else views.name
        path = show_augmented(config, epochs=6 if epochs is None else epochs, tta=tta, out=out)
    print(f"wrote {path}")
    index = load_index(data, size, cache_dir)
    counts = {name: len(each) for name, each in index.splits.items()}
    options = given_words(**{"train.seed": seed}) if augment is not None and seed else []
    print(
        next_training(
            data,
            index.size,
            counts,
            experiment=augment,
            input_size=input_size,
            cache_dir=cache_dir,
            options=options,
        )
    )
    return DONE


def _refuse_unused(
    augment: str | None, views: ViewOptions, *, split: SplitName | None, per_class: int | None, epochs: int | None
) -> None:
    """Raise UserError for an option that a sheet of augmented photos or of test-time views does not look at."""
    if augment is None:
        refuse_without("--augment", epochs=epochs)
    what, shown = ("--augment", "train") if views.is_default else ("test-time views", "val")
    refuse_with(what, per_class=per_class, split=None if split == shown else split)
    if not views.is_default:
        refuse_with(what, epochs=epochs)
