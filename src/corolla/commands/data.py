"""download, synth, check, stats, show: what concerns the data."""

import dataclasses
import sys
from pathlib import Path

from corolla.commands.common import DONE, FAILED, Folder, next_command, slug
from corolla.config import Config
from corolla.errors import UserError
from corolla.evaluation.predictions import TTA, SplitName
from corolla.experiments import find_experiment


def download(
    competition: str = "tpu-getting-started",
    size: int = 224,
    to: Path = Path("data"),
    timeout: float = 30.0,
    patience: float = 120.0,
) -> int:
    """Fetch one size of the competition's TFRecords from Kaggle, every file verified; go on where it stopped.

    Args:
        competition: the slug, the last part of the competition's address.
        size: which tfrecords-jpeg-SxS: 192, 224, 331 or 512.
        to: the data folder.
        timeout: seconds without a byte after which a connection counts as dead.
        patience: seconds of failing without progress after which it is given up.
    """
    from corolla.kaggle.download import download as download_data

    if timeout <= 0 or patience < 0:
        raise UserError("--timeout must be above 0 and --patience not below")
    done = download_data(slug(competition) or "", size=size, to=to, timeout_s=timeout, patience_s=patience)
    if done.mounted is not None:
        print(f"{to}: links to the data mounted at {done.mounted}; nothing to download")
    else:
        fetched = f"{done.num_fetched} fetched now" if done.num_fetched else "all were there"
        print(f"{to}: {done.num_files} files of {competition}, verified ({done.num_bytes / 1e6:.0f} MB; {fetched})")
    print(next_command("check", to, "--size", size))
    return DONE


def synth(folder: Folder, /, size: int = 64, share: float = 1.0, seed: int = 0) -> int:
    """Draw the embedded data set: 104 kinds of flowers in the competition's layout.

    Args:
        folder: where to write tfrecords-jpeg-SxS, sample_submission.csv and test_labels.csv.
        size: side of the photos in pixels, 32 to 512.
        share: of the competition's number of images.
        seed: the same seed draws the same bytes.
    """
    from corolla.data.synthetic import synthesize

    made = synthesize(folder, size=size, share=share, seed=seed)
    counts = ", ".join(f"{name} {count}" for name, count in made.counts.items())
    print(f"{folder}: {'holds this set already' if made.reused else 'written'} ({counts} images at {size} px)")
    print(next_command("check", folder, "--size", size))
    return DONE


def check(folder: Folder, /, size: int | None = None) -> int:
    """Read everything, verify every checksum, decode every JPEG; print every fault.

    Args:
        folder: the data folder.
        size: which tfrecords-jpeg-SxS; may be left out where there is one only.
    """
    from corolla.data.check import check as check_data

    result = check_data(folder, size, progress=True)
    for fault in result.faults:
        print(fault)
    for note in result.notes:
        print(note, file=sys.stderr)
    counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
    print(f"{folder}: {counts}; {result.num_bytes / 1e6:.0f} MB in {result.seconds:.1f} s", file=sys.stderr)
    if result.faults:
        print(f"{len(result.faults)} faults; replace the files named above", file=sys.stderr)
        return FAILED
    print(
        "no faults",
        next_command("train", "resnet34", "--data", folder, "--size", result.size),
        sep="\n",
        file=sys.stderr,
    )
    return DONE


def stats(
    folder: Folder, /, size: int | None = None, splits: tuple[str, ...] = ("train",), index: Path | None = None
) -> int:
    """Exact channel means, standard deviations and colour eigenvectors; images per class; image sizes.

    Args:
        folder: the data folder.
        size: which tfrecords-jpeg-SxS; may be left out where there is one only.
        splits: whose pixels are counted: train, or train val.
        index: folder for the index; default: the user's cache.
    """
    from corolla.data.stats import stats as data_stats

    found = data_stats(folder, size=size, splits=splits, index=index)
    names = tuple(found.class_counts)
    width = max(len(name) for name in found.class_names)
    print(f"{'class':>5}  {'name':{width}}" + "".join(f"{name:>8}" for name in names))
    for number, name in enumerate(found.class_names):
        print(f"{number:5d}  {name:{width}}" + "".join(f"{found.class_counts[split][number]:8d}" for split in names))
    print(f"{'':5}  {'all':{width}}" + "".join(f"{sum(found.class_counts[split]):8d}" for split in names))
    print(f"\npixels of {' and '.join(found.splits)}, RGB in [0, 1]")
    for title, values in (
        ("mean", found.color.mean),
        ("standard deviation", found.color.std),
        ("eigenvalues", found.color.eigenvalues),
        *((f"eigenvectors, {channel}", row) for channel, row in zip("RGB", found.color.eigenvectors, strict=True)),
    ):
        print(f"{title:18}" + "".join(f"{value:10.5f}" for value in values))
    print("image sizes       " + ", ".join(f"{size} ({count})" for size, count in found.image_sizes.items()))
    print(next_command("train", "resnet34", "--data", folder, "--size", found.size))
    return DONE


def show(
    folder: Folder,
    /,
    size: int | None = None,
    split: SplitName = "train",
    per_class: int = 1,
    seed: int = 0,
    augment: str | None = None,
    epochs: int = 6,
    tta: TTA | None = None,
    input_size: int | None = None,
    out: Path | None = None,
    index: Path | None = None,
) -> int:
    """A contact sheet as PNG: photos of each class with its number and name, or what a network is given of them.

    Args:
        folder: the data folder.
        size: which tfrecords-jpeg-SxS; may be left out where there is one only.
        split: train, val or test.
        per_class: photos of each class.
        seed: another seed picks other photos, or augments them otherwise.
        augment: an experiment or a .toml: show training photos as its first epochs see them.
        epochs: with --augment: how many of them.
        tta: show val photos as prediction sees them: none, flip, ten-crop, multi-scale, random-8, or joined by +.
        input_size: with --augment or --tta: side of what the network sees; default: the experiment's, or the photos'.
        out: the PNG to write; default: contact-FOLDER-SIZExSIZE-WHAT.png in this folder.
        index: folder for the index; default: the user's cache.
    """
    from corolla.data.show import show as show_data
    from corolla.data.show import show_augmented

    if augment is None and tta is None:
        path = show_data(folder, size=size, split=split, per_class=per_class, seed=seed, out=out, cache=index)
    else:
        base = find_experiment(augment) if augment is not None else Config()
        config = dataclasses.replace(
            base,
            data=folder,
            size=size or base.size,
            input_size=input_size or base.input_size,
            index=index,
            train=dataclasses.replace(base.train, seed=seed),
        )
        path = show_augmented(config, epochs=epochs, tta=tta, out=out)
    print(f"wrote {path}")
    print(next_command("train", augment or "resnet34", "--data", folder, *(["--size", size] if size else [])))
    return DONE
