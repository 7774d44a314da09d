"""The traits of the drawn flowers."""

import itertools

from corolla.data.competition import CLASSES
from corolla.synthetic.species import TRAITS, traits


def test_two_classes_share_at_most_one_trait() -> None:
    for one, other in itertools.combinations(range(len(CLASSES)), 2):
        assert sum(a == b for a, b in zip(traits(one), traits(other), strict=True)) <= 1
    assert len(traits(0)) == TRAITS
