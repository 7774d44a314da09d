"""corolla import: write your own photos, or TFRecords of others, as TFRecords that are read."""

import sys
from pathlib import Path
from typing import Literal

from corolla.commands.common import Folder, Paths
from corolla.commands.hints import next_training
from corolla.errors import DONE


def import_(
    photos: Folder,
    out: Folder,
    more: Paths = (),
    /,
    size: int = 224,
    val: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    lists: Path | None = None,
    crop: Literal["center", "stretch"] = "center",
    quality: int = 95,
    skip_broken: bool = False,
    features: str | None = None,
) -> int:
    """Turn folders of your own photos, a class each, or TFRecords of others into TFRecords that every stage takes.

    Args:
        photos: holds CLASS/*.jpg (or png, webp, gif, tif, bmp, avif), or train/CLASS/*, val/CLASS/* and test/CLASS/* or
            test/*; or photos with a CSV of their ids and labels beside them; or TFRecords of others. Or is such a file.
        out: the data folder to write, outside of it; may hold other sizes of the same photos.
        more: with several TFRecord files, FILE FILE ... OUT: the data folder comes last.
        size: side in pixels, 32 to 1024.
        val: share of each class that becomes val, where the folder has none.
        test: share of each class that becomes test, where the folder has no splits; 0: none.
        seed: another seed splits and orders the photos otherwise.
        lists: folder with train.txt, val.txt, test.txt: a path relative to PHOTOS a line, its class the first folder
            or behind a tab, comma, semicolon or blank; or one such list, such as a CSV of paths and labels.
        crop: center: shorter side to SIZE, middle cut out; stretch: all of the photo, squeezed.
        quality: JPEG quality, 1 to 100; a JPEG of SIZE x SIZE keeps its own bytes, its EXIF tags among them.
        skip_broken: leave out photos that are broken or of a kind that can't be read, instead of stopping.
        features: of TFRecords: which are the photo, the class and the id, as image=image/encoded,class=label,id=name;
            those not named are known by usual names.
    """
    from corolla.importing.importer import import_photos

    *sources, out = (photos, out, *more)
    made = import_photos(
        sources, out, size=size, val=val, test=test, seed=seed,
        lists=lists, crop=crop, quality=quality, skip_broken=skip_broken, features=features,
    )  # fmt: skip
    for note in made.notes:
        print(f"note: {note}", file=sys.stderr)
    counts = ", ".join(f"{name} {count}" for name, count in made.counts.items())
    state = "holds these photos already" if made.reused else "written"
    print(f"{out}: {state} ({counts} photos of {len(made.class_names)} classes at {size} px; photos.csv says which)")
    print(next_training(out, size, made.counts))
    return DONE
