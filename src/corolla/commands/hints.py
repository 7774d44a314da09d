"""The training that a command proposes next: one that fits the photos and the machine, and how long it takes here."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from corolla.commands.common import given_words, next_command
from corolla.config.experiments import find_experiment
from corolla.nvidia import visible_card
from corolla.parallel import num_cores
from corolla.text_files import shell_words

FEW = 10_000
"""Training photos below which weights of ImageNet are ahead by far (docs/results.md)."""
SMALL, ENLARGED = 112, 128
"""Photos of fewer pixels a side are enlarged for weights that were trained at 224 px (docs/recipes.md)."""
SHOWN = 512
"""Photos an epoch should show at least, some 16 updates (44 of 4 kinds, each once, were not learned; one seed)."""
IMAGES_PER_S = 17.0
"""The rate of `transfer_best` at 224 px on a core with AVX512-BF16 (docs/results.md: Oxford-17, 4 minutes on two)."""
WITHOUT_BF16 = 0.3
"""The speed of a core with AVX2 alone, as a fraction of that."""


def next_training(
    data: Path,
    size: int,
    counts: Mapping[str, int],
    *,
    experiment: str | None = None,
    input_size: int | None = None,
    cache_dir: Path | None = None,
    options: Sequence[object] = (),
) -> str:
    """Return the command that trains on these photos, below a line that says how long it takes where that is known.

    Args:
        size: of the photos in pixels.
        counts: photos of each split; where train or val has none, what is missing is said instead.
        experiment: the one that was spoken of; default: one that fits.
        input_size: the one that was given.
        options: further words of the command.
    """
    if missing := [name for name in ("train", "val") if not counts.get(name)]:
        return f"training needs photos of train and val; here are none of {' and '.join(missing)}"
    num_train, card = counts["train"], visible_card()
    chosen = experiment or ("transfer_best" if num_train < FEW or card is None else "resnet50_pretrained")
    is_known = chosen == "transfer_best"
    pixels = input_size or (ENLARGED if is_known and size < SMALL else size)
    given = given_words(input_size=input_size or (pixels if pixels != size else None), cache_dir=cache_dir)
    words: list[object] = [chosen, "--data", data, "--size", size, *given]
    if not is_known:
        return next_command("train", *words, *options)
    repeat = repeats(num_train)
    options = [*["--train.repeat", repeat] * (repeat > 1), *options]
    measured = f"`corolla bench cost {shell_words(*words)}` measures it" if repeat == 1 else "by its cores"
    if card is not None:
        command = next_command("train", *words, *options)
        return command if repeat > 1 else f"how long it takes on {card}: {measured}\n{command}"
    shown = find_experiment(chosen).train.epochs * num_train * repeat
    rate = num_cores() * IMAGES_PER_S * (224 / pixels) ** 2 * (1 if _has_bf16() else WITHOUT_BF16)
    return f"{_about(shown / rate)} on this CPU ({measured}):\n{next_command('train', *words, *options)}"


def repeats(num_train: int) -> int:
    """Return how often an epoch should show each of so few photos (--train.repeat)."""
    return math.ceil(SHOWN / max(1, num_train))


def _has_bf16() -> bool:
    """Return whether the CPU computes in bf16, as Linux tells it without torch."""
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def _about(seconds: float) -> str:
    """Return a time as one says it."""
    if seconds < 90:
        return "about a minute"
    return f"about {seconds / 60:.0f} minutes" if seconds < 5400 else f"about {seconds / 3600:.0f} hours"
