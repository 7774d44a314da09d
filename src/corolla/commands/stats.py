"""corolla stats: print colour statistics, class counts and image sizes."""

from pathlib import Path

from corolla.commands.common import Folder
from corolla.commands.hints import next_training
from corolla.errors import DONE


def stats(
    data: Folder, /, size: int | None = None, splits: tuple[str, ...] = ("train",), cache_dir: Path | None = None
) -> int:
    """Print exact channel means, standard deviations and colour eigenvectors; images per class; image sizes.

    Args:
        data: the data folder.
        size: which tfrecords-jpeg-SxS; may be left out where there is one only.
        splits: the splits whose pixels are counted: train, or train val.
        cache_dir: folder for the index; default: the user's cache.
    """
    from corolla.data.statistics import stats as data_stats

    found = data_stats(data, size=size, splits=splits, cache_dir=cache_dir)
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
    counts = {name: int(sum(each)) for name, each in found.class_counts.items()}
    print(next_training(data, found.size, counts, cache_dir=cache_dir))
    return DONE
