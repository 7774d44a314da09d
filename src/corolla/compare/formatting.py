"""Format numbers for the tables and sentences of a comparison."""


def spread(mean: float, sd: float | None) -> str:
    """Return `0.591 ± 0.004`; without a standard deviation the mean alone."""
    return f"{mean:.3f}" if sd is None else f"{mean:.3f} ± {sd:.3f}"


def p_value(p: float) -> str:
    """Return `= 0.012`, or `< 0.001` of smaller ones, to stand behind a `p`."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
