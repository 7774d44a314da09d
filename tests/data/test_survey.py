"""The survey of a data folder's photos."""

from pathlib import Path

import pytest
from support import draw, write_photos

from corolla.data.index import load_index
from corolla.data.survey import survey
from corolla.errors import UserError


def test_a_photo_that_does_not_decode_is_named(tmp_path: Path) -> None:
    data = write_photos(tmp_path, {"train": [(draw(0, 0, 64), 0), (b"no jpeg", 0)]})
    with pytest.raises(UserError, match=r"00-64x64-2\.tfrec:\d+ record 1"):
        survey(load_index(data, None), ("train",))
