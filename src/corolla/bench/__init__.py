"""`corolla bench`: corolla's own speed, as ratios to a reference that is measured in the same run.

Rates drift by 10 % and more on shared machines, so ours and the reference take turns, and what counts is the median of
the ratios of neighbours.
"""
