"""The needs of settings, stated at their fields: demands on the other settings without which one has no effect."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from corolla.config.networks import PACKAGE_MODEL, has_bottlenecks, is_cifar, is_own, is_plain


def runtime_only(default: Any) -> Any:
    """Make a field that says how a run is carried out, not what comes out of it: it is left out of config.json."""
    return field(default=default, metadata={"runtime_only": True})


def mostly_runtime_only(default: Any, decides: Any, *, refusals: Callable[[Any], str | None]) -> Any:
    """Make a field of which one value decides the result: it is left out of config.json with any other.

    Args:
        decides: the value.
        refusals: as of `setting`.
    """
    return field(default=default, metadata={"decides": decides, "refusals": refusals})


@dataclass(frozen=True)
class Need:
    """A demand on the other settings, without which a setting has no effect."""

    text: str
    """The remedy as the user would write it; it follows "has no effect" and `word`."""
    met: Callable[[Any], bool]
    """Takes a `Config` and returns whether the demand is met there."""
    word: Literal["without", "with"] = "without"
    """Stands before the text: "has no effect with --init-from"."""


def setting(default: Any, *needs: Need, refusals: Callable[[Any], str | None] | None = None) -> Any:
    """Make a field that has no effect unless all `needs` are met.

    Args:
        refusals: takes a `Config` and gives the line with which this setting is refused there, whoever gave it, because
            the run cannot be made as it says; None where it can.
    """
    return field(default=default, metadata={"needs": needs, "refusals": refusals})


OWN_NETWORK = Need("one of the own networks (plain18, resnet34, ...)", lambda c: is_own(c.model.name))
SHORTCUTS = Need("a network with shortcuts", lambda c: not is_plain(c.model.name))
BOTTLENECKS = Need("resnet26, resnet50, resnet101 or resnet152", lambda c: has_bottlenecks(c.model.name))
STEM_TO_CHOOSE = Need(
    "the networks of 6n + 2 layers (resnet20, ...), which begin with one 3x3",
    lambda c: not is_cifar(c.model.name),
    word="with",
)
NO_CHECKPOINT = Need("--init-from", lambda c: not c.init_sha256, word="with")
RANDOM_WEIGHTS = Need("--model.weights none", lambda c: c.model.weights == "none")
RESNET_CROP = Need("--augment.crop resnet", lambda c: c.augment.crop == "resnet")
RANDOM_CROP = Need("--augment.crop random-resized", lambda c: c.augment.crop == "random-resized")
COLOR = Need("--augment.color", lambda c: c.augment.color)
PCA_NOISE = Need("--augment.pca-noise", lambda c: c.augment.pca_noise > 0)
ERASE = Need("--augment.erase", lambda c: c.augment.erase > 0)
RAND_AUGMENT = Need("--augment.rand-augment", lambda c: c.augment.rand_augment > 0)
SGD = Need("--optim.name sgd", lambda c: c.optim.name == "sgd")
PLATEAU_OR_STEP = Need("--optim.schedule plateau or step", lambda c: c.optim.schedule in ("plateau", "step"))
MIXING = Need("--train.mixup or --train.cutmix", lambda c: c.train.mixup > 0 or c.train.cutmix > 0)
SOME_IMBALANCE = Need("--train.balance below 1", lambda c: c.train.balance < 1)
LABELS_COUNT = Need("--train.distill-weight below 1", lambda c: not c.train.teacher or c.train.distill_weight < 1)
VALIDATES = Need(
    "--train.on train+val, which leaves nothing to validate on", lambda c: c.train.on == "train", word="with"
)
FOLD = Need("--train.fold", lambda c: c.train.fold is not None)
TEACHER = Need("--train.teacher", lambda c: bool(c.train.teacher))


def weights_refusals(config: Any) -> str | None:
    """Say why there are no such weights for the network as it is configured."""
    model = config.model
    if config.init_sha256:  # nothing but the checkpoint is read
        return None
    if model.weights == "package":
        if model.name != PACKAGE_MODEL:
            return f"the package holds weights for --model.name {PACKAGE_MODEL} alone, not for {model.name}"
        if model.activation:
            return f"no package weights for {model.name} with another --model.activation: leave it out"
    if model.weights != "pretrained":
        return None
    if is_plain(model.name):
        return f"no pretrained weights for this {model.name}: ResNets alone have them"
    if is_cifar(model.name):
        return f"no pretrained weights for {model.name}: the own networks of 18, 34, 50, 101 and 152 layers have them"
    if is_own(model.name) and (model.shortcut != "B" or (model.stride_in_1x1 and has_bottlenecks(model.name))):
        return (
            f"no pretrained weights for this {model.name}: they have shortcut B and the stride in the 3x3 "
            "(--model.shortcut B --model.no-stride-in-1x1)"
        )
    for f in fields(model):
        acts = f.name in CHANGES_LAYERS and all(need.met(config) for need in f.metadata.get("needs", ()))
        if acts and getattr(model, f.name) != f.default:
            option = f.name.replace("_", "-")
            return f"no pretrained weights for {model.name} with another --model.{option}: leave it out"
    return None


def schedule_refusals(config: Any) -> str | None:
    """Say which schedule has no val loss to look at."""
    if config.train.on == "train" or config.optim.schedule != "plateau":
        return None
    return (
        "--optim.schedule plateau looks at the val loss, and with --train.on train+val there is none: take another one "
        "(cosine)"
    )


def fold_refusals(config: Any) -> str | None:
    """Say why a fold can't be left out of what is learned where nothing is."""
    if config.train.fold is None or config.train.on == "train":
        return None
    fold = f"--train.fold {config.train.fold}"
    return f"{fold} leaves photos out to validate on, --train.on train+val none: give one of the two"


def stop_early_refusals(config: Any) -> str | None:
    """Say why a run cannot end by its scores on val where it has none."""
    if config.train.on == "train" or not config.train.stop_early:
        return None
    return (
        f"--train.stop-early {config.train.stop_early} looks at scores on val, and with --train.on train+val there are "
        "none: give 0, and the --train.epochs that a run with val has chosen"
    )


def device_refusals(config: Any) -> str | None:
    """Say which augmentation is not drawn on a device, where photos are to live there."""
    if config.pipeline.cache != "device":
        return None
    found = not_in_batches(config.augment)
    return f"--pipeline.cache device: does not draw {found}; leave one of them out" if found else None


def not_in_batches(augment: Any) -> str | None:
    """Return the setting that is on and that is drawn photo by photo alone; None where there is none."""
    if augment.color and augment.hue:
        return f"--augment.hue {augment.hue:g}"
    if augment.pca_noise:
        return f"--augment.pca-noise {augment.pca_noise:g}"
    if augment.erase and augment.erase_fill == "noise":
        return "--augment.erase-fill noise"
    if augment.rand_augment:
        return f"--augment.rand-augment {augment.rand_augment}"
    return "--augment.trivial-augment" if augment.trivial_augment else None


def auto_augment_refusals(config: Any) -> str | None:
    """Say that one of two methods has to be left out, where both are on."""
    augment = config.augment
    if not (augment.trivial_augment and augment.rand_augment):
        return None
    other = f"--augment.rand-augment {augment.rand_augment}"
    return f"--augment.trivial-augment: stands in place of {other}; leave one of them out"


CHANGES_LAYERS = ("stem", "avg_shortcut", "activation", "width")
"""Settings of a network for which the usual weights do not fit, or are of no use."""
