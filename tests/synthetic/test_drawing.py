"""The drawing of one photo."""

import cv2
import numpy as np

from corolla.synthetic.drawing import draw_photo


def test_a_scene_is_the_same_at_every_size() -> None:
    for label in range(0, 104, 13):
        small, large = (draw_photo(label, size, np.random.default_rng(label)) for size in (64, 256))
        assert small.shape == (64, 64, 3)
        assert large.shape == (256, 256, 3)
        shrunk = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(float) - shrunk).mean() < 12
