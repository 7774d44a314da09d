"""The text files of an imported data folder: classes, ids, labels, and the path that each photo came from."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from corolla.data.competition import SAMPLE_SUBMISSION
from corolla.errors import UserError
from corolla.files import natural_key, write_atomically
from corolla.importing.photos import Photo


def tables_of(splits: Mapping[str, list[Photo]], names: tuple[str, ...], ids: Mapping[str, str]) -> dict[str, str]:
    """Return the content of the text files of a data folder, by name."""
    labels: dict[str | None, int | str] = {None: ""} | {name: label for label, name in enumerate(names)}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "split", "label", "path"))
    for split, members in splits.items():
        for photo in sorted(members, key=lambda photo: natural_key(photo.path)):
            writer.writerow((ids[photo.path], split, labels[photo.name], photo.path))
    tables = {"classes.txt": "".join(f"{name}\n" for name in names), "photos.csv": text.getvalue()}
    if test := sorted(splits.get("test", []), key=lambda photo: ids[photo.path]):
        tables[SAMPLE_SUBMISSION] = "id,label\n" + "".join(f"{ids[photo.path]},0\n" for photo in test)
        if test[0].name is not None:
            rows = (f"{ids[photo.path]},{labels[photo.name]}\n" for photo in test)
            tables["test_labels.csv"] = "id,label\n" + "".join(rows)
    return tables


def write_tables(out: Path, tables: Mapping[str, str]) -> None:
    """Write the tables into `out`.

    Raises:
        UserError: one is there with other content; nothing was written.
    """
    content = {out / name: text.encode(errors="surrogateescape") for name, text in tables.items()}
    for path in (out / name for name in ("classes.txt", "photos.csv", SAMPLE_SUBMISSION, "test_labels.csv")):
        if path.exists() and path.read_bytes() != content.get(path):
            raise UserError(f"{path} belongs to other data; choose another folder than {out}")
    for path, data in content.items():
        write_atomically(path, data)
