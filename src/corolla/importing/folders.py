"""Find the photos that a folder holds, with the split and the class that its layout gives each.

A wrong guess here trains on wrong classes without a word. So only layouts that can't be meant otherwise are taken,
those that differ from CLASS/* and {train,val,test}/CLASS/* with a note; all others are refused with what was seen.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from corolla.errors import UserError
from corolla.importing.csv_labels import label_photos, refuse_contradiction
from corolla.importing.photos import Found, Photo, is_photo, visible
from corolla.importing.split_names import names_contents, split_of, splits_of

USUAL = {"train", "val", "valid", "validation", "test"}  # taken without a note
OUT = "OUT"


@dataclass
class Tree:
    """A folder with what lies in it."""

    path: Path
    photos: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    folders: list[Tree] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def full(self) -> list[Tree]:
        """The folders that hold photos, right in them or below."""
        return [child for child in self.folders if child.photos or child.full]

    def all_photos(self) -> Iterator[Path]:
        """Yield the photos right in it and below."""
        yield from self.photos
        for child in self.folders:
            yield from child.all_photos()

    def all_others(self) -> Iterator[Path]:
        """Yield the other files right in it and below."""
        yield from self.others
        for child in self.folders:
            yield from child.all_others()

    def names_below(self) -> Iterator[str]:
        """Yield the names of the folders with photos below it."""
        for child in self.full:
            yield child.name
            yield from child.names_below()


def scan(folder: Path, *, links: bool = True) -> Tree:
    """Return a folder's tree; links to folders are followed only where splits and classes lie: none runs in circles."""
    tree = Tree(folder)
    for path in visible(folder):
        if not path.is_dir():
            (tree.photos if is_photo(path) else tree.others).append(path)
        elif links or not path.is_symlink():
            tree.folders.append(scan(path, links=links and split_of(path.name) is not None and not path.is_symlink()))
    return tree


def find_photos(folder: Path) -> Found:
    """Return the photos in a folder.

    Raises:
        UserError: the folder's layout is none of those that import_photos() takes.
    """
    tree = scan(folder)
    names = [child.name for child in tree.full]
    if splits := splits_of(names):
        photos, notes = _split_folders(tree, splits)
    else:
        some = [child.name for child in tree.full if split_of(child.name)]
        if some and len(names) > 1:
            raise UserError(f"{folder} holds {some[0]}/ beside class folders: move these into train/, or rename it")
        _refuse_copies(tree)
        photos, notes = _class_folders(tree)
    if any(photo.name is None and photo.split != "test" for photo in photos):
        photos, said = label_photos(folder, photos)
        notes += said
    if others := [path for child in tree.full for path in child.all_others()]:
        count = "1 file that is no photo" if len(others) == 1 else f"{len(others)} files that are no photos"
        notes.append(f"{count} left out: {', '.join(str(path.relative_to(folder)) for path in others[:5])}")
    return Found(sorted(photos, key=lambda photo: photo.path), notes)


def _photos(tree: Tree, paths: Iterator[Path] | list[Path], split: str | None, name: str | None) -> list[Photo]:
    return [Photo(path.relative_to(tree.path).as_posix(), split, name) for path in paths]


# Folders called train, val and test


def _split_folders(tree: Tree, splits: dict[str, str]) -> tuple[list[Photo], list[str]]:
    roots = [child for child in tree.folders if child.name in splits]
    notes = []
    if tree.photos:
        raise UserError(f"{tree.photos[0]} lies in no class folder: move it into {roots[0].path / 'CLASS'}")
    if any(name.lower() not in USUAL for name in splits):
        notes.append("; ".join(f"{name}/ is taken as {split}" for name, split in splits.items()))
    if empty := [child.name for child in tree.folders if not child.photos and not child.full]:
        notes.append(f"folders without photos left out: {', '.join(empty)}")
    roots = _one_folder_a_split(tree, roots, splits, notes)
    photos: list[Photo] = []
    trained: set[str] = set()
    for root in sorted(roots, key=lambda root: splits[root.name] != "train"):
        split = splits[root.name]
        inner = _unwrap(root, split, trained)
        if inner is not root:
            notes.append(f"the photos of {split} are those in {inner.path.relative_to(tree.path).as_posix()}/")
        _refuse_copies(inner)
        if split == "train":
            _refuse_empty(inner)
            trained = {child.name.strip() for child in inner.full}
        if inner.photos and inner.full and split != "test":
            raise UserError(f"{inner.photos[0]} lies in no class folder: move it into {inner.path / 'CLASS'}")
        photos += _photos(tree, inner.photos, split, None)
        for child in inner.full:
            photos += _photos(tree, child.all_photos(), split, child.name.strip())
    return photos, notes


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
    _refuse_empty(tree)
    inside = [{child.name: split_of(child.name) for child in folder.full} for folder in tree.full]
    if tree.full and all(names and all(names.values()) and "train" in names.values() for names in inside):
        leaves = all(not child.full for folder in tree.full for child in folder.full)
        single = all(len(set(names.values())) == len(names) for names in inside)
        if leaves and single and not any(folder.photos for folder in tree.full):
            return _splits_in_classes(tree)
    _refuse_sets(tree)
    photos = [photo for child in tree.full for photo in _photos(tree, child.all_photos(), None, child.name.strip())]
    refuse_contradiction(tree.path, photos, _command(tree.path))
    return photos, []


