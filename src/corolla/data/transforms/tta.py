"""Test-time augmentation: several views of a photo, one prediction.

What is averaged: the **probabilities** (softmax) of all views, with equal weights; with `logits` in the name the logits
instead, before one softmax (which is the geometric mean of the probabilities). A view for the network in fully
convolutional form (multi-scale) counts as one: its scores are the mean over the positions of the last feature map.

The names, joined by +:

    none         shorter side to size / crop fraction, the centre crop
    flip         that and its mirror; with other parts: their mirrors
    ten-crop     four corners and the centre, each with its mirror (Krizhevsky et al. 2012, section 4.1)
    multi-scale  the whole photo with shorter sides SCALES x size / 224, the network in fully convolutional form
                 (Simonyan & Zisserman 2014, section 3.2; He et al. 2015, section 3.4)
    random-N     N crops as in training, by the run's own settings; photo i's are drawn from (0, 0, i), none is mirrored

and behind that, each if it is not the default: `_fractionF` another crop fraction than the weights' own (1.0: the whole
square photo), `_sizePX` another size than in training (Touvron et al. 2019), `_logits`. Such a name stands for the
predictions from `corolla predict` to the submission, and in the names of their files.
"""

import difflib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from corolla.errors import UserError

if TYPE_CHECKING:  # the command line reads names without waiting for torch
    import torch

TTA = str
"""Name of the views, as `parse_tta` reads it: ten-crop+multi-scale."""
CropViews = Literal["none", "flip", "ten-crop"]
Average = Literal["probabilities", "logits"]

SCALES = (224, 256, 384, 480, 640)
"""Shorter sides at input size 224 (He et al. 2015, section 3.4)."""
MAX_RANDOM = 100
MIN_SIZE, MAX_SIZE = 8, 4096

NAMES = ("none", "flip", "ten-crop", "multi-scale", "random-8")
EXPECTED = (
    "there are none, flip, ten-crop, multi-scale and random-N, joined by + (such as ten-crop+multi-scale), "
    "and behind them _fractionF, _sizePX, _logits"
)


@dataclass(frozen=True, kw_only=True)
class Views:
    """The recipe by which the views of a photo are made and averaged."""

    parts: frozenset[str] = frozenset({"none"})
    """Parts of the name, without random-N."""
    num_random: int = 0
    crop_fraction: float | None = None
    """Crop fraction; None: the weights' own."""
    size: int | None = None
    """Pixels a side; None: as in training."""
    average: Average = "probabilities"

    @property
    def crops(self) -> CropViews | None:
        """The fixed crops among the views; None where there are none."""
        if "ten-crop" in self.parts:
            return "ten-crop"
        if self.num_random or self.multi_scale:
            return None
        return "flip" if self.flip else "none"

    @property
    def flip(self) -> bool:
        return "flip" in self.parts

    @property
    def multi_scale(self) -> bool:
        return "multi-scale" in self.parts

    @property
    def name(self) -> str:
        """The one name of these views, also in file names; `parse_tta` reads it back."""
        random = f"random-{self.num_random}" if self.num_random else None
        parts = ["ten-crop", random, "flip", "multi-scale", "none"]
        name = "+".join(part for part in parts if part and (part in self.parts or part == random))
        name += f"_fraction{self.crop_fraction!r}" if self.crop_fraction is not None else ""
        name += f"_size{self.size}" if self.size is not None else ""
        return name + ("_logits" if self.average == "logits" else "")

    def having(self, *, crop_fraction: float | None, size: int | None, average: Average | None) -> "Views":
        """Return the same views with the values that are not None in place of their own.

        Raises:
            UserError: a value is out of range.
        """
        views = replace(
            self,
            crop_fraction=self.crop_fraction if crop_fraction is None else float(crop_fraction),
            size=self.size if size is None else size,
            average=average or self.average,
        )
        if views.crop_fraction is not None and not 0.1 <= views.crop_fraction <= 1:
            raise UserError(f"--crop-fraction {views.crop_fraction}: a number from 0.1 to 1 is expected")
        if views.crop_fraction is not None and views.crops is None:
            raise UserError(f"--crop-fraction {views.crop_fraction}: these views are not cut out by it; leave it out")
        if views.size is not None and not MIN_SIZE <= views.size <= MAX_SIZE:
            raise UserError(f"--view-size {views.size}: {MIN_SIZE} to {MAX_SIZE} pixels are expected")
        return views


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """The options by which every command is told the views of test-time augmentation."""

    tta: TTA | None = None
    """The views that are averaged: none (centre; the default), flip, ten-crop, multi-scale (the whole photo at five
    sizes) or random-8 (crops as in training, here 8), also several joined by +, such as ten-crop+multi-scale. The three
    options that follow may be part of the name, as in the names of prediction files: ten-crop_fraction1.0_size80. What
    joins or compares runs takes by default the views with which they were predicted already."""
    crop_fraction: float | None = None
    """Fraction of the photo in the crops, 1.0: all of a square one; default: the weights' own."""
    view_size: int | None = None
    """Pixels a side that the network sees; default: as in training. Somewhat larger makes up for training crops, which
    show flowers larger (Touvron et al. 2019)."""
    average: Average | None = None
    """Average the views' probabilities (default) or logits."""

    @property
    def views(self) -> Views:
        """The views that the options stand for.

        Raises:
            UserError: no views are called so, or a value is out of range, or said twice and not the same.
        """
        views = parse_tta(self.tta or "none")
        average = "logits" if views.average == "logits" else None
        for option, said, given in (
            ("--crop-fraction", views.crop_fraction, self.crop_fraction),
            ("--view-size", views.size, self.view_size),
            ("--average", average, self.average),
        ):
            if None not in (said, given) and said != given:
                raise UserError(f"{option} {given}: --tta {self.tta} says {said} already; give one of the two")
        return views.having(crop_fraction=self.crop_fraction, size=self.view_size, average=self.average)

    @property
    def name(self) -> str:
        """The one name of these views."""
        return self.views.name

    @property
    def is_default(self) -> bool:
        """True where no option was given."""
        return all(value is None for value in (self.tta, self.crop_fraction, self.view_size, self.average))


