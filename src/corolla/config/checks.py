"""One rule for settings that cannot act: refuse those that the user gave, note those that came with something else.

The needs of a setting are declared with its field (config/fields.py). A setting that was typed on the command line, or
given as a keyword, and has no effect is refused, because the user expects one. A setting that a named experiment, a
file or a config.json brought along is noted: a user who changes one setting of an experiment keeps the others, which
may have depended on it. On resuming, everything is only noted, and so are too few epochs: a recipe for many is often
tried with few.
"""

from collections.abc import Collection, Sequence

from corolla.config.config import Config, fields_of, flag
from corolla.config.progressive_resizing import epoch_size
from corolla.errors import UserError


def check_settings(config: Config, *, explicit: Collection[str] = (), resuming: bool = False) -> list[str]:
    """Return a note for each setting that has no effect, and for each that too few epochs make useless.

    Args:
        config: with its input size filled in, where the size of the records is known.
        explicit: keys (dotted) of the settings that the user gave.
        resuming: the run has begun already.

    Raises:
        UserError: a setting in `explicit` has no effect, or the run cannot be made as its settings say.
    """
    defaults = {key: value for key, _, value in fields_of(Config())}
    found = []
    for key, field, value in fields_of(config):
        refusals = field.metadata.get("refusals")
        if refusals is not None and not resuming and (reason := refusals(config)):
            raise UserError(reason)
        for need in field.metadata.get("needs", ()):
            if need.met(config):
                continue
            if key in explicit and not resuming and not _is_off(value, defaults[key]):
                raise UserError(f"{flag(key)} has no effect {need.word} {need.text}: leave it out")
            if value != defaults[key]:
                found.append(f"{flag(key)} has no effect {need.word} {need.text}")
            break
    return [f"note: {line}" for line in (*_too_few_epochs(config), *_stops_too_early(config), *found)]


def check_ignored(ignored: Sequence[str], name: str, *, explicit: Collection[str] = ()) -> list[str]:
    """Return a note for each setting that the built network cannot use; only building it tells.

    Raises:
        UserError: one of them is in `explicit`.
    """
    for key in ignored:
        if key in explicit:
            raise UserError(f"{flag(key)} has no effect on {name}: leave it out")
    return [f"note: {flag(key)} has no effect on {name}" for key in ignored]


def _is_off(value: object, default: object) -> bool:
    """Return whether a setting is at a default that asks for nothing, such as 0 or none."""
    return value == default and value in (False, None, "", "none")


def _stops_too_early(config: Config) -> list[str]:
    """Return a line where --train.stop-early never acts, or keeps the learning rate from ever falling."""
    train, optim = config.train, config.optim
    wait = f"--train.stop-early {train.stop_early}"
    if not train.stop_early:
        return []
    if train.stop_early >= train.epochs:
        return [f"training never stops early ({wait} of {train.epochs} epochs)"]
    # The plateau is noticed after patience + 1 epochs; the next one is the first at the lower rate.
    if optim.schedule == "plateau" and train.stop_early < optim.patience + 2:
        return [f"training may end before the learning rate has fallen ({wait}, --optim.patience {optim.patience})"]
    if optim.schedule in ("cosine", "one-cycle"):
        return [f"where training stops early, the learning rate has not fallen to its end ({wait}, {optim.schedule})"]
    return []


def _too_few_epochs(config: Config) -> list[str]:
    """Return a line for each setting that needs more epochs than the run has."""
    train, optim, augment = config.train, config.optim, config.augment
    of = f"of {train.epochs} epochs"
    found = []
    if optim.schedule != "one-cycle" and optim.warmup_epochs and optim.warmup_epochs >= train.epochs:
        found.append(f"the learning rate rises to the very end (--optim.warmup-epochs {optim.warmup_epochs:g} {of})")
    # The first epoch sets the mark, then come patience + 1 that are no better, then the first at the lower rate.
    if optim.schedule == "plateau" and train.epochs <= optim.patience + 2:
        found.append(f"the learning rate never falls (--optim.patience {optim.patience} {of})")
    if train.head_epochs >= train.epochs:
        found.append(f"the classifier alone is trained (--train.head-epochs {train.head_epochs} {of})")
    size = config.input_size
    if size and (last := epoch_size(augment, size, train.epochs - 1, train.epochs)) < size:
        grow = f"--augment.start-size {augment.start_size}, --augment.grow-epochs {augment.grow_epochs:g}"
        found.append(f"training images grow to {last} px only, not to the {size} px of val ({grow} {of})")
    if (train.mixup or train.cutmix) and train.mix_off_epochs >= train.epochs:
        found.append(f"no image is mixed (--train.mix-off-epochs {train.mix_off_epochs} {of})")
    return found
