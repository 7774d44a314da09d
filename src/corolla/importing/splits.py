"""Share photos out to the splits, put them in order and name each by an id: functions of their paths alone."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from corolla.data.competition import SPLITS
from corolla.data.subset import largest_remainder
from corolla.errors import UserError
from corolla.importing.photos import Photo


def apportion(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Return how many of a class's `total` photos each split gets, by largest remainder.

    As far as there are photos, every share above 0 gets one, the first split first.
    """
    rounded = largest_remainder([total * share for share in shares.values()], total)
    counts = dict(zip(shares, rounded, strict=True))
    for position, split in enumerate(shares):
        if counts[split] or not shares[split]:
            continue
        richest = max(counts, key=lambda other: counts[other])
        later = [other for other in list(shares)[position + 1 :] if counts[other]]
        donor = richest if counts[richest] > 1 else later[-1] if later else None
        if donor is not None:
            counts[split], counts[donor] = 1, counts[donor] - 1
    return counts


def split_photos(photos: list[Photo], *, val: float, test: float, seed: int) -> dict[str, list[Photo]]:
    """Return the photos of each split, shuffled.

    Val is drawn from each class where no val photos are given, test where no split is given at all.

    Raises:
        UserError: nothing is left for val.
    """
    given = {photo.split for photo in photos}
    splits: dict[str, list[Photo]] = {split: [photo for photo in photos if photo.split == split] for split in SPLITS}
    if "val" not in given:
        shares = (
            {"train": 1 - val, "val": val} if given != {None} else {"train": 1 - val - test, "val": val, "test": test}
        )
        classes = defaultdict[str | None, list[Photo]](list)
        for photo in sorted(photos, key=lambda photo: photo.draw(f"split {seed}")):
            if photo.split in (None, "train"):
                classes[photo.name].append(photo)
        splits |= {split: [] for split in shares}
        for members in classes.values():
            for split, count in apportion(len(members), shares).items():
                splits[split] += members[:count]
                del members[:count]
    if not splits["val"]:
        raise UserError("val would be empty: no class has two photos; add photos, or give val photos of its own")
    order = {split: sorted(members, key=lambda photo: photo.draw(seed)) for split, members in splits.items()}
    return {split: members for split, members in order.items() if members}


def photo_ids(photos: Iterable[Photo]) -> dict[str, str]:
    """Return path → 9 hexadecimal characters of its SHA-1: the first nine, unless an earlier path has them."""
    ids: dict[str, str] = {}
    taken = set[str]()
    for photo in sorted(photos):
        digest = photo.draw("id")
        ids[photo.path] = next(digest[i : i + 9] for i in range(len(digest) - 8) if digest[i : i + 9] not in taken)
        taken.add(ids[photo.path])
    return ids
