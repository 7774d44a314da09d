"""The one palette."""

from corolla.plots.style import PALETTE, color


def test_colours_differ_and_begin_again() -> None:
    assert len(set(PALETTE)) == len(PALETTE)
    assert [color(place) for place in range(len(PALETTE) + 1)] == [*PALETTE, PALETTE[0]]
