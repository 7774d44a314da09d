"""Classes are shared out to the splits, and photos named, by their paths alone."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corolla.importing.photos import Photo
from corolla.importing.splits import apportion, photo_ids, split_photos


@given(st.integers(1, 2000), st.floats(0.01, 0.45), st.sampled_from((0.0, 0.01, 0.15, 0.45)))
@example(1, 0.4375, 0.15)  # val has the largest share, and yet train comes first
@example(2, 0.45, 0.45)
def test_a_class_is_shared_out(total: int, val: float, test: float) -> None:
    shares = {"train": 1 - val - test, "val": val, "test": test}
    counts = apportion(total, shares)
    assert sum(counts.values()) == total
    assert counts["train"] >= 1
    if total >= 3:
        assert all(counts[split] >= 1 for split, share in shares.items() if share)
    assert counts["test"] == 0 or test
    assert all(abs(counts[split] - total * share) <= 2 for split, share in shares.items())


@settings(max_examples=50)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8).filter(lambda sizes: max(sizes) > 1), st.integers(0, 9))
def test_splits_are_stratified_whole_and_of_the_paths_alone(sizes: list[int], seed: int) -> None:
    photos = [Photo(f"{label}/{n}.jpg", None, str(label)) for label, size in enumerate(sizes) for n in range(size)]
    splits = split_photos(photos, val=0.15, test=0.15, seed=seed)
    assert sorted(photo for members in splits.values() for photo in members) == sorted(photos)
    for label, size in enumerate(sizes):
        counts = apportion(size, {"train": 0.7, "val": 0.15, "test": 0.15})
        assert {s: sum(p.name == str(label) for p in splits.get(s, [])) for s in counts} == counts
    assert split_photos(photos[::-1], val=0.15, test=0.15, seed=seed) == splits


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 25)), min_size=8, max_size=80), st.integers(0, 9))
def test_the_same_photo_is_in_one_split(drawn: list[tuple[int, int]], seed: int) -> None:
    drawn += [(label, 100 + 10 * label + n) for label in range(4) for n in range(2)]  # two of each class are no copies
    photos = [Photo(f"{label}/{n}.jpg", None, str(label)) for n, (label, _) in enumerate(drawn)]
    digests = {photo.path: str(content) for photo, (_, content) in zip(photos, drawn, strict=True)}
    splits = split_photos(photos, val=0.15, test=0.15, seed=seed, digests=digests)
    assert sorted(photo for members in splits.values() for photo in members) == sorted(photos)
    places, classes = {}, {}
    for split, members in splits.items():
        for photo in members:
            places.setdefault(digests[photo.path], set()).add(split)
            classes.setdefault(digests[photo.path], set()).add(photo.name)
    assert all(len(found) == 1 for found in places.values())
    assert all(places[content] == {"train"} for content, names in classes.items() if len(names) > 1)
    assert {photo.name for photo in splits["train"]} == {photo.name for photo in photos}
    assert split_photos(photos[::-1], val=0.15, test=0.15, seed=seed, digests=digests) == splits
    alone = {photo.path: photo.path for photo in photos}
    plain = split_photos(photos, val=0.15, test=0.15, seed=seed)
    assert split_photos(photos, val=0.15, test=0.15, seed=seed, digests=alone) == plain


def test_where_all_photos_are_copies_there_is_a_val_all_the_same() -> None:
    photos = [Photo(f"{label}/{n}.jpg", None, label) for label in "ab" for n in range(5)]
    digests = {photo.path: photo.path[2:] for photo in photos}  # each lies in both classes
    plain = split_photos(photos, val=0.2, test=0.2, seed=0)
    assert split_photos(photos, val=0.2, test=0.2, seed=0, digests=digests) == plain


def test_ids_are_those_of_the_paths_and_never_alike() -> None:
    taken: dict[str, Photo] = {}
    for number in range(4_000_000):  # about 330,000 until two of them share 36 bits
        photo = Photo(f"{number}.jpg", None, "a")
        other = taken.setdefault(photo.draw("id")[:9], photo)
        if other is not photo:
            break
    else:
        pytest.fail("no collision found")
    first, second = photo_ids([photo, other]), photo_ids([other, photo])
    assert first == second
    assert len(set(first.values())) == 2
    assert photo_ids([other])[other.path] == other.draw("id")[:9]
