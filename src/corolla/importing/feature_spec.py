"""The option `--features image=image/encoded,class=label`, and which features of a file are the photo, class and id."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from corolla.data.feature_names import (
    Features,
    class_candidates,
    id_candidates,
    image_candidates,
    shown,
    text_candidates,
)
from corolla.errors import UserError

ROLES = {"image": "image", "class": "class", "label": "class", "id": "id"}
EXAMPLE = "--features image=image/encoded,class=image/class/label"


@dataclass(frozen=True)
class Columns:
    """The features of a file that are read; None: there is none."""

    image: bytes
    label: bytes | None
    id: bytes | None
    text: bytes | None
    """The name of the class, beside its number."""

    def __str__(self) -> str:
        parts = {"photo": self.image, "class": self.label, "name of the class": self.text, "id": self.id}
        return ", ".join(f"{what} {shown(name)}" for what, name in parts.items() if name is not None)


def parse_features(text: str | None) -> dict[str, bytes]:
    """Return the features that the option names for image, class and id; a name may hold = and commas.

    Raises:
        UserError: it is not of the form `image=NAME,class=NAME,id=NAME`, each at most once.
    """
    if text is None:
        return {}
    named: dict[str, bytes] = {}
    for part in re.split(rf"\s*,\s*(?=(?:{'|'.join(ROLES)})\s*=)", text.strip().rstrip(",")):
        key, mark, name = part.partition("=")
        key, name = key.strip(), name.strip()
        if not mark or not name:
            raise UserError(f"--features {text}: {part!r} is not of the form NAME=FEATURE, as in {EXAMPLE}")
        if key not in ROLES:
            nearest = difflib.get_close_matches(key, ROLES, 1, 0.0)[0]
            raise UserError(f"--features {text}: {key!r} is none of image, class and id; nearest: {nearest}")
        if "," in name and re.search(
            r",\s*[a-z]+=", name
        ):  # a misspelled key behind it would become a part of the name
            other = re.search(r",\s*([a-z]+)=", name)
            assert other
            raise UserError(f"--features {text}: {other[1]!r} is none of image, class and id")
        if ROLES[key] in named:
            raise UserError(f"--features {text}: {ROLES[key]} is named twice; keep one")
        named[ROLES[key]] = name.encode()
    return named


def choose(features: Features, named: Mapping[str, bytes]) -> Columns:
    """Return the features of a file that are read: those that are named and there, else those of a usual name.

    Raises:
        ValueError: none, or several, may be the photo; or several may be the class.
    """
    image = _one("photo", "image", named, features, image_candidates(features))
    if image is None:
        raise ValueError(f"no photo is known by its name; {features}: name it with --features image=FEATURE")
    label = _one("class", "class", named, features, class_candidates(features))
    ids = [named["id"]] if named.get("id") in features.kinds else id_candidates(features)
    texts = [name for name in text_candidates(features) if name != label]
    return Columns(
        image, label, next((name for name in ids if name not in (image, label)), None), next(iter(texts), None)
    )


def _one(what: str, key: str, named: Mapping[str, bytes], features: Features, candidates: list[bytes]) -> bytes | None:
    if named.get(key) in features.kinds:
        return named[key]
    if len(candidates) > 1:
        some = " and ".join(map(shown, candidates))
        example = f"--features {key}={shown(candidates[0])}"
        raise ValueError(f"{some} may each be the {what}; {features}: name it, as in {example}")
    return candidates[0] if candidates else None
