"""The data folder that an import leaves, known again by the import.json in it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corolla.data.class_names import read_class_names
from corolla.errors import UserError
from corolla.importing.pixels import Pixels
from corolla.results import Result

if TYPE_CHECKING:
    import pandas as pd


DRAWN_APART, SAME_FILES, SAME_PIXELS = "", "in one split", "of pixels in one split"
"""How photos that are the same were drawn: each for itself, or those of the same bytes, or pixels, as one."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Imported(Result):
    """The data folder that `import_photos` leaves, `counts` photos a split; `reused` if it was there before."""

    folder: Path
    size: int  # pixels a side
    class_names: tuple[str, ...]
    counts: dict[str, int]
    notes: tuple[str, ...]  # photos left out, split off, or there twice
    reused: bool

    def __fspath__(self) -> str:
        return str(self.folder)

    @property
    def summary(self) -> str:
        """The folder, and what lies in it."""
        counts = ", ".join(f"{split} {count}" for split, count in self.counts.items())
        return f"{self.folder}, {counts} photos of {len(self.class_names)} classes at {self.size} px"

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row per split: its name, and the number of its photos."""
        import pandas as pd

        return pd.DataFrame({"split": list(self.counts), "photos": list(self.counts.values())})


def _is_whole(about: Any) -> bool:
    """Return whether this is what import.json holds."""
    if not isinstance(about, dict) or not {"recipe", "pixels", "notes", "counts"} <= about.keys():
        return False
    counts, notes, pixels = about["counts"], about["notes"], about["pixels"]
    return (
        isinstance(about["recipe"], dict)
        and isinstance(pixels, dict)
        and isinstance(pixels.get("size"), int)
        and isinstance(counts, dict)
        and all(isinstance(count, int) for count in counts.values())
        and isinstance(notes, list)
        and all(isinstance(note, str) for note in notes)
    )


def copies_in(out: Path) -> str:
    """Return how the sets in `out`, if any, drew photos that are the same: as those of the version that made them.

    Raises:
        UserError: `out` holds something else.
    """
    return min((str(about["recipe"].get("copies", DRAWN_APART)) for _, about in _abouts(out)), default=SAME_PIXELS)


def _abouts(out: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield each set's folder and what its import.json says."""
    for folder in sorted(out.glob("tfrecords-jpeg-*")):
        try:
            about = json.loads((folder / "import.json").read_bytes())
        except FileNotFoundError:
            raise UserError(f"{folder} was not imported by corolla; choose another folder than {out}") from None
        except (ValueError, RecursionError):
            about = {}
        if not _is_whole(about):
            path = folder / "import.json"
            raise UserError(f"{path} is damaged: choose another folder than {out}, or remove {folder} and import again")
        yield folder, about


def imported_before(out: Path, recipe: Mapping[str, Any], pixels: Pixels) -> Imported | None:
    """Return the set that is in `out` already, or None where it is there in other sizes only.

    Raises:
        UserError: `out` holds another set.
    """
    found: dict[int, dict[str, Any]] = {}
    for folder, about in _abouts(out):
        if about["recipe"] != recipe:
            raise UserError(f"{folder} holds other photos, or these split otherwise; choose another folder than {out}")
        found[about["pixels"]["size"]] = about
    if pixels.size not in found:
        return None
    about = found[pixels.size]
    if about["pixels"] != asdict(pixels):
        raise UserError(f"{out} holds size {pixels.size} made otherwise ({about['pixels']}); choose another folder")
    return Imported(
        folder=out,
        size=pixels.size,
        class_names=read_class_names(out / "classes.txt"),
        counts=about["counts"],
        notes=tuple(about["notes"]),
        reused=True,
    )
