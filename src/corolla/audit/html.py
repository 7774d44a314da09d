"""The audit as one HTML file: contact sheets with the photos inside, nothing to fetch, below 5 MB."""

from dataclasses import dataclass

import numpy as np

from corolla.audit.audit import Audit
from corolla.audit.pictures import LARGE, SIDE, Picture, pictures
from corolla.data.duplicates import Pair
from corolla.files import write_atomically
from corolla.paths import AnyPath, as_path
from corolla.plots.html import template_environment
from corolla.text_files import printable

MOST = 200  # findings of a kind that are shown


@dataclass(frozen=True)
class Tile:
    """A photo with the text below it."""

    picture: Picture | None
    """None where there is no room left."""
    title: str
    lines: tuple[str, ...]
    """Its split and id, and the path of an imported photo."""


@dataclass(frozen=True)
class Card:
    """A finding: one photo or two side by side."""

    tiles: tuple[Tile, ...]
    lines: tuple[str, ...]
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """Findings of a kind, the first MOST of `total`."""

    title: str
    explanation: str
    cards: tuple[Card, ...]
    total: int

    @property
    def heading(self) -> str:
        """Title and number of findings."""
        return f"{self.title} ({self.total})"

    @property
    def left_out(self) -> int:
        """Number of findings that are not shown."""
        return self.total - len(self.cards)


def write_html(audit: Audit, path: AnyPath) -> None:
    """Write the contact sheets of an audit to `path`, whole or not at all."""
    folder, size = audit.photos.index.folder, audit.photos.index.size
    template = template_environment("corolla.audit").get_template("audit.html.j2")
    findings = _findings(audit)
    shown = [tile.picture for section in findings.values() for card in section.cards for tile in card.tiles]
    page = template.render(
        folder=folder.resolve().name,
        size=size,
        num_photos=len(audit.photos),
        sentences=audit.sentences(),
        findings=findings,
        sections={anchor: section.heading for anchor, section in findings.items()} | {"classes": "Classes"},
        classes=_classes(audit),
        splits=list(audit.balance.counts),
        side=SIDE,
        large=LARGE,
        num_large=sum(picture is not None and picture.is_large for picture in shown),
        num_shown=len(shown),
    )
    write_atomically(as_path(path), page.encode())


def _findings(audit: Audit) -> dict[str, Section]:
    """Return the sections by their anchors."""
    ordered = sorted(
        audit.pairs, key=lambda pair: (not pair.label_conflict, not pair.cross_split)
    )  # the harmful ones first
    shown = [
        [one.photo for one in audit.label_issues[:MOST]],
        [photo for pair in ordered[:MOST] for photo in (pair.first, pair.second)],
        [one.photo for one in audit.outliers[:MOST]],
    ]
    tiles = [
        [_tile(audit, photo, picture) for photo, picture in zip(numbers, found, strict=True)]
        for numbers, found in zip(shown, pictures(audit.photos, shown), strict=True)
    ]
    return {
        "labels": _label_issues(audit, tiles[0]),
        "duplicates": _pairs(ordered, tiles[1]),
        "outliers": _outliers(audit, tiles[2]),
    }


def _tile(audit: Audit, photo: int, picture: Picture | None) -> Tile:
    """Return a photo above its class, split, id and path."""
    photos = audit.photos
    label = int(photos.label[photo])
    named = label in range(len(photos.index.class_names))
    name = f"{label} {photos.index.class_names[label]}" if named else "unlabelled"
    lines = [f"{photos.split[photo]} {photos.id(photo)}", audit.path(photo)]
    return Tile(picture, name, tuple(printable(line) for line in lines if line))


def _label_issues(audit: Audit, tiles: list[Tile]) -> Section:
    names = audit.photos.index.class_names
    cards = tuple(
        Card((tile,), (f"suggested: {one.suggested} {names[one.suggested]}", f"margin {one.margin:.2f}"))
        for tile, one in zip(tiles, audit.label_issues, strict=False)
    )
    explanation = f"Given and suggested class with the normalised margin, the worst first; by {audit.source.text}."
    return Section("Likely label errors", explanation, cards, len(audit.label_issues))


def _pairs(ordered: list[Pair], tiles: list[Tile]) -> Section:
    cards = []
    for pair, first, second in zip(ordered, tiles[::2], tiles[1::2], strict=False):
        marks = {"across splits": pair.cross_split, "different labels": pair.label_conflict, "mirrored": pair.mirrored}
        line = f"{pair.kind}, {pair.score:.3f}, group {pair.group}"
        cards.append(Card((first, second), (line,), tuple(mark for mark, there in marks.items() if there)))
    explanation = "Side by side, those with different labels first, then those across splits."
    return Section("Duplicates", explanation, tuple(cards), len(ordered))


def _outliers(audit: Audit, tiles: list[Tile]) -> Section:
    cards = tuple(Card((tile,), one.reasons) for tile, one in zip(tiles, audit.outliers, strict=False))
    explanation = "Photos that are not square, tiny, grey, flat, very dark or very bright."
    return Section("Outliers", explanation, cards, len(audit.outliers))


def _classes(audit: Audit) -> list[tuple[int, str, list[int], str]]:
    """Return each class's number and name, its photos in each labelled split, and val's share."""
    shares = audit.balance.val_shares
    return [
        (
            number,
            name,
            [int(counts[number]) for counts in audit.balance.counts.values()],
            "" if np.isnan(shares[number]) else f"{shares[number]:.0%}",
        )
        for number, name in enumerate(audit.balance.class_names)
    ]
