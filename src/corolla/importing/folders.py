"""Find the photos that a folder holds, with the split and the class that its layout gives each.

A wrong guess here trains on wrong classes without a word. So only layouts that can't be meant otherwise are taken,
those that differ from CLASS/* and {train,val,test}/CLASS/* with a note; all others are refused with what was seen.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from corolla.errors import UserError
from corolla.importing.csv_labels import contradiction, label_photos
from corolla.importing.csv_tables import TABLES, tables_beside
from corolla.importing.lists import folder_of_lists, splits_beside
from corolla.importing.photos import Found, Photo
from corolla.importing.split_names import names_contents, split_of, splits_of
from corolla.importing.suspect_layouts import (
    packed,
    refuse_contents,
    refuse_copies,
    refuse_empty,
    refuse_mixed,
    refuse_sets,
)
from corolla.importing.tree import Tree, command, listed, remove_masks, scan
from corolla.text_files import printable

USUAL = {"train", "val", "valid", "validation", "test"}  # taken without a note


def find_photos(folder: Path) -> Found:
    """Return the photos in a folder.

    Raises:
        UserError: the folder's layout is none of those that import_photos() takes.
    """
    tree = scan(folder)
    masks = remove_masks(tree)
    if splits := splits_of([child.name for child in tree.full]):
        photos, notes = _split_folders(tree, splits)
    else:
        refuse_mixed(tree)
        refuse_copies(tree)
        photos, notes = _class_folders(tree)
    notes += _inside_classes(tree, photos)
    if masks:
        shown = printable(", ".join(str(path.relative_to(folder)) for path in masks[:3])) + ", …" * (len(masks) > 3)
        notes.append(f"folders of masks or annotations left out: {shown}")
    used: tuple[str, ...] = ()
    if any(photo.name is None and photo.split != "test" for photo in photos):
        photos, said = label_photos(folder, photos)
        notes += said
        used = TABLES
    if others := [path for child in tree.full for path in child.all_others() if path.suffix.lower() not in used]:
        count = "1 file that is no photo" if len(others) == 1 else f"{len(others)} files that are no photos"
        shown = ", ".join(printable(path.relative_to(folder)) for path in others[:5])
        notes.append(f"{count} left out: {shown}")
    if not photos and (name := packed(tree)):
        raise UserError(f"{folder} holds no photos: unpack {name}, and import the folder that holds its class folders")
    return Found(sorted(photos, key=lambda photo: photo.path), notes)


def _photos(tree: Tree, paths: Iterator[Path] | list[Path], split: str | None, name: str | None) -> list[Photo]:
    return [Photo(path.relative_to(tree.path).as_posix(), split, name) for path in paths]


def _inside_classes(tree: Tree, photos: list[Photo]) -> list[str]:
    """Return notes on folders that became parts of a class, and on links that were not followed."""
    notes = []
    spelled, deeper = defaultdict[str, set[str]](set), dict[str, None]()
    for photo in photos:
        place = PurePosixPath(photo.path).parent
        if photo.name is None:
            continue
        spelled[photo.name] |= {part for part in place.parts if part.strip() == photo.name}
        if place.name.strip() != photo.name and not split_of(place.name):
            deeper[str(place)] = None
    if same := sorted(part for parts in spelled.values() if len(parts) > 1 for part in parts):
        notes.append(f"folders whose names differ in blanks alone are one class: {', '.join(map(repr, same[:6]))}")
    if deeper:
        shown = ", ".join(sorted(deeper)[:3]) + ", …" * (len(deeper) > 3)
        notes.append(f"photos in folders inside a class folder are of its class, {len(deeper)} such: {shown}")
    if links := [link.relative_to(tree.path).as_posix() for each in tree.below() for link in each.links]:
        notes.append(f"links to folders inside class folders are not followed: {', '.join(links[:5])}")
    return [printable(note) for note in notes]


# Folders called train, val and test


def _split_folders(tree: Tree, splits: dict[str, str]) -> tuple[list[Photo], list[str]]:
    roots = [child for child in tree.folders if child.name in splits]
    notes = []
    if tree.photos:
        raise UserError(f"{tree.photos[0]} lies in no class folder: move it into {roots[0].path / 'CLASS'}")
    if any(name.lower() not in USUAL for name in splits):
        notes.append("; ".join(f"{name}/ is taken as {split}" for name, split in splits.items()))
    if empty := [child.name for child in tree.folders if not child.photos and not child.full]:
        notes.append(f"folders without photos left out: {printable(', '.join(empty))}")
    roots = _one_folder_a_split(tree, roots, splits, notes)
    photos: list[Photo] = []
    trained: set[str] = set()
    for root in sorted(roots, key=lambda root: splits[root.name] != "train"):
        split = splits[root.name]
        inner = _unwrap(root, split, trained)
        if inner is not root:
            notes.append(f"the photos of {split} are those in {inner.path.relative_to(tree.path).as_posix()}/")
        refuse_copies(inner)
        refuse_contents(inner)
        if split == "train":
            refuse_empty(inner)
            if root.name.lower() != "train":  # so the photos may be called where a refusal says that they are classes
                refuse_sets(inner)
            trained = {child.name.strip() for child in inner.full}
        if inner.photos and inner.full and split != "test":
            raise UserError(f"{inner.photos[0]} lies in no class folder: move it into {inner.path / 'CLASS'}")
        photos += _photos(tree, inner.photos, split, None)
        for child in inner.full:
            photos += _photos(tree, child.all_photos(), split, child.name.strip())
    trained_on = [photo for photo in photos if photo.split == "train" and photo.name is not None]
    return photos, notes + contradiction(tree.path, trained_on, command(tree.path))


def _one_folder_a_split(tree: Tree, roots: list[Tree], splits: dict[str, str], notes: list[str]) -> list[Tree]:
    """Return the folders with one for each split: of two for test the one with classes."""
    for split in ("train", "val", "test"):
        same = [root for root in roots if splits[root.name] == split]
        bare = [root for root in same if not _unwrap(root, split, set()).full]
        if split == "test" and len(same) - len(bare) == 1 == len(bare):
            kept = next(root for root in same if root not in bare)
            notes.append(f"{bare[0].name}/ left out: its photos have no class, those in {kept.name}/ have one")
            roots = [root for root in roots if root not in bare]
        elif len(same) > 1:
            names = ", ".join(root.name for root in same)
            raise UserError(f"{tree.path} holds two folders for one split: keep one of {names}")
    return roots


def _unwrap(root: Tree, split: str, trained: set[str]) -> Tree:
    """Return the folder in which a split's class folders lie: train/train/, train/images/, test/unknown/, ..."""
    while not root.photos and len(root.full) == 1 and root.full[0].name.strip() not in trained:
        (child,) = root.full
        known = split_of(child.name) == split or names_contents(child.name)
        # a single folder can't be the only class, and one of another split may hold the classes of train
        names = {each.name.strip() for each in child.full}
        known |= len(names) > 1 if split == "train" else bool(names) and names <= trained
        strange = split == "test" and len(trained) > 1 and not difflib.get_close_matches(child.name, trained, 1, 0.7)
        if not (known or (strange and not child.full)):
            break
        root = child
    return root


