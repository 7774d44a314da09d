"""Tell by their names which features of other people's TFRecords are the photo, its class and its id."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from corolla.data.features import BYTES_LIST, FLOAT_LIST, INT64_LIST, byte_spans, kind_of_list
from corolla.data.jpeg_header import kind_of
from corolla.data.protobuf import Buffer, Span
from corolla.text_files import printable

KINDS = {None: "empty", BYTES_LIST: "bytes", FLOAT_LIST: "float", INT64_LIST: "int64"}
MAX_NAMED = 12

IMAGE_NAMES = (
    *("image", "image/encoded", "image/raw", "raw/image", "image/bytes", "image/data", "image/content", "image/jpeg"),
    *(
        "encoded",
        "encoded/image",
        "jpeg",
        "jpg",
        "png",
        "img",
        "img/raw",
        "img/bytes",
        "photo",
        "picture",
        "pixels",
        "x",
    ),
)
CLASS_NAMES = (
    *("class", "label", "image/class/label", "image/class", "image/label", "image/class/id", "class/label", "class/id"),
    *(
        "label/id",
        "class/index",
        "label/index",
        "label/idx",
        "class/idx",
        "category",
        "category/id",
        "target",
        "labels",
    ),
    *("y", "fine/label", "species", "breed", "diagnosis", "int/label", "label/int", "class/int"),
)
TEXT_NAMES = (
    *("image/class/text", "class/text", "label/text", "image/label/text", "class/name", "label/name", "text/label"),
    *("image/class/name", "category/name", "species/name", "image/class/synset"),
)
ID_NAMES = (
    *("id", "image/id", "image/name", "photo/id", "image/filename", "filename", "file/name", "image/file/name"),
    *("image/source/id", "source/id", "image/path", "path", "filepath", "key", "name", "uid", "image/key"),
)
"""Spelled with / for whatever parts the words: _ - . or a space. Those of ids in the order in which they are taken."""


@dataclass(frozen=True)
class Features:
    """The features of a record: which list each has, and those whose bytes begin as an image's file does."""

    kinds: Mapping[bytes, int | None]
    pictures: tuple[bytes, ...]

    def __str__(self) -> str:
        named = [f"{shown(name)[:40]} ({KINDS[kind]})" for name, kind in sorted(self.kinds.items())]
        more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
        return f"its features are {', '.join(named[:MAX_NAMED])}{more}" if named else "it has no features"


def features_of(buffer: Buffer, features: Mapping[bytes, list[Span]]) -> Features:
    """Return the types of a record's features."""
    pictures = []
    for name, feature in features.items():
        for start, end in byte_spans(buffer, feature)[:1]:
            head = bytes(buffer[start : min(end, start + 32)])
            if head.startswith(b"\xff\xd8\xff") or (kind_of(head) or "").endswith(" image"):
                pictures.append(name)
    return Features({name: kind_of_list(buffer, feature) for name, feature in features.items()}, tuple(pictures))


def image_candidates(features: Features) -> list[bytes]:
    """Return the features that may be the photo: of a usual name, else those whose bytes are an image's."""
    usual = _usual(features, IMAGE_NAMES, (BYTES_LIST,))
    seen = [name for name in usual if name in features.pictures] or usual
    return seen or sorted(features.pictures)


def class_candidates(features: Features) -> list[bytes]:
    """Return the features that may be the class: numbers before floats (one-hot, it may be), these before text."""
    for kind in (INT64_LIST, FLOAT_LIST, BYTES_LIST):
        if usual := _usual(features, CLASS_NAMES, (kind,)):
            return usual
    return _usual(features, TEXT_NAMES, (BYTES_LIST,))


def text_candidates(features: Features) -> list[bytes]:
    """Return the features that may be the name of the class, the likeliest first."""
    return _usual(features, (*TEXT_NAMES, *CLASS_NAMES), (BYTES_LIST,))


def id_candidates(features: Features) -> list[bytes]:
    """Return the features that may be the photo's id, the likeliest first."""
    return _usual(features, ID_NAMES, (BYTES_LIST, INT64_LIST))


def _usual(features: Features, names: tuple[str, ...], kinds: tuple[int, ...]) -> list[bytes]:
    found = [(_spelled(name), name) for name, kind in features.kinds.items() if kind in kinds]
    return [name for spelled, name in sorted(found, key=lambda each: _place(names, each[0])) if spelled in names]


def _place(names: tuple[str, ...], spelled: str) -> int:
    return names.index(spelled) if spelled in names else len(names)


def _spelled(name: bytes) -> str:
    return re.sub(r"[^a-z0-9]+", "/", name.decode(errors="replace").lower()).strip("/")


def shown(name: bytes) -> str:
    """Return a feature's name as text for a message."""
    return printable(name.decode(errors="backslashreplace"))
