"""A network as timm loads it: its weights as safetensors, or a folder in the format of Hugging Face's hub."""

import json
import math
from pathlib import Path
from typing import Any

import timm
from safetensors import safe_open
from safetensors.torch import save
from timm.data import resolve_model_data_config  # pyright: ignore[reportPrivateImportUsage]
from timm.models import get_pretrained_cfg, parse_model_name

from corolla.errors import UserError
from corolla.export.check import Classify
from corolla.export.model_card import model_card
from corolla.export.source import Source, torch_probabilities
from corolla.export.timm_network import TimmNetwork
from corolla.files import write_atomically
from corolla.models.normalise import Normalise
from corolla.models.pretrained import Preprocessing


def write_weights(source: Source, path: Path) -> None:
    """Write the weights to `path`, with classes and preprocessing as JSON in the file's metadata."""
    own = source.meta.preprocessing
    preprocessing = source.preprocessing | {"mean": own.mean, "std": own.std}
    tensors = {name: tensor.contiguous() for name, tensor in source.model.state_dict().items()}
    facts = {"format": "pt", **source.facts, "preprocessing": json.dumps(preprocessing)}
    path.write_bytes(save(tensors, facts))  # as any file: save_file would let nobody else read it


def load_weights(path: Path, network: TimmNetwork) -> Classify:
    """Return timm's network with the weights in `path`, and with the preprocessing that its metadata tell of."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    num_classes = len(json.loads(metadata["class_names"]))
    model = timm.create_model(
        network.architecture,
        num_classes=num_classes,
        checkpoint_path=str(path),
        **network.arguments,
    ).eval()
    values = json.loads(metadata["preprocessing"])
    normalise = _normalise(values["mean"], values["std"])
    return lambda images: torch_probabilities(model, normalise, images)


def _normalise(mean: Any, std: Any) -> Normalise:
    told = Preprocessing(mean=tuple(mean), std=tuple(std), interpolation="bilinear", crop_fraction=1.0)
    return Normalise(told, channels_last=False)


def check_folder_name(folder: Path) -> None:
    """Check that timm finds a folder by its name: earlier versions read it as an address.

    Raises:
        UserError: it does not.
    """
    if parse_model_name(f"local-dir:{folder}")[1] != str(folder):
        raise UserError(f"{folder}: this timm takes no folder of such a name; choose another --out, without # and ?")


def write_hub_folder(source: Source, folder: Path, network: TimmNetwork) -> None:
    """Write config.json, model.safetensors and a model card into `folder`, which is made."""
    folder.mkdir()
    write_weights(source, folder / "model.safetensors")
    config = json.dumps(_hub_config(source, network), indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / "config.json", config.encode())
    write_atomically(folder / "README.md", model_card(source, network).encode())


def load_hub_folder(folder: Path) -> Classify:
    """Return the network in a folder as timm makes it, and with the preprocessing that timm then knows of it."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    told: dict[str, Any] = resolve_model_data_config(model)
    normalise = _normalise(told["mean"], told["std"])
    return lambda images: torch_probabilities(model, normalise, images)


def _hub_config(source: Source, network: TimmNetwork) -> dict[str, Any]:
    """Return config.json as timm reads it (timm.models.load_model_config_from_path)."""
    own, size = source.meta.preprocessing, source.meta.input_size
    known, num_classes = get_pretrained_cfg(network.architecture), len(source.meta.class_names)
    has_deep_stem = "stem_type" in network.arguments
    return {
        "architecture": network.architecture,
        "num_classes": num_classes,
        "label_names": list(source.meta.class_names),
        "model_args": network.arguments,
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [3, size, size],
            "fixed_input_size": "img_size" in network.arguments,
            "interpolation": own.interpolation,
            "crop_pct": _crop_pct(size, source.transform.resized, own.crop_fraction),
            "crop_mode": "center",
            "mean": list(own.mean),
            "std": list(own.std),
            "num_classes": num_classes,
            "first_conv": "conv1.0" if has_deep_stem else known and known.first_conv,
            "classifier": known and known.classifier,
        },
        "corolla": {name: value for name, value in source.facts.items() if name != "class_names"},
    }


def _crop_pct(size: int, resized: int, fraction: float) -> float:
    """Return the crop fraction by which timm resizes to `resized` pixels: it rounds down what corolla rounds."""
    return fraction if math.floor(size / fraction) == resized else size / (resized + 0.5)
