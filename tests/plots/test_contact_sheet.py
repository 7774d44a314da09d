"""Contact sheets: every photo keeps its shape and its place, and its title stays below it."""

import numpy as np
import pytest

from corolla.plots.contact_sheet import contact_sheet


def test_tiles_stand_in_rows_and_titles_below_them() -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    images = [np.full((20, 20, 3), colour, np.uint8) for colour in colours]
    sheet = contact_sheet(
        images, ["0 rose", "1 a name much too long for one line or even two of them", ""], columns=2, cell=96
    )
    assert sheet.dtype == np.uint8
    tile = sheet.shape[1] // 2
    assert sheet[50, 50].tolist() == [255, 0, 0]
    assert sheet[50, tile + 50].tolist() == [0, 255, 0]
    assert sheet[sheet.shape[0] // 2 + 50, 50].tolist() == [0, 0, 255]
    titles = sheet[104 : sheet.shape[0] // 2]
    assert (titles[:, :tile] < 128).all(2).any()
    assert (titles[:, tile:] < 128).all(2).any()
    assert (titles[:, -4:] == 255).all()  # a long name stays in its tile


def test_photos_keep_their_shape() -> None:
    sheet = contact_sheet([np.zeros((50, 100, 3), np.uint8)], [""], columns=4, cell=100)
    dark = (sheet == 0).all(2)
    assert np.flatnonzero(dark.any(0)).size == 100
    assert np.flatnonzero(dark.any(1)).size == 50


@pytest.mark.parametrize("letter", "äñžøλж")
def test_titles_have_the_letters_of_many_languages(letter: str) -> None:
    one, other = (
        contact_sheet([np.zeros((20, 20, 3), np.uint8)], [text], columns=1, cell=64) for text in (letter, "\ufdd0")
    )
    assert not np.array_equal(one, other), "not the box of a letter that is not there"
