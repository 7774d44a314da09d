"""The training loss against its formulas, and what a teacher does to a run."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import changed, same_content, stop_at, write_data
from torch.nn import functional as F

from corolla.config import Config, TrainConfig
from corolla.errors import UserError
from corolla.runs.checkpoint import load_checkpoint, rebuild_model
from corolla.runs.folder import Run
from corolla.training.distillation import Teacher
from corolla.training.losses import TrainLoss
from corolla.training.train import train

CPU = torch.device("cpu")
COUNTS = np.array([50, 10, 1, 0])
LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 1, 0])
TEACHER_LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))


def loss(counts: np.ndarray = COUNTS, **settings: Any) -> TrainLoss:
    return TrainLoss(TrainConfig(**settings), counts, CPU)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_with_nothing_on_it_is_cross_entropy(smoothing: float) -> None:
    expected = F.cross_entropy(LOGITS, LABELS, reduction="sum", label_smoothing=smoothing)
    assert torch.equal(loss(label_smoothing=smoothing)(LOGITS, LABELS), expected)


def test_soft_targets_weigh_the_losses_of_their_labels() -> None:
    own, partners = F.one_hot(LABELS, 4).float(), F.one_hot(LABELS.flip(0), 4).float()
    mixed = loss(label_smoothing=0.1)(LOGITS, 0.3 * own + 0.7 * partners)
    whole = loss(label_smoothing=0.1)
    expected = 0.3 * whole(LOGITS, LABELS) + 0.7 * whole(LOGITS, LABELS.flip(0))
    assert torch.allclose(mixed, expected)


def test_logit_adjustment_adds_the_log_of_the_prior() -> None:
    """A class that training sees rarely gets a lower logit in the loss; one without photos counts as having one."""
    prior = torch.tensor([50.0, 10.0, 1.0, 1.0]) / 62
    expected = F.cross_entropy(LOGITS + 2 * prior.log(), LABELS, reduction="sum")
    assert torch.allclose(loss(logit_adjustment=2.0)(LOGITS, LABELS), expected)
    assert torch.allclose(
        loss(np.full(4, 7), logit_adjustment=1.0)(LOGITS, LABELS), loss()(LOGITS, LABELS)
    )  # all logits alike


def test_logit_adjustment_knows_of_balanced_sampling() -> None:
    """Where every class is shown alike there is nothing left to adjust."""
    plain = loss()(LOGITS, LABELS)
    assert torch.allclose(loss(logit_adjustment=1.0, balance=1.0)(LOGITS, LABELS), plain)
    half = loss(COUNTS**2, logit_adjustment=1.0, balance=0.5)
    assert torch.allclose(half(LOGITS, LABELS), loss(logit_adjustment=1.0)(LOGITS, LABELS))


def test_class_balanced_weights_go_by_the_effective_number() -> None:
    beta = 0.9
    numbers = [(1 - beta**n) / (1 - beta) for n in (50, 10, 1, 1)]
    weights = np.array([1 / number for number in numbers])
    weights *= 3 / weights[COUNTS > 0].sum()
    each = F.cross_entropy(LOGITS, LABELS, reduction="none")
    expected = (each * torch.from_numpy(weights).float()[LABELS]).sum()
    assert torch.allclose(loss(class_balance=beta)(LOGITS, LABELS), expected)
    assert torch.allclose(loss(np.full(4, 9), class_balance=beta)(LOGITS, LABELS), loss()(LOGITS, LABELS))
    nearly_inverse = loss(np.array([4, 2, 1, 1]), class_balance=0.9999999)
    by_frequency = each * torch.tensor([1 / 4, 1 / 2, 1.0, 1.0])[LABELS] * 4 / 2.75
    assert torch.allclose(nearly_inverse(LOGITS, LABELS), by_frequency.sum(), rtol=1e-4)


def test_class_balanced_weights_go_by_what_is_shown() -> None:
    """Classes that are shown alike weigh alike; ones that are never shown do not shrink the others."""
    counts = np.array([500, 5, 50, 7])
    assert torch.allclose(loss(counts, class_balance=0.9999, balance=1.0)(LOGITS, LABELS), loss()(LOGITS, LABELS))
    few = loss(np.array([500, 500, 0, 0]), class_balance=0.999)
    assert torch.allclose(few(LOGITS, LABELS % 2), loss()(LOGITS, LABELS % 2))


def test_distillation_is_hintons() -> None:
    soft, hard = (torch.softmax(logits / 3, 1) for logits in (TEACHER_LOGITS, LOGITS))
    divergence = 9 * (soft * (soft / hard).log()).sum()
    taught = loss(distill_temperature=3.0, distill_weight=0.25)(LOGITS, LABELS, TEACHER_LOGITS)
    assert torch.allclose(taught, 0.75 * loss()(LOGITS, LABELS) + 0.25 * divergence)


def test_a_teacher_who_agrees_adds_nothing() -> None:
    assert loss(distill_weight=1.0)(LOGITS, LABELS, LOGITS).item() == pytest.approx(0, abs=1e-5)
    alone = loss(distill_weight=1.0)(LOGITS, LABELS, TEACHER_LOGITS)
    assert torch.equal(alone, loss(distill_weight=1.0, logit_adjustment=1.0)(LOGITS, LABELS.flip(0), TEACHER_LOGITS))


def one_epoch(config: Config, **settings: Any) -> Config:
    config = changed(config, "model", name="timm:test_efficientnet")
    return changed(config, "train", epochs=1, precision="fp32", **settings)


@pytest.fixture(scope="module")
def teacher(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = Config(data=tiny_data, runs=tmp_path_factory.mktemp("teachers"), device="cpu")
    config = changed(changed(config, "pipeline", workers=0), "optim", lr=0.005, schedule="constant")
    return train(one_epoch(config, batch_size=20, seed=1), experiment="teacher")


def test_a_teacher_sees_pixels_as_its_own_weights_need_them(teacher: Run, tmp_path: Path) -> None:
    content = load_checkpoint(teacher.best)
    content["preprocessing"] |= {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    torch.save(content, tmp_path / "other.pt")
    model, description = rebuild_model(content)
    taught = Teacher(TrainConfig(teacher=str(tmp_path / "other.pt")), description.class_names, CPU, "fp32")
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels = (images / 255 - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor([0.5, 0.6, 0.7])
    with torch.no_grad():
        expected = model(pixels.permute(0, 3, 1, 2))
    assert torch.allclose(taught(images), expected, atol=1e-4)
    assert not taught(images).requires_grad


def test_a_taught_run_is_another_and_resumes_exactly(
    teacher: Run, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that changes the loss; the config that is kept is a valid input."""
    config = one_epoch(
        tiny_config, teacher=str(teacher.folder), logit_adjustment=1.0, class_balance=0.9, mixup=0.2, cutmix=1.0,
        balance=0.5, accumulate=2,
    )  # fmt: skip
    taught = train(config, experiment="taught")
    untaught = train(changed(config, "train", teacher=""), experiment="untaught")
    assert taught.metrics[0]["train_loss"] != pytest.approx(untaught.metrics[0]["train_loss"], rel=1e-3)
    assert taught.config.train == config.train
    assert train(config, experiment="stopped", on_step=stop_at(3)).state == "stopped"
    resumed = train(changed(config, "pipeline", workers=1), experiment="stopped")
    assert resumed.metrics == taught.metrics
    assert same_content(resumed.last, taught.last)