def parse_tta(name: str) -> Views:
    """Return the views that a name stands for.

    Raises:
        UserError: there is no such name, or it says the same twice.
    """
    joined, *suffixes = name.split("_")
    parts = joined.split("+")
    random = [part for part in parts if re.fullmatch(r"random-[1-9][0-9]*", part)]
    for part in parts:
        if part not in NAMES and part not in random:
            nearest = difflib.get_close_matches(part, NAMES, n=1)
            raise UserError(f"--tta {name}: {_hint(part, nearest)}; {EXPECTED}")
    fixed = frozenset(parts) - set(random)
    num_random = int(random[0].removeprefix("random-")) if random else 0
    if num_random > MAX_RANDOM:
        raise UserError(f"--tta {name}: at most random-{MAX_RANDOM} is possible")
    if len(random) > 1 or len(fixed) + len(random) < len(parts):
        raise UserError(f"--tta {name}: a part is named twice; {EXPECTED}")
    if "none" in fixed and len(parts) > 1:
        raise UserError(f"--tta {name}: none stands alone; leave it out, or name it alone")
    if fixed == {"ten-crop", "flip"} and not random:
        raise UserError(f"--tta {name}: ten-crop has the mirrors already; leave flip out")
    return _with_suffixes(Views(parts=fixed, num_random=num_random), name, suffixes)


def _hint(part: str, nearest: list[str]) -> str:
    return f"no views are called {part!r}" + (f", did you mean {nearest[0]!r}?" if nearest else "")


def _with_suffixes(views: Views, name: str, suffixes: list[str]) -> Views:
    kinds = [suffix.rstrip("0123456789.") for suffix in suffixes]
    for suffix in suffixes:
        fraction = re.fullmatch(r"fraction([01]\.[0-9]+|1)", suffix)
        size = re.fullmatch(r"size([1-9][0-9]{0,3})", suffix)
        if not (fraction or size or suffix == "logits"):
            raise UserError(f"--tta {name}: _{suffix} is not known; {EXPECTED}")
        if len(set(kinds)) < len(kinds):
            raise UserError(f"--tta {name}: a part is named twice; {EXPECTED}")
        views = views.having(
            crop_fraction=float(fraction[1]) if fraction else None,
            size=int(size[1]) if size else None,
            average="logits" if suffix == "logits" else None,
        )
    return views


def average_views(logits: "torch.Tensor", average: Average = "probabilities") -> "torch.Tensor":
    """Return the probabilities N x classes, float32, of logits N x views x classes."""
    if average == "logits":
        return logits.float().mean(1).softmax(-1)
    return logits.float().softmax(-1).mean(1)
