"""Where memory runs out prediction goes on with fewer views at a time; numbers beyond fp16 are computed in fp32."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from device_faults import CUDNN_INTERNAL, ILLEGAL_ACCESS, OUT_OF_MEMORY, CardFault
from numpy.typing import NDArray
from support import changed

import corolla.evaluation.predict
from corolla.config import Config
from corolla.device import Precision
from corolla.errors import Failure
from corolla.evaluation.inference import InferenceModel
from corolla.evaluation.tta_model import TTAModel
from corolla.runs.folder import Run
from corolla.training.train import train


@pytest.fixture(scope="module")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = Config(data=tiny_data, runs=tmp_path_factory.mktemp("trained"), device="cpu")
    config = changed(changed(config, "train", epochs=1, batch_size=8, precision="fp32"), "pipeline", workers=0)
    return train(changed(config, "model", name="timm:test_resnet"), experiment="tiny")


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    return Run(shutil.copytree(trained.folder, tmp_path / "run"))


def predict(run: Run, **options: Any) -> NDArray[np.float32]:
    run.predictions("val", options.get("tta", "none")).unlink(missing_ok=True)
    options = {"split": "val", "device": "cpu", "workers": 0, **options}
    return corolla.evaluation.predict.predict(run.folder, **options).predictions.probabilities


class Card:
    """A card whose memory takes so many views at a time, and reports a fault for more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fault: CardFault, most: int) -> None:
        self.sizes: list[int] = []
        self.fault, self.most = fault, most
        forward = InferenceModel.__call__

        def limited(network: InferenceModel, images: torch.Tensor) -> torch.Tensor:
            self.sizes.append(len(images))
            if len(images) > self.most:
                raise self.fault.raised()
            return forward(network, images)

        monkeypatch.setattr(InferenceModel, "__call__", limited)


@pytest.mark.parametrize("fault", [OUT_OF_MEMORY, CUDNN_INTERNAL], ids=["memory", "maybe memory"])
def test_prediction_goes_on_with_half_as_many_views(
    fault: CardFault, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There are 160 views: 64 a time do not fit, nor do 30, the whole batch of 3 photos is 60, of which 15 do."""
    expected = predict(run, tta="ten-crop")
    card = Card(monkeypatch, fault, most=20)
    assert predict(run, tta="ten-crop") == pytest.approx(expected, abs=1e-6)
    assert card.sizes[:3] == [60, 30, 15]
    assert set(card.sizes[2:]) <= {15, 10}, "it never tries a larger part again"
    (warned,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned.startswith("cpu (")
    assert "out of memory with 60 views of 32 px at a time (" in warned
    assert warned.endswith("): it goes on with 30")


def test_views_of_several_sizes_are_halved_alike(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a part goes by its pixels: the large views of multi-scale, by another path, are fewer."""
    expected = predict(run, tta="flip+multi-scale")
    scores, most, sizes = TTAModel._scores, 4 * 32**2, []

    def limited(model: TTAModel, views: torch.Tensor, *, whole: bool) -> torch.Tensor:
        sizes.append((len(views), views.shape[1]))
        if len(views) > 1 and views[..., 0].numel() > most:
            raise OUT_OF_MEMORY.raised()
        return scores(model, views, whole=whole)

    monkeypatch.setattr(TTAModel, "_scores", limited)
    assert predict(run, tta="flip+multi-scale") == pytest.approx(expected, abs=1e-6)
    assert sizes[-1][0] == 1


def test_one_view_that_does_not_fit_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, OUT_OF_MEMORY, most=0)
    with pytest.raises(Failure) as caught:
        predict(run)
    assert card.sizes == [16, 8, 4, 2, 1]
    line = str(caught.value)
    assert line.startswith("cpu (")
    assert "is out of memory in prediction (22.78 GiB more were asked for, 12.73 GiB of 31.47 GiB are free)" in line
    assert len(line.splitlines()) == 1


def test_another_fault_of_the_card_is_told_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, ILLEGAL_ACCESS, most=0)
    with pytest.raises(Failure, match=r"failed in prediction .*illegal memory access.*restart its kernel"):
        predict(run)
    assert card.sizes == [16]


def test_a_network_that_does_not_fit_on_the_card_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OUT_OF_MEMORY.raised()

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(Failure, match="is out of memory in prediction"):
        predict(run)


