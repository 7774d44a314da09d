"""Numbers as texts."""

from corolla.compare.formatting import p_value, spread


def test_spread() -> None:
    assert spread(0.59149, 0.0036) == "0.591 ± 0.004"
    assert spread(0.5, None) == "0.500"


def test_p_value() -> None:
    assert (p_value(0.00099), p_value(0.001), p_value(0.5)) == ("< 0.001", "= 0.001", "= 0.500")
