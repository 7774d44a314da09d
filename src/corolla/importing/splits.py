"""Share photos out to the splits, put them in order and name each by an id: functions of their paths alone."""

import itertools
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


def split_photos(
    photos: list[Photo], *, val: float, test: float, seed: int, digests: Mapping[str, str] | None = None
) -> dict[str, list[Photo]]:
    """Return the photos of each split, shuffled.

    Val is drawn from each class where no val photos are given, test where no split is given at all. Photos with the
    same digest are drawn as one, and all of them go to train where they are in several classes; where nothing would be
    left for val, each is drawn for itself.

    Args:
        digests: path → what tells that two photos are the same; default: no two are.

    Raises:
        UserError: nothing is left for val.
    """
    given = {photo.split for photo in photos}
    splits: dict[str, list[Photo]] = {split: [photo for photo in photos if photo.split == split] for split in SPLITS}
    if "val" not in given:
        shares = (
            {"train": 1 - val, "val": val} if given != {None} else {"train": 1 - val - test, "val": val, "test": test}
        )
        splits |= {split: [] for split in shares}
        classes = defaultdict[str | None, list[list[Photo]]](list)
        for same in _drawn(photos, seed, digests or {}):
            if len({photo.name for photo in same}) > 1:
                splits["train"] += same
            else:
                classes[same[0].name].append(same)
        for members in classes.values():
            for split, count in apportion(len(members), shares).items():
                splits[split] += itertools.chain(*members[:count])
                del members[:count]
    if not splits["val"] and digests:
        return split_photos(photos, val=val, test=test, seed=seed)
    if not splits["val"]:
        raise UserError("val would be empty: no class has two photos; add photos, or give val photos of its own")
    order = {split: sorted(members, key=lambda photo: photo.draw(seed)) for split, members in splits.items()}
    return {split: members for split, members in order.items() if members}


def _drawn(photos: list[Photo], seed: int, digests: Mapping[str, str]) -> list[list[Photo]]:
    """Return the photos that are shared out to the splits, the same ones together, in the order of the draw."""
    together = defaultdict[str, list[Photo]](list)
    for photo in sorted(photos, key=lambda photo: photo.draw(f"split {seed}")):
        if photo.split in (None, "train"):
            together[digests.get(photo.path) or f"alone {photo.path}"].append(photo)
    return list(together.values())


def photo_ids(photos: Iterable[Photo]) -> dict[str, str]:
    """Return path → 9 hexadecimal characters of its SHA-1: the first nine, unless an earlier path has them."""
    ids: dict[str, str] = {}
    taken = set[str]()
    for photo in sorted(photos):
        digest = photo.draw("id")
        ids[photo.path] = next(digest[i : i + 9] for i in range(len(digest) - 8) if digest[i : i + 9] not in taken)
        taken.add(ids[photo.path])
    return ids