@pytest.fixture
def fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predict in fp16 on the CPU, as on a card without bf16."""

    def precision(requested: str, device: torch.device) -> Precision:
        return "fp32" if requested == "fp32" else "fp16"

    monkeypatch.setattr("corolla.evaluation.inference.choose_precision", precision)


def rescale(run: Run, factor: float) -> None:
    """Multiply the classifier's weights, and leave the run with the precision that its own network is not in."""
    content = torch.load(run.best, weights_only=True)
    content["config"]["train"]["precision"] = "auto"
    for name, value in content["model"].items():
        if name.startswith("fc."):
            value *= factor
    torch.save(content, run.best)


def test_logits_beyond_fp16_are_computed_in_fp32(run: Run, fp16: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corolla.evaluation.tta_model.CLOSE", -1.0)  # nothing else is computed twice
    rescale(run, 1e5)
    logits = []
    forward = InferenceModel.__call__

    def record(network: InferenceModel, images: torch.Tensor) -> torch.Tensor:
        logits.append((network.precision, forward(network, images)))
        return logits[-1][1]

    monkeypatch.setattr(InferenceModel, "__call__", record)
    found = predict(run)
    assert [precision for precision, _ in logits] == ["fp16", "fp32"]
    assert not torch.isfinite(logits[0][1]).all(), "it would be the same in fp16; this test would show nothing"
    monkeypatch.setattr("corolla.evaluation.inference.choose_precision", lambda *_: "fp32")
    exact = predict(run)
    lost = (~torch.isfinite(logits[0][1]).all(1)).numpy()
    assert np.array_equal(found[lost], exact[lost])
    assert np.isfinite(found).all()


def test_only_what_is_not_finite_is_computed_again(run: Run, fp16: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A logit of -inf leaves probabilities that look sound."""
    monkeypatch.setattr("corolla.evaluation.tta_model.CLOSE", -1.0)
    seen: list[tuple[str, int]] = []
    forward = InferenceModel.__call__

    def spoiled(network: InferenceModel, images: torch.Tensor) -> torch.Tensor:
        seen.append((network.precision, len(images)))
        logits = forward(network, images)
        if network.precision == "fp16":
            logits[3, 1], logits[5, 0] = -torch.inf, torch.nan
        return logits

    monkeypatch.setattr(InferenceModel, "__call__", spoiled)
    rescale(run, 1.0)
    found = predict(run)
    assert seen == [("fp16", 16), ("fp32", 2)]
    assert (found > 0).all()


def test_fp32_that_is_not_finite_is_told(run: Run, fp16: None) -> None:
    rescale(run, float("nan"))
    with pytest.raises(Failure, match=r"best\.pt: its network gives no finite probabilities for val, not in fp32"):
        predict(run)


def test_second_looks_are_in_exact_fp32(run: Run, fp16: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA would round the factors to TF32. In fp16, which the first look is in, nothing is changed."""
    monkeypatch.setattr("corolla.evaluation.tta_model.CLOSE", 1.1)
    rescale(run, 1.0)
    allowed: set[tuple[bool, bool]] = set()
    for path in ("none", "multi-scale"):
        forward = torch.nn.Linear.forward if path == "none" else torch.nn.Conv2d.forward
        layer = torch.nn.Linear if path == "none" else torch.nn.Conv2d

        def record(module: Any, images: torch.Tensor, forward: Any = forward) -> torch.Tensor:
            if len(images) > 1:  # not the trial of whether the network takes that size
                allowed.add((torch.is_autocast_enabled("cpu"), torch.backends.cudnn.allow_tf32))
            return forward(module, images)

        with monkeypatch.context() as patch:
            patch.setattr(layer, "forward", record)
            predict(run, tta=path)
    assert allowed == {(True, True), (False, False)}


@pytest.mark.parametrize(
    ("trained_in", "capability", "predicts_in"),
    [("bf16", (7, 5), "fp16"), ("bf16", (8, 0), "bf16"), ("fp32", (7, 5), "fp32"), ("fp16", (8, 0), "bf16")],
)
def test_a_run_of_another_card_predicts_in_what_this_one_has(
    trained_in: str, capability: tuple[int, int], predicts_in: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from corolla.runs.checkpoint import load_checkpoint, rebuild_model

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, **_: module)
    model, meta = rebuild_model(load_checkpoint(run.best))
    meta = dataclasses.replace(meta, config=changed(meta.config, "train", precision=trained_in))
    monkeypatch.setattr("corolla.models.normalise.Normalise.to", lambda module, _: module)
    assert InferenceModel(model, meta, torch.device("cuda")).precision == predicts_in
