"""Scan a folder: photos, other files, and folders, as far down as it goes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from corolla.importing.photos import is_photo, visible
from corolla.importing.split_names import names_contents, split_of

MASKS = re.compile("(image|img)?[ _-]?(masks?|labels?|annotations?|segmentations?|trimaps?|ground[ _-]?truth)")


@dataclass
class Tree:
    """A folder with what lies in it."""

    path: Path
    photos: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    folders: list[Tree] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    """Links to folders that were not followed."""

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def full(self) -> list[Tree]:
        """The folders that hold photos, right in them or below."""
        return [child for child in self.folders if child.photos or child.full]

    @property
    def inner(self) -> Tree:
        """The folder itself, or, where it holds just one with photos, that one, as far down as this goes."""
        return self.full[0].inner if len(self.full) == 1 and not self.photos else self

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

    def below(self) -> Iterator[Tree]:
        """Yield the folder itself and all folders below it."""
        yield self
        for child in self.folders:
            yield from child.below()

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
        else:
            tree.links.append(path)
    return tree


def remove_masks(tree: Tree) -> list[Path]:
    """Remove folders of masks and annotations beside the photos that they are of; return their paths.

    A class may be called masks too: so they must lie right beside photos, or beside a folder such as `images`.
    """
    removed = []
    for folder in (each for child in tree.folders for each in child.below()):
        masks = [child for child in folder.full if MASKS.fullmatch(child.name.lower())]
        others = [child for child in folder.full if child not in masks]
        if masks and (folder.photos or (others and all(names_contents(child.name) for child in others))):
            folder.folders = [child for child in folder.folders if child not in masks]
            del folder.full
            removed += [child.path for child in masks]
    return removed


def listed(names: Iterable[str]) -> str:
    """Return `2 folders called training and testing`."""
    found = list(names)
    if len(found) == 1:
        return f"1 folder called {found[0]}"
    if len(found) > 5:
        return f"{len(found)} folders ({', '.join(found[:4])}, …)"
    return f"{len(found)} folders called {', '.join(found[:-1])} and {found[-1]}"


def command(folder: Path, *options: object) -> str:
    """Return the command that imports a folder."""
    return shlex.join(["corolla", "import", str(folder), "OUT", *map(str, options)])
