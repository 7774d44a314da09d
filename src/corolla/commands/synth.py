"""corolla synth: draw the embedded data set."""

from corolla.commands.common import Folder, next_command
from corolla.errors import DONE


def synth(data: Folder, /, size: int = 64, share: float = 1.0, seed: int = 0) -> int:
    """Draw the embedded data set: 104 kinds of flowers in the competition's layout.

    Args:
        data: where to write tfrecords-jpeg-SxS, sample_submission.csv and test_labels.csv.
        size: side of the photos in pixels, 32 to 512.
        share: fraction of the competition's number of images.
        seed: the same seed draws the same bytes.
    """
    from corolla.synthetic.dataset import synthesize

    made = synthesize(data, size=size, share=share, seed=seed)
    counts = ", ".join(f"{name} {count}" for name, count in made.counts.items())
    print(f"{data}: {'holds this set already' if made.reused else 'written'} ({counts} images at {size} px)")
    print(next_command("check", data, "--size", size))
    return DONE
