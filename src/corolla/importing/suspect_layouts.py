"""Folders whose layout can mean several things are refused with what was seen and the command that is meant."""

from __future__ import annotations

from corolla.errors import UserError
from corolla.importing.split_names import names_contents, split_of
from corolla.importing.tree import Tree, command, listed

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


def refuse_mixed(tree: Tree) -> None:
    """Refuse folders of splits that lie beside others."""
    splits = [child.name for child in tree.full if split_of(child.name)]
    others = [child for child in tree.full if child.name not in splits]
    if not splits or not others:
        return
    kinds = {split_of(name) for name in splits}
    if len(kinds) > 1 or all(names_contents(child.name) for child in others):
        raise UserError(
            f"{tree.path} holds {', '.join(f'{name}/' for name in splits)} and {listed(c.name for c in others)}, of no "
            f"split: move {others[0].path} elsewhere, or name it by a split (train, val, test), and import again"
        )
    raise UserError(f"{tree.path} holds {splits[0]}/ beside class folders: move these into train/, or rename it")


def refuse_empty(tree: Tree) -> None:
    """Refuse a class folder without photos."""
    for child in tree.folders:
        if not child.photos and not child.full:
            remedy = f"unpack {name} there" if (name := packed(child)) else "add some, or remove it"
            raise UserError(f"class folder {child.path} holds no photos: {remedy}")


def packed(tree: Tree) -> str:
    """Return the name of an archive that lies in a folder, or nothing."""
    return next((path.name for path in tree.others if path.suffix.lower() in ARCHIVES), "")


def refuse_copies(tree: Tree) -> None:
    """Refuse a folder in which folders lie that are called as those beside it: a copy of the set, or another split."""
    names = {child.name.casefold(): child.name for child in tree.full}
    for child in tree.full:
        same = sorted({name for name in child.names_below() if name.casefold() in set(names) - {child.name.casefold()}})
        if same:
            raise UserError(
                f"{child.path} holds {listed(same)}, called as those beside it: a copy of the set inside itself? "
                f"move {child.path} elsewhere, and import again"
            )


def refuse_contents(tree: Tree) -> None:
    """Refuse folders all of which are called by what lies in them."""
    if len(tree.full) > 1 and all(names_contents(child.name) for child in tree.full):
        raise UserError(
            f"{tree.path} holds {listed(child.name for child in tree.full)}, which are no names of classes: import a "
            "folder that holds one for each class, list the photos (--lists), or, if they are classes, rename them"
        )


def refuse_sets(tree: Tree) -> None:
    """Refuse folders that seem to be whole sets, splits or kinds of files, and not classes."""
    sets = [child for child in tree.full if not child.inner.photos]
    lower = [child.inner for child in sets]
    classes = len(tree.full) - len(sets)
    if sum(len(inner.full) for inner in lower) <= classes:
        refuse_contents(tree)
        return
    common = set.intersection(*({child.name for child in inner.full} for inner in lower))
    imports = f"{command(lower[0].path)} imports " + ("one of them" if len(sets) > 1 else "them")
    if not classes and len(sets) > 1 and all(len(inner.full) == len(common) for inner in lower):
        seen = f"with the same {len(common)} folders in each ({', '.join(sorted(common)[:3])}, …)"
        hint = f"if they are splits, call them train, val and test; {imports}"
    else:
        seen = f"in which folders lie ({', '.join(sorted(child.name for child in lower[0].full)[:3])}, …)"
        seen += f", beside {listed(child.name for child in tree.full if child not in sets)}" if classes else ""
        hint = f"if those are the classes, {imports}"
    raise UserError(
        f"{tree.path} holds {listed(child.name for child in sets)}, {seen}: {hint}; if all that lie in {tree.path} are "
        f"the classes, move them into {tree.path / 'train'}"
    )
