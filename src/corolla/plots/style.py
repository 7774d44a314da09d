"""The colours of every plot, one palette that people with any kind of colour vision tell apart, and its texts."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of series, after Okabe and Ito (2008).

Their yellow and black are left out: the one is lost on white, the other on the dark ground of a report.
"""

MARKERS = ("", "o", "s", "^", "D", "v")
"""Markers of lines, one for each time that the palette is used."""
GREY = "#808080"
"""Grey of axes, reference lines and labels, read on white as well as on black."""


def color(place: int) -> str:
    """Return the colour of the series at this place; the palette begins again where it ends."""
    return PALETTE[place % len(PALETTE)]


def marker(place: int) -> str:
    """Return the marker of the line at this place: none as long as colours tell them apart, then another each time."""
    return MARKERS[place // len(PALETTE) % len(MARKERS)]


def escaped(text: str) -> str:
    """Return `text` for matplotlib, which would set what stands between two dollar signs as mathematics."""
    return text.replace("$", r"\$")
