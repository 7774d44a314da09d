"""Settings that do not come to anything, a line each.

They are said, not refused: whoever changes one setting of a preset keeps the others, which may have depended on it.
"""

from typing import NamedTuple

from corolla.config import Config
from corolla.data.growth import size_of_epoch


def notes(config: Config) -> list[str]:
    """The lines: settings for many epochs that are tried with few, and settings that need another one."""
    return [f"note: {line}" for line in (*_too_few_epochs(config), *_without_effect(config))]


def _too_few_epochs(config: Config) -> list[str]:
    train, warmup = config.train, config.optim.warmup_epochs
    of = f"of {train.epochs} epochs"
    found = []
    if warmup and warmup >= train.epochs:
        found.append(f"the learning rate rises to the very end (--optim.warmup-epochs {warmup:g} {of})")
    if train.head_epochs >= train.epochs:
        found.append(f"the classifier alone is trained (--train.head-epochs {train.head_epochs} {of})")
    if (
        config.input_size
        and (last := size_of_epoch(config.augment, config.input_size, train.epochs - 1, train.epochs))
        < config.input_size
    ):
        grow = f"--augment.start-size {config.augment.start_size}, --augment.grow-epochs {config.augment.grow_epochs:g}"
        found.append(f"training images grow to {last} px only, not to the {config.input_size} px of val ({grow} {of})")
    if (train.mixup or train.cutmix) and train.mix_off_epochs >= train.epochs:
        found.append(f"no image is mixed (--train.mix-off-epochs {train.mix_off_epochs} {of})")
    return found


class _Need(NamedTuple):
    fields: tuple[str, ...]
    """Settings that count only where `met`, dotted."""
    met: bool
    option: str
    """What would make them count."""


def _needs(config: Config) -> list[_Need]:
    augment, optim, train = config.augment, config.optim, config.train
    mixes = train.mixup > 0 or train.cutmix > 0
    labels_count = not train.teacher or train.distill_weight < 1
    return [
        _Need(("model.pretrained_tag",), config.model.weights == "pretrained", "--model.weights pretrained"),
        _Need(("augment.shorter_side",), augment.crop == "resnet", "--augment.crop resnet"),
        _Need(("augment.area", "augment.aspect"), augment.crop == "random-resized", "--augment.crop random-resized"),
        _Need(("augment.brightness", "augment.saturation", "augment.hue"), augment.color, "--augment.color"),
        _Need(("augment.erase_area", "augment.erase_fill"), augment.erase > 0, "--augment.erase"),
        _Need(("augment.grow_epochs",), augment.start_size is not None, "--augment.start-size"),
        _Need(("optim.momentum", "optim.nesterov"), optim.name == "sgd", "--optim.name sgd"),
        _Need(("optim.betas",), optim.name == "adamw", "--optim.name adamw"),
        _Need(("optim.patience",), optim.schedule == "plateau", "--optim.schedule plateau"),
        _Need(("optim.factor",), optim.schedule in ("plateau", "step"), "--optim.schedule plateau or step"),
        _Need(("optim.milestones",), optim.schedule == "step", "--optim.schedule step"),
        _Need(("optim.one_cycle_start",), optim.schedule == "one-cycle", "--optim.schedule one-cycle"),
        _Need(("train.mix_share", "train.mix_off_epochs"), mixes, "--train.mixup or --train.cutmix"),
        _Need(("train.logit_adjustment", "train.class_balance"), train.balance < 1, "--train.balance below 1"),
        _Need(
            ("train.label_smoothing", "train.logit_adjustment", "train.class_balance"),
            labels_count,
            "--train.distill-weight below 1",
        ),
        _Need(("train.distill_temperature", "train.distill_weight"), bool(train.teacher), "--train.teacher"),
    ]


def _without_effect(config: Config) -> list[str]:
    """Settings that are not at their default and change nothing, so that nobody compares a run with its own copy."""
    found = []
    for fields, met, option in _needs(config):
        for field in fields if not met else ():
            section, name = field.split(".")
            values, default = getattr(config, section), getattr(Config(), section)
            if getattr(values, name) != getattr(default, name):
                found.append(f"--{section}.{name.replace('_', '-')} has no effect without {option}")
    return found