# A folder for each class


def _class_folders(tree: Tree) -> tuple[list[Photo], list[str]]:
    if len(tree.full) == 1 and not tree.photos:
        return _only_folder(tree)
    if tree.photos and not tree.full:
        return _photos(tree, tree.photos, None, None), []
    if tree.photos:
        raise UserError(f"{tree.photos[0]} lies in no class folder: move it into {tree.path / 'CLASS'}")
    refuse_empty(tree)
    inside = [{child.name: split_of(child.name) for child in folder.full} for folder in tree.full]
    if tree.full and all(names and all(names.values()) and "train" in names.values() for names in inside):
        leaves = all(not child.full for folder in tree.full for child in folder.full)
        single = all(len(set(names.values())) == len(names) for names in inside)
        if leaves and single and not any(folder.photos for folder in tree.full):
            return _splits_in_classes(tree)
    refuse_sets(tree)
    photos = [photo for child in tree.full for photo in _photos(tree, child.all_photos(), None, child.name.strip())]
    notes = contradiction(tree.path, photos, command(tree.path))
    photos, said = splits_beside(tree.path, photos)
    return photos, notes + said


def _only_folder(tree: Tree) -> tuple[list[Photo], list[str]]:
    """Return the photos of the only folder that has some: a CSV may tell their classes.

    Raises:
        UserError: the classes seem to lie one level lower, or there is only one.
    """
    inner = tree.inner
    photos = _photos(tree, inner.all_photos(), None, None)
    tables = tables_beside(tree.path, photos, strict=False)
    if inner.full and not any(table.titled and len(table.rows) > len(photos) / 2 for table in tables):
        names = listed(child.name for child in inner.full)
        lists = folder_of_lists(tree.path, inner.path)
        by = f"; with the splits of the lists in {lists}, {command(inner.path, '--lists', lists)}" if lists else ""
        raise UserError(
            f"{tree.path} holds one folder with photos, {inner.path.relative_to(tree.path)}, in which {names} lie: to "
            f"import these, {command(inner.path)}{by}"
        )
    return photos, []


def _splits_in_classes(tree: Tree) -> tuple[list[Photo], list[str]]:
    photos: list[Photo] = []
    for folder in tree.full:
        for child in folder.full:
            photos += _photos(tree, child.photos, split_of(child.name), folder.name.strip())
    return photos, ["the folders in each class folder are taken as its splits"]