def _only_folder(tree: Tree) -> tuple[list[Photo], list[str]]:
    """Return the photos of the only folder that has some: a CSV may tell their classes.

    Raises:
        UserError: the classes seem to lie one level lower, or there is only one.
    """
    inner = tree.full[0]
    while not inner.photos and len(inner.full) == 1:
        inner = inner.full[0]
    if inner.full:
        names = _listed(child.name for child in inner.full)
        raise UserError(
            f"{tree.path} holds one folder with photos, {inner.path.relative_to(tree.path)}, in which {names} lie: to "
            f"import these, {_command(inner.path)}"
        )
    return _photos(tree, inner.photos, None, None), []


def _splits_in_classes(tree: Tree) -> tuple[list[Photo], list[str]]:
    photos: list[Photo] = []
    for folder in tree.full:
        for child in folder.full:
            photos += _photos(tree, child.photos, split_of(child.name), folder.name.strip())
    return photos, ["the folders in each class folder are taken as its splits"]


def _refuse_empty(tree: Tree) -> None:
    for child in tree.folders:
        if not child.photos and not child.full:
            raise UserError(f"class folder {child.path} holds no photos: add some, or remove it")


def _refuse_copies(tree: Tree) -> None:
    """Refuse a folder in which folders lie that are called as those beside it: a copy of the set, or another split."""
    names = {child.name.casefold(): child.name for child in tree.full}
    for child in tree.full:
        same = sorted({name for name in child.names_below() if name.casefold() in set(names) - {child.name.casefold()}})
        if same:
            raise UserError(
                f"{child.path} holds {_listed(same)}, called as those beside it: a copy of the set inside itself? "
                f"move {child.path} elsewhere, and import again"
            )


def _refuse_sets(tree: Tree) -> None:
    """Refuse folders that seem to be whole sets, splits or kinds of files, and not classes."""
    if not tree.full or any(child.photos or len(child.full) < 2 for child in tree.full):
        contents = [child.name for child in tree.full if names_contents(child.name)]
        if contents and len(contents) == len(tree.full):
            raise UserError(
                f"{tree.path} holds {_listed(contents)}, which are no names of classes: import a folder that holds one "
                f"for each class, list the photos (--lists), or, if they are classes, move them into {tree.path}/train"
            )
        return
    common = set.intersection(*({name.name for name in child.full} for child in tree.full))
    names = _listed(child.name for child in tree.full)
    if common and all(len(child.full) == len(common) for child in tree.full):
        seen = f"with the same {len(common)} folders in each ({', '.join(sorted(common)[:3])}, …)"
        hint = "if they are splits, call them train, val and test"
    else:
        seen = f"in which folders lie ({', '.join(sorted(child.name for child in tree.full[0].full)[:3])}, …)"
        hint = "if those are the classes"
    raise UserError(
        f"{tree.path} holds {names}, {seen}: {hint}; {_command(tree.full[0].path)} imports one of them; if they are "
        f"the classes, move them into {tree.path / 'train'}"
    )


def _listed(names: Iterable[str]) -> str:
    """Return `2 folders called training and testing`."""
    found = list(names)
    if len(found) == 1:
        return f"1 folder called {found[0]}"
    if len(found) > 5:
        return f"{len(found)} folders ({', '.join(found[:4])}, …)"
    return f"{len(found)} folders called {', '.join(found[:-1])} and {found[-1]}"


def _command(folder: Path) -> str:
    return shlex.join(["corolla", "import", str(folder), OUT])
