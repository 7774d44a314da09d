"""Tell by a folder's or a file's name which split it holds: train, Training, seg_test, valid_images, ..."""

import re
from collections.abc import Collection

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "evaluation", "eval", "pred", "prediction", "predict"), "test"),
}
FILLERS = (
    *("dataset", "datasets", "data", "sets", "set", "splits", "split", "seg", "images", "image", "imgs", "img"),
    *("photos", "photo", "pictures", "pics", "folder", "files", "all", "jpegs", "jpeg", "jpgs", "jpg", "pngs", "png"),
)
# Names that say what lies in a folder and never its class.
CONTENTS = {*FILLERS, "masks", "mask", "labels", "annotations", "unknown", "unlabelled", "unlabeled", "none"}
_fillers, _words = "|".join(FILLERS), "|".join(sorted(SPLIT_WORDS, key=len, reverse=True))
_SPLIT = re.compile(rf"(?:{_fillers})*({_words})(?:{_fillers})*")
_CONTENTS = re.compile(rf"(?:{'|'.join(sorted(CONTENTS, key=len, reverse=True))})+")


def split_of(name: str) -> str | None:
    """Return the split that a name says without another word; `train station` says none."""
    found = _SPLIT.fullmatch(_letters(name))
    return SPLIT_WORDS[found[1]] if found else None


def split_within(name: str) -> str | None:
    """Return the split of which a name has just one word, whatever else it has (flowers_train); else None."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    words = re.split(r"[^a-z]+", spaced.lower())
    found = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    return split_of(name) or (found.pop() if len(found) == 1 else None)


def splits_of(names: Collection[str]) -> dict[str, str]:
    """Return name to split where all of the names say one, and no doubt is that they do; else {}."""
    found = {name: split for name in names if (split := split_within(name))}
    told = len(set(found.values())) > 1 or all(map(split_of, found)) or "train" in map(split_of, found)
    return found if told and len(found) == len(names) else {}


def names_contents(name: str) -> bool:
    """Return whether a name says what a folder holds, such as `images`, and not which class."""
    return bool(_CONTENTS.fullmatch(_letters(name))) or split_of(name) is not None


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())