def test_a_teacher_that_has_changed_since_is_refused(
    teacher: Run, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path says little: a teacher that trains on writes another best.pt there."""
    shutil.copy(teacher.best, tmp_path / "teacher.pt")
    config = one_epoch(tiny_config, teacher=str(tmp_path / "teacher.pt"))
    assert train(config, on_step=stop_at(3)).state == "stopped"
    content = load_checkpoint(teacher.best)
    content["model"]["classifier.bias"] += 1
    torch.save(content, tmp_path / "teacher.pt")
    with pytest.raises(UserError, match=r"teacher.pt: is not the checkpoint that this run has learned from so far"):
        train(config)
    shutil.copy(teacher.best, tmp_path / "teacher.pt")
    assert train(config).state == "done"


def test_a_teacher_may_lie_elsewhere_in_the_next_session(
    teacher: Run, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place and with --resume-from; another one at the new place is found out."""
    config = one_epoch(tiny_config, teacher=str(teacher.folder))
    whole = train(config, experiment="whole")
    assert train(config, experiment="stopped", on_step=stop_at(3)).state == "stopped"
    moved = one_epoch(tiny_config, teacher=str(tmp_path / "input" / "teacher.pt"))
    (tmp_path / "input").mkdir()
    shutil.copy(whole.best, tmp_path / "input" / "teacher.pt")
    with pytest.raises(UserError, match=r"teacher.pt: is not the checkpoint that this run has learned from so far"):
        train(moved, experiment="stopped")
    shutil.copy(teacher.best, tmp_path / "input" / "teacher.pt")
    copied = train(
        dataclasses.replace(moved, resume_from=tiny_config.runs / "stopped-seed0", run_name="copied"), experiment="x"
    )
    assert copied.metrics == whole.metrics == train(moved, experiment="stopped").metrics


def test_a_teacher_of_other_classes_is_refused(teacher: Run, tiny_config: Config, tmp_path: Path) -> None:
    data = write_data(tmp_path / "other")
    (data / "classes.txt").write_text("".join(f"other {n}\n" for n in range(5)))
    config = dataclasses.replace(one_epoch(tiny_config, teacher=str(teacher.folder)), data=data)
    with pytest.raises(UserError, match=r"--train.teacher .*its classes are not those of the data"):
        train(config)
    assert not (config.runs / "custom-seed0" / "config.json").exists()


def test_a_teacher_that_is_not_there_is_refused(tiny_config: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--train.teacher .*there is no checkpoint at .*best\.pt"):
        train(one_epoch(tiny_config, teacher=str(tmp_path)))


def test_a_teacher_for_one_size_only_is_refused_for_others(tiny_config: Config) -> None:
    vit = changed(one_epoch(tiny_config, batch_size=40), "model", name="timm:vit_tiny_patch16_224")
    teacher = train(changed(vit, "optim", momentum=0.0), experiment="vit", on_step=stop_at(1))  # 22 MB instead of 90
    student = dataclasses.replace(one_epoch(tiny_config, teacher=str(teacher.last)), input_size=48)
    with pytest.raises(UserError, match=r"--train.teacher .*the teacher takes no images of 48 px"):
        train(student)
