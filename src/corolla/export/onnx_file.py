"""A network as an ONNX file that takes pixels and gives probabilities.

Its input is uint8, so that no runtime takes pixels that were divided by 255 or normalised already: both are inside.
"""

import json
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from corolla.errors import UserError
from corolla.export.check import Classify
from corolla.export.source import Source
from corolla.models.normalise import Normalise

INPUT, OUTPUT = "pixels", "probabilities"
OPSET = 17
"""ONNX's operators of 2022: the first with layer norm, and old enough for the runtimes of phones and cards."""
MOST_BYTES = 2**31
"""An ONNX file is one message of protobuf, which is smaller than this."""


def import_onnx() -> tuple[ModuleType, ModuleType]:
    """Return onnx and onnxruntime.

    Raises:
        UserError: they are not installed.
    """
    try:
        import onnx
        import onnxruntime
    except ModuleNotFoundError as error:
        raise UserError(f"--to onnx needs the package {error.name}: pip install 'corolla[export]'") from None
    onnxruntime.disable_telemetry_events()  # builds for some systems would tell their maker
    return onnx, onnxruntime


class _FromPixels(nn.Module):
    """Turns uint8 N x 3 x S x S, RGB, into probabilities N x classes."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.model = source.model
        normalise = Normalise(source.meta.preprocessing, channels_last=False)
        self.scale, self.offset = (each.view(1, 3, 1, 1) for each in (normalise.scale, normalise.offset))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        torch._C._jit_set_onnx_log_enabled(False)  # the exporter turns it on, and would print all of a graph that fails
        return self.model(pixels.float() * self.scale + self.offset).softmax(-1)


def write_onnx(source: Source, path: Path) -> None:
    """Write the network to `path`, with classes and preprocessing in its metadata.

    torch's exporter by tracing is used: it needs no further package and takes a second where the one by torch.export,
    with which timm's networks come out the same, takes a minute. Traces are of one batch; that others do is checked.

    Raises:
        UserError: torch cannot write this network so.
    """
    onnx: Any = import_onnx()[0]
    name, size = source.meta.config.model.name, source.meta.input_size
    weights = sum(tensor.numel() * tensor.element_size() for tensor in source.model.state_dict().values())
    if weights >= MOST_BYTES:
        raise UserError(f"--to onnx: {name} has {weights / 2**30:.1f} GiB of weights, an ONNX file holds 2 at most")
    pixels = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is traced, and that torch has another exporter
            torch.onnx.export(
                _FromPixels(source).eval(),
                (pixels,),
                str(path),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "N"}, OUTPUT: {0: "N"}},
                opset_version=OPSET,
                dynamo=False,
            )
    except RuntimeError as error:  # torch.onnx's own errors are of this type too
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--to onnx: torch can't write {name} as ONNX ({reason})") from error
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, _properties(source))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _properties(source: Source) -> dict[str, str]:
    size = source.meta.input_size
    return source.facts | {
        "input": f"{INPUT}: uint8, N x 3 x {size} x {size}, RGB, 0 to 255; division and normalisation are inside",
        "output": f"{OUTPUT}: float32, N x {len(source.meta.class_names)}, softmax is inside; order of class_names",
        "preprocessing": json.dumps(source.preprocessing | {"normalisation": "inside"}),
    }


def load_onnx(path: Path) -> Classify:
    """Return the network in an ONNX file as onnxruntime computes it on the CPU."""
    onnxruntime: Any = import_onnx()[1]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def classify(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        return session.run([OUTPUT], {INPUT: pixels})[0]

    return classify
