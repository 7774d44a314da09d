"""The accuracy on the photos of training: counted as trained on, by the larger label where photos are mixed."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from support import changed, stop_at

from corolla.config import Config
from corolla.data.loader import Batch
from corolla.runs.checkpoint import load_checkpoint
from corolla.training.losses import count_right
from corolla.training.mixing import draw_mix
from corolla.training.state import TrainState
from corolla.training.train import train


def test_the_larger_share_is_the_label_of_a_mixed_photo() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 0.0, 5.0]])
    assert count_right(logits, torch.tensor([0, 1, 1])) == 2
    shares = torch.tensor([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0], [0.0, 0.0, 1.0]])
    assert count_right(logits, shares) == 2


@pytest.mark.parametrize("mixing", [{}, {"mixup": 1.0, "cutmix": 1.0}], ids=["plain", "mixed"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_is_what_the_network_says_of_each_batch(
    mixing: dict[str, float], accumulate: int, tiny_config: Config
) -> None:
    """A learning rate of next to nothing leaves the weights as they are, so they can be asked afterwards."""
    config = dataclasses.replace(
        changed(tiny_config, "train", epochs=1, precision="fp32", accumulate=accumulate, **mixing),
        model=dataclasses.replace(tiny_config.model, name="timm:test_vit"),
        optim=dataclasses.replace(tiny_config.optim, lr=1e-12),
    )
    num_right = []

    @torch.no_grad()
    def ask(state: TrainState, batch: Batch, lr: float, loss: torch.Tensor) -> None:
        mix = draw_mix(config.train, state.progress.step - 1, 0, *batch.images.shape[1:3])
        for images, labels in zip(batch.images.chunk(accumulate), batch.labels.chunk(accumulate), strict=True):
            mixed = images if mix is None else mix.images(images, images.flip(0))
            expected = labels if mix is None or mix.share > 0.5 else labels.flip(0)
            num_right.append(int((state.model(state.normalise(mixed)).argmax(1) == expected).sum()))

    run = train(config, on_step=ask)
    assert run.metrics[0]["train_top1"] == sum(num_right) / 40
    assert 0 < sum(num_right) < 40


def test_it_is_in_every_copy_of_the_history(tiny_config: Config) -> None:
    run = train(tiny_config)
    line = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert list(line)[-1] == "train_top1"  # where readers by position do not stumble over it
    (value,) = run.to_pandas()["train_top1"][-1:]
    assert line["train_top1"] == value == load_checkpoint(run.last)["progress"]["rows"][-1]["train_top1"]
    assert f"<td>{value:.4f}</td>" in run._repr_html_()
    assert f", top-1 on train {value:.4f}, on val {line['top1']:.4f}" in run.summary


def test_an_epoch_that_an_earlier_version_began_has_none(tiny_config: Config) -> None:
    """And those before it, as such a version has written them; the next one is counted."""
    config = changed(tiny_config, "train", epochs=3)
    run = train(config, on_step=stop_at(7))
    forget_counting(run.last)
    assert [row["train_top1"] for row in run.metrics] == [None]
    assert "<td>–</td>" in run._repr_html_()
    assert "top-1 on train" not in run.summary
    assert run.to_pandas()["train_top1"].isna().tolist() == [True]
    train(config)
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["train_top1"] is None for line in lines] == [True, True, False]
    assert run.state == "done"


def forget_counting(path: Path) -> None:
    """Write a checkpoint as earlier versions did."""
    content = torch.load(path, weights_only=True)
    del content["progress"]["num_right"]
    for row in content["progress"]["rows"]:
        del row["train_top1"]
    torch.save(content, path)
