"""The audit as one HTML file: contact sheets with the photos inside, nothing to fetch, below 5 MB."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corolla.audit.audit import Audit
from corolla.data.duplicates import Pair
from corolla.files import write_atomically
from corolla.plots.html import jpeg_uri, photo_jpeg, template_environment

SIDE = 112  # pixels of a photo's longer side
QUALITY = 72  # its JPEG's: some 4 kB
MOST = 200  # findings of a kind that are shown
MOST_BYTES = 3_400_000  # of JPEG in all, a third more in base64: findings beyond it go without their photos


@dataclass(frozen=True)
class Tile:
    """A photo with the text below it."""

    picture: str
    """data: URI; empty where there is no room left."""
    title: str
    place: str


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


def write_html(audit: Audit, path: Path) -> None:
    """Write the contact sheets of an audit to `path`, whole or not at all."""
    folder, size = audit.photos.index.folder, audit.photos.index.size
    template = template_environment("corolla.audit").get_template("audit.html.j2")
    findings = _findings(audit, _Pictures(audit))
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
    )
    write_atomically(path, page.encode())


class _Pictures:
    """Photos as data: URIs, up to MOST_BYTES of them."""

    def __init__(self, audit: Audit) -> None:
        self.photos = audit.photos
        self.num_bytes = 0

    def tile(self, photo: int) -> Tile:
        """Return a photo above its class, split and id."""
        label = int(self.photos.label[photo])
        named = label in range(len(self.photos.index.class_names))
        name = f"{label} {self.photos.index.class_names[label]}" if named else "unlabelled"
        return Tile(self._uri(photo), name, f"{self.photos.split[photo]} {self.photos.id(photo)}")

    def _uri(self, photo: int) -> str:
        if self.num_bytes >= MOST_BYTES:
            return ""
        jpeg = photo_jpeg(self.photos.image(photo), SIDE, quality=QUALITY)
        self.num_bytes += len(jpeg)
        return jpeg_uri(jpeg)


def _findings(audit: Audit, pictures: _Pictures) -> dict[str, Section]:
    """Return the sections by their anchors."""
    ordered = sorted(
        audit.pairs, key=lambda pair: (not pair.label_conflict, not pair.cross_split)
    )  # the harmful ones first
    return {
        "labels": _label_issues(audit, pictures),
        "duplicates": _pairs(pictures, ordered),
        "outliers": _outliers(audit, pictures),
    }


def _label_issues(audit: Audit, pictures: _Pictures) -> Section:
    names = audit.photos.index.class_names
    cards = tuple(
        Card(
            (pictures.tile(one.photo),),
            (f"suggested: {one.suggested} {names[one.suggested]}", f"margin {one.margin:.2f}"),
        )
        for one in audit.label_issues[:MOST]
    )
    explanation = f"Given and suggested class with the normalised margin, the worst first; by {audit.source.text}."
    return Section("Likely label errors", explanation, cards, len(audit.label_issues))


def _pairs(pictures: _Pictures, ordered: list[Pair]) -> Section:
    cards = []
    for pair in ordered[:MOST]:
        marks = {"across splits": pair.cross_split, "different labels": pair.label_conflict, "mirrored": pair.mirrored}
        tiles = (pictures.tile(pair.first), pictures.tile(pair.second))
        line = f"{pair.kind}, {pair.score:.3f}, group {pair.group}"
        cards.append(Card(tiles, (line,), tuple(mark for mark, there in marks.items() if there)))
    explanation = "Side by side, those with different labels first, then those across splits."
    return Section("Duplicates", explanation, tuple(cards), len(ordered))


def _outliers(audit: Audit, pictures: _Pictures) -> Section:
    cards = tuple(Card((pictures.tile(one.photo),), one.reasons) for one in audit.outliers[:MOST])
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
