"""fp32 that is fp32, bf16 where a card has it, and fp16 with gradients or logits that it cannot hold."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support import changed, on_gpu
from torch import nn

import corolla.training.build
from corolla.arithmetic import exact_fp32, has_bf16
from corolla.config import Config
from corolla.errors import UserError
from corolla.evaluation.inference import InferenceModel
from corolla.evaluation.predict import predict
from corolla.training.loop import TrainingFailed
from corolla.training.train import train

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("tuned", [False, True])
def test_fp32_convolutions_are_fp32(tuned: bool) -> None:
    """TF32 has 10 bits of a factor, an error of some 3e-4; fp32 has 23."""
    generator = torch.Generator().manual_seed(0)
    images, filters = (torch.randn(shape, generator=generator) for shape in ((8, 256, 32, 32), (256, 256, 3, 3)))
    exact = torch.nn.functional.conv2d(images.double(), filters.double(), padding=1)

    def error() -> float:
        found = torch.nn.functional.conv2d(images.cuda(), filters.cuda(), padding=1).cpu().double()
        return ((found - exact).norm() / exact.norm()).item()

    torch.backends.cudnn.benchmark = tuned
    try:
        rounded = error()
        with exact_fp32("fp32"):
            assert error() < 1e-5
        assert error() == pytest.approx(rounded, rel=0.5)
    finally:
        torch.backends.cudnn.benchmark = False
    if torch.cuda.get_device_capability() >= (8, 0):
        assert rounded > 5e-5, "no TF32 on this card; this test would show nothing"


def test_a_run_in_fp32_predicts_as_the_cpu_does(tiny_config: Config) -> None:
    """With TF32 the probabilities differed by up to 0.003."""
    run = train(on_gpu(tiny_config, precision="fp32"))
    found = []
    for device in ("cuda", "cpu"):
        found.append(predict(run.folder, split="val", tta="ten-crop", device=device).predictions.probabilities)
        run.predictions("val", "ten-crop").unlink()
    assert abs(found[0] - found[1]).max() < 1e-4


def test_second_looks_are_those_of_the_cpu_in_fp32(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every photo counts as close here."""
    monkeypatch.setattr("corolla.evaluation.tta_model.CLOSE", 1.1)
    run = train(on_gpu(tiny_config))
    found = predict(run.folder, split="val", device="cuda").predictions.probabilities
    run.predictions("val", "none").unlink()
    monkeypatch.setattr("corolla.evaluation.inference.choose_precision", lambda *_: "fp32")
    assert abs(found - predict(run.folder, split="val", device="cpu").predictions.probabilities).max() < 1e-4


def test_bf16_is_refused_where_the_card_has_none(tiny_config: Config) -> None:
    config = on_gpu(tiny_config, precision="bf16", epochs=1)
    if has_bf16(torch.device("cuda")):
        assert train(config).environment["precision"] == "bf16"
        return
    with pytest.raises(UserError, match=r"has no bf16 .*; use fp16, or auto, which is fp16 here"):
        train(config)


def test_fp16_whose_gradients_are_never_finite_ends(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    make_optimizer = corolla.training.build.make_optimizer

    def hooked(model: nn.Module, config: Any) -> torch.optim.Optimizer:
        next(iter(model.parameters())).register_hook(lambda grad: grad * math.inf)
        return make_optimizer(model, config)

    monkeypatch.setattr(corolla.training.build, "make_optimizer", hooked)
    with pytest.raises(TrainingFailed, match=r"the gradients are finite at no scale, down to .*e-0[78], at lr 0\.005"):
        train(on_gpu(tiny_config, precision="fp16", epochs=10))


def test_fp16_says_its_scale(tiny_config: Config) -> None:
    rows = train(on_gpu(tiny_config, precision="fp16")).timing
    assert all(1 <= row["loss_scale"] <= 2**16 for row in rows)


def test_logits_beyond_fp16_are_computed_in_fp32(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(changed(on_gpu(tiny_config, epochs=1), "model", name="timm:test_resnet"))
    content = torch.load(run.best, weights_only=True)
    for name in ("fc.weight", "fc.bias"):
        content["model"][name] *= 1e7
    torch.save(content, run.best)
    monkeypatch.setattr(
        "corolla.evaluation.inference.choose_precision", lambda asked, _: "fp32" if asked == "fp32" else "fp16"
    )
    finite: dict[str, bool] = {}
    forward = InferenceModel.__call__

    def record(network: InferenceModel, images: torch.Tensor) -> torch.Tensor:
        logits = forward(network, images)
        finite[network.precision] = bool(logits.isfinite().all())
        return logits

    monkeypatch.setattr(InferenceModel, "__call__", record)
    predictions = predict(run.folder, split="val", device="cuda").predictions
    assert finite == {"fp16": False, "fp32": True}
    assert predictions.probabilities.sum(1) == pytest.approx(1, abs=1e-5)
